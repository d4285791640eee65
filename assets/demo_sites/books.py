"""What the imaginary archive holds in each of its editions: a dozen books that nobody wrote, as scans, as typeset PDFs, and as real items are.

Edition n + 1 is edition n with one item added, one page of one item printed anew, and one item gone dark. Everything follows from the edition.
"""

import functools
import io
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from typing import Any, TypeVar

from PIL import features

from assets.demo_sites.archive import ArchiveSite, Item, ItemFile
from assets.demo_sites.catalogue import FIRST_DAY
from assets.demo_sites.page_layout import Leaf, Sheet, print_leaf
from assets.demo_sites.pdf_writer import PdfSheet, write_pdf
from assets.demo_sites.scans import Ageing, PaperSheet, aged, scanned

ARCHIVE_HOST = "archive.imaginary-letters.example"
COLLECTION = "imaginary_books"
REVISED = "primeroftea00funn"  # one of its pages changes with every edition
FIRST_TO_GO = "pamphletpunctuality"  # goes dark in edition 2; later what the edition before the last one added
_CC0 = "http://creativecommons.org/publicdomain/zero/1.0/"
_PUBLIC_DOMAIN = "http://creativecommons.org/publicdomain/mark/1.0/"
# The kinds of their pages.
_SCANNED, _TYPESET = ("text", "text", "figure", "text", "chapter", "text", "plate"), ("chapter", "text", "figure", "text")
_FORMATS = {".pdf": "Text PDF", "_bw.pdf": "Grayscale PDF", "_jp2.zip": "Single Page Processed JP2 ZIP", "_djvu.txt": "DjVuTXT"}
_BROWN, _GREY = Ageing(), Ageing(tone=None, stains=1, skew=22)
_PALE = Ageing(tone=(247, 243, 232), stains=0, skew=8, quality=60)
_SIZES = ((432, 612), (612, 432), (300, 420), (595, 842), (420, 420))


@dataclass(frozen=True)
class Book:
    """kinds: of its pages, one after the other, repeated as often as it takes. fields: of its metadata, besides the usual ones."""

    identifier: str
    title: str
    author: str
    year: int
    pages: int
    kinds: tuple[str, ...]
    fields: Mapping[str, Any] = field(default_factory=lambda: {"licenseurl": _CC0})
    revision: int = 0

    def leaf(self, place: int) -> Leaf:
        """Page `place`, from 0: a title page, a blank one, and then the book."""
        kind = ("title", "blank")[place] if place < min(2, self.pages - 3) else self.kinds[place % len(self.kinds)]
        revision = self.revision if place == self.pages // 2 else 0
        return Leaf(kind, self.title, f"{self.identifier} {place} {revision}", place + 1, self.author, self.year)


Make = Callable[[Book], bytes]


def imaginary_archive(edition: int = 1) -> ArchiveSite:
    """The archive in its edition, from 1."""
    day = datetime.combine(FIRST_DAY + timedelta(days=edition), time(4), UTC)
    return ArchiveSite(items(edition), hosts=(ARCHIVE_HOST,), day=day)


def items(edition: int) -> list[Item]:
    revised = Book(
        REVISED, "A Primer of Tea and Titration", "P. Funnel", 1931, 28, _TYPESET, {"licenseurl": _CC0, "language": ["eng", "fre"]}, edition - 1
    )
    shown = [*_first_items(), _item(revised, {".pdf": _pdf()}, edition if edition > 1 else 0)]
    gone = {"unspeakableflask": 0}
    if edition > 1:
        gone |= {FIRST_TO_GO: 2, **{_supplement(number).identifier: number + 1 for number in range(2, edition)}}
        shown.append(_item(_supplement(edition), {".pdf": _pdf("Helvetica")}, edition))
    here = [item for item in shown if item.identifier not in gone]
    return [*here, *(Item(name, updated=_seconds(since), is_dark=True) for name, since in gone.items())]


def _supplement(edition: int) -> Book:
    return Book(f"supplement{edition:04d}", f"Supplement {edition} to Everything", "The Editors", 2026, 6, ("chapter", "columns", "figure"))


