"""What the imaginary archive holds in each of its editions: a dozen books that nobody wrote, as scans, as typeset PDFs, and as real items are.

Edition n + 1 is edition n with one item added, one page of one item printed anew, and one item gone dark. Everything follows from the edition.
"""

import functools
import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time, timedelta
from typing import Any

from PIL import Image, features

from assets.demo_sites.archive import ArchiveSite, Item, ItemFile
from assets.demo_sites.catalogue import FIRST_DAY
from assets.demo_sites.page_layout import Leaf, print_leaf
from assets.demo_sites.paper import Ageing, PaperSheet, aged, scanned
from assets.demo_sites.pdf_writer import PdfSheet, write_pdf

ARCHIVE_HOST = "archive.imaginary-letters.example"
COLLECTION = "imaginary_books"
REVISED = "primeroftea00funn"  # one of its pages changes with every edition
FIRST_TO_GO = "pamphletpunctuality"  # goes dark in edition 2; later what the edition before the last one added
_CC0 = "http://creativecommons.org/publicdomain/zero/1.0/"
_PUBLIC_DOMAIN = "http://creativecommons.org/publicdomain/mark/1.0/"
_SCANNED, _TYPESET = ("text", "text", "figure", "text", "chapter", "text", "plate"), ("chapter", "text", "figure", "text")


@dataclass(frozen=True)
class Book:
    """kinds: of its pages, one after the other, repeated as often as it takes. fields: of its metadata, besides the usual ones."""

    identifier: str
    title: str
    author: str
    year: int
    pages: int
    kinds: tuple[str, ...]
    fields: tuple[tuple[str, Any], ...] = (("licenseurl", _CC0),)
    revision: int = 0

    def leaf(self, place: int) -> Leaf:
        """Page `place`, from 0: a title page, a blank one, and then the book."""
        kind = ("title", "blank")[place] if place < min(2, self.pages - 3) else self.kinds[place % len(self.kinds)]
        revision = self.revision if place == self.pages // 2 else 0
        return Leaf(kind, self.title, f"{self.identifier} {place} {revision}", place + 1, self.author, self.year)


Make = Callable[[Book], bytes]
_FORMATS = {".pdf": "Text PDF", "_bw.pdf": "Grayscale PDF", "_jp2.zip": "Single Page Processed JP2 ZIP", "_djvu.txt": "DjVuTXT"}
_BROWN, _GREY = Ageing(), Ageing(tone=None, stains=1, skew=22)
_PALE = Ageing(tone=(247, 243, 232), stains=0, skew=8, quality=60)
_PLAIN = Book(REVISED, "A Primer of Tea and Titration", "P. Funnel", 1931, 28, _TYPESET, (("licenseurl", _CC0), ("language", ("eng", "fre"))))


def imaginary_archive(edition: int = 1) -> ArchiveSite:
    """The archive in its edition, from 1."""
    day = datetime.combine(FIRST_DAY + timedelta(days=edition), time(4), UTC)
    return ArchiveSite(items(edition), hosts=(ARCHIVE_HOST,), day=day)


def items(edition: int) -> list[Item]:
    gone = {FIRST_TO_GO: 2, **{_supplement(number - 1).identifier: number for number in range(3, edition + 1)}}
    supplements = [_item(_supplement(number), {".pdf": _typeset("Helvetica")}, number) for number in range(2, edition + 1)]
    revised = replace(_PLAIN, revision=edition - 1)
    shown = [*_first_items(), _item(revised, {".pdf": _typeset("Times-Roman")}, edition if edition > 1 else 0), *supplements]
    left = [item for item in shown if item.identifier in gone and gone[item.identifier] <= edition]
    dark = {"unspeakableflask": 0, **{item.identifier: gone[item.identifier] for item in left}}
    here = [item for item in shown if item.identifier not in dark]
    return [*here, *(Item(name, updated=_seconds(since), is_dark=True) for name, since in dark.items())]


def _supplement(edition: int) -> Book:
    return Book(f"supplement{edition:04d}", f"Supplement {edition} to Everything", "The Editors", 2026, 6, ("chapter", "columns", "figure"))


@functools.cache
def _first_items() -> tuple[Item, ...]:
    """Those that every edition has, but for what has gone dark."""
    letters = Book("lettersofaclampstand00beak", "Letters of a Clampstand", "Q. Beaker", 1894, 26, _SCANNED)
    flasks = Book(
        "naturalhistoryofflasks", "A Natural History of Flasks", "L. Crucible", 1887, 24, _SCANNED,
        (("licenseurl", _PUBLIC_DOMAIN), ("creator", ("L. Crucible", "The Widow Crucible"))),
    )  # fmt: skip
    atlas = Book("atlasofimaginarycoasts", "Atlas of Imaginary Coasts", "V. Septum", 1862, 8, ("plate", "text", "plate", "figure"))
    slides = Book("silentlecture1902", "Slides of a Silent Lecture", "M. Retort", 1902, 6, ("plate", "figure"))
    proceedings = Book("proceedingsabsentmind", "Proceedings of the Absent-Minded", "The Society", 1999, 32, ("columns",))
    almanac = Book("anonymousalmanac", "The Anonymous Almanac", "", 1911, 10, ("columns", "figure"), (("rights", "Nobody knows"),))
    pamphlet = Book(FIRST_TO_GO, "On Punctuality", "T. Stopcock", 1926, 8, _TYPESET)
    sealed = Book("sealedcorrespondence", "A Sealed Correspondence", "A. Vial", 1920, 4, ("text",))
    wet = Book("waterloggedvolume", "The Waterlogged Volume", "J. Desiccator", 1875, 8, _TYPESET)
    mixed = Book("mixedbag00trip", "A Mixed Bag", "E. Tripod", 1950, 16, ("text", "plate", "columns", "figure", "blank"))
    in_pixels: dict[str, Make] = {"_jp2.zip": _jpeg2000s} if features.check("jpg_2000") else {}
    return (
        _item(letters, {".pdf": _scans(_BROWN, has_text=True)}),
        _item(flasks, {".pdf": _scans(_GREY), "_bw.pdf": _scans(Ageing(tone=None, stains=0, skew=0, quality=25))}),
        _item(atlas, {".pdf": _scans(_PALE), **in_pixels}),
        _item(slides, in_pixels),
        _item(proceedings, {".pdf": _typeset("Helvetica")}),
        _item(almanac, {".pdf": _typeset("Times-Roman")}),
        _item(pamphlet, {".pdf": _typeset("Times-Roman")}),
        _item(sealed, {".pdf": _typeset("Times-Roman", is_locked=True)}),
        _item(wet, {".pdf": lambda book: _typeset("Times-Roman")(book)[:1800]}),
        _item(mixed, {".pdf": _mixed}),
        _item(Book("oraltradition", "An Oral Tradition", "C. Gauze", 1800, 3, ("text",)), {}),
    )