@functools.cache
def _first_items() -> tuple[Item, ...]:
    """Those that every edition has, but for what has gone dark."""
    letters = Book("lettersofaclampstand00beak", "Letters of a Clampstand", "Q. Beaker", 1894, 26, _SCANNED)
    flasks = Book(
        "naturalhistoryofflasks", "A Natural History of Flasks", "L. Crucible", 1887, 24, _SCANNED,
        {"licenseurl": _PUBLIC_DOMAIN, "creator": ["L. Crucible", "The Widow Crucible"]},
    )  # fmt: skip
    atlas = Book("atlasofimaginarycoasts", "Atlas of Imaginary Coasts", "V. Septum", 1862, 8, ("plate", "text", "plate", "figure"))
    slides = Book("silentlecture1902", "Slides of a Silent Lecture", "M. Retort", 1902, 6, ("plate", "figure"))
    proceedings = Book("proceedingsabsentmind", "Proceedings of the Absent-Minded", "The Society", 1999, 32, ("columns",))
    almanac = Book("anonymousalmanac", "The Anonymous Almanac", "", 1911, 10, ("columns", "figure"), {"rights": "Nobody knows"})
    pamphlet = Book(FIRST_TO_GO, "On Punctuality", "T. Stopcock", 1926, 8, _TYPESET)
    sealed = Book("sealedcorrespondence", "A Sealed Correspondence", "A. Vial", 1920, 4, ("text",))
    wet = Book("waterloggedvolume", "The Waterlogged Volume", "J. Desiccator", 1875, 8, _TYPESET)
    mixed = Book("mixedbag00trip", "A Mixed Bag", "E. Tripod", 1950, 16, ("text", "plate", "columns", "figure", "blank"))
    in_pixels: dict[str, Make] = {"_jp2.zip": _jpeg2000s} if features.check("jpg_2000") else {}
    return (
        _item(letters, {".pdf": _pdf(ageing=_BROWN, has_text=True)}),
        _item(flasks, {".pdf": _pdf(ageing=_GREY), "_bw.pdf": _pdf(ageing=Ageing(tone=None, stains=0, skew=0, quality=25))}),
        _item(atlas, {".pdf": _pdf(ageing=_PALE), **in_pixels}),
        _item(slides, in_pixels),
        _item(proceedings, {".pdf": _pdf("Helvetica")}),
        _item(almanac, {".pdf": _pdf()}),
        _item(pamphlet, {".pdf": _pdf()}),
        _item(sealed, {".pdf": _pdf(is_locked=True)}),
        _item(wet, {".pdf": lambda book: _pdf()(book)[:1800]}),
        _item(mixed, {".pdf": _pdf("Helvetica", ageing=_BROWN, is_mixed=True)}),
        _item(Book("oraltradition", "An Oral Tradition", "C. Gauze", 1800, 3, ("text",)), {}),
    )


def _item(book: Book, files: Mapping[str, Make], edition: int = 0) -> Item:
    """files: by the ending of their names; the words come by themselves. edition: in which they changed last; 0 for long ago."""
    updated = _seconds(edition)
    made = tuple(
        ItemFile(f"{book.identifier}{ending}", _FORMATS[ending], "derivative", updated, functools.cache(functools.partial(make, book)))
        for ending, make in {**files, "_djvu.txt": _plain_text}.items()
    )
    day = f"{datetime.fromtimestamp(updated, UTC):%Y-%m-%d %H:%M:%S}"
    metadata = {
        "identifier": book.identifier, "mediatype": "texts", "title": book.title, "collection": [COLLECTION, "imaginary"],
        **({"creator": book.author} if book.author else {}),
        "date": str(book.year), "language": "eng", "imagecount": str(book.pages), "publicdate": day, "addeddate": day, **book.fields,
    }  # fmt: skip
    if book.pages < 12:
        # With one collection alone, the archive states a text and no list.
        metadata["collection"] = COLLECTION
    return Item(book.identifier, metadata, made, updated)


def _seconds(edition: int) -> int:
    """When an edition came out; the first items are as old as the archive."""
    return int(datetime.combine(FIRST_DAY + timedelta(days=edition or -900), time(3), UTC).timestamp())


AnySheet = TypeVar("AnySheet", bound=Sheet)


def _printed(book: Book, place: int, sheet: AnySheet) -> AnySheet:
    print_leaf(book.leaf(place), sheet)
    return sheet


def _pdf(font: str = "Times-Roman", *, ageing: Ageing | None = None, has_text: bool = False, is_locked: bool = False, is_mixed: bool = False) -> Make:
    """A file of typeset pages; with `ageing`, of scans. has_text: with what is read on the scans, invisibly.

    is_mixed: both in one file, on pages of several sizes, some of which lie on their side or stand on their head.
    """

    def make(book: Book) -> bytes:
        sheets = []
        for place in range(book.pages):
            width, height = _SIZES[place % 5 if is_mixed else 0]
            sheet = PdfSheet(width, height, font=font, rotate=(0, 90, 0, 180, 270)[place * 2 % 5] if is_mixed else 0)
            if ageing is None or (is_mixed and place % 3 != 2):
                _printed(book, place, sheet)
            else:
                paper = _printed(book, place, PaperSheet(width, height))
                sheet.put_scan(*scanned(paper, ageing, f"{book.identifier} {place}"), lines=paper.lines if has_text else ())
            sheets.append(sheet)
        return write_pdf(sheets, title=book.title, is_locked=is_locked)

    return make


def _jpeg2000s(book: Book) -> bytes:
    """The pages as pictures in a zip, as scanning centres leave them."""
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as archive:
        for place in range(book.pages):
            picture = io.BytesIO()
            page = aged(_printed(book, place, PaperSheet()), _PALE, f"{book.identifier} {place}")
            # Its reversible wavelets are whole numbers, alike on every machine.
            page.save(picture, "JPEG2000", quality_mode="rates", quality_layers=[24])
            name = f"{book.identifier}_jp2/{book.identifier}_{place:04d}.jp2"
            archive.writestr(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0)), picture.getvalue())
    return target.getvalue()


def _plain_text(book: Book) -> bytes:
    return "\n\f".join("\n".join(_printed(book, place, PdfSheet()).lines) for place in range(book.pages)).encode()