def _item(book: Book, files: Mapping[str, Make], edition: int = 0) -> Item:
    """files: by the ending of their names; the words come by themselves. edition: in which they changed last; 0 for long ago."""
    updated = _seconds(edition)
    made = tuple(
        ItemFile(f"{book.identifier}{ending}", _FORMATS[ending], "derivative", updated, functools.cache(functools.partial(make, book)))
        for ending, make in {**files, "_djvu.txt": _plain_text}.items()
    )
    return Item(book.identifier, _metadata(book, edition), made, updated)


def _metadata(book: Book, edition: int) -> dict[str, Any]:
    day = f"{datetime.fromtimestamp(_seconds(edition), UTC):%Y-%m-%d %H:%M:%S}"
    told: dict[str, Any] = {"identifier": book.identifier, "mediatype": "texts", "title": book.title, "collection": [COLLECTION, "imaginary"]}
    if book.author:
        told["creator"] = book.author
    told |= {"date": str(book.year), "language": "eng", "imagecount": str(book.pages), "publicdate": day, "addeddate": day}
    told |= {name: list(value) if isinstance(value, tuple) else value for name, value in book.fields}
    # With one collection alone, the archive states a text and no list.
    return told | ({"collection": COLLECTION} if book.pages < 12 else {})


def _seconds(edition: int) -> int:
    """When an edition came out; the first items are as old as the archive."""
    return int(datetime.combine(FIRST_DAY + timedelta(days=edition or -900), time(3), UTC).timestamp())


def _printed(book: Book, place: int, *, width: float = 432, height: float = 612) -> PaperSheet:
    sheet = PaperSheet(width, height)
    print_leaf(book.leaf(place), sheet)
    return sheet


def _scans(ageing: Ageing, *, has_text: bool = False) -> Make:
    """has_text: with what is read on them, invisibly."""

    def make(book: Book) -> bytes:
        sheets = []
        for place in range(book.pages):
            paper, sheet = _printed(book, place), PdfSheet()
            sheet.put_scan(*scanned(paper, ageing, f"{book.identifier} {place}"), lines=paper.lines if has_text else ())
            sheets.append(sheet)
        return write_pdf(sheets, title=book.title)

    return make


def _typeset(font: str, *, is_locked: bool = False) -> Make:
    def make(book: Book) -> bytes:
        sheets = [PdfSheet(font=font) for _ in range(book.pages)]
        for place, sheet in enumerate(sheets):
            print_leaf(book.leaf(place), sheet)
        return write_pdf(sheets, title=book.title, is_locked=is_locked)

    return make


def _mixed(book: Book) -> bytes:
    """Typeset pages and scans in one file, of several sizes, some of which lie on their side or stand on their head."""
    sheets = []
    for place in range(book.pages):
        width, height = ((432, 612), (612, 432), (300, 420), (595, 842), (420, 420))[place % 5]
        sheet = PdfSheet(width, height, font="Helvetica", rotate=(0, 90, 0, 180, 270)[place * 2 % 5])
        if place % 3 == 2:
            sheet.put_scan(*scanned(_printed(book, place, width=width, height=height), _BROWN, f"{book.identifier} {place}"))
        else:
            print_leaf(book.leaf(place), sheet)
        sheets.append(sheet)
    return write_pdf(sheets, title=book.title)


def _jpeg2000s(book: Book) -> bytes:
    """The pages as pictures in a zip, as scanning centres leave them."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for place in range(book.pages):
            picture = io.BytesIO()
            page: Image.Image = aged(_printed(book, place), _PALE, f"{book.identifier} {place}")
            # Its reversible wavelets are whole numbers, alike on every machine.
            page.save(picture, "JPEG2000", quality_mode="rates", quality_layers=[24])
            name = f"{book.identifier}_jp2/{book.identifier}_{place:04d}.jp2"
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), picture.getvalue())
    return target.getvalue()


def _plain_text(book: Book) -> bytes:
    pages = []
    for place in range(book.pages):
        sheet = PdfSheet()
        print_leaf(book.leaf(place), sheet)
        pages.append("\n".join(sheet.lines))
    return "\n\f".join(pages).encode()
