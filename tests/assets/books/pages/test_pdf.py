"""A PDF page becomes an image of the size asked for, upright, whole and in its own colours; a page that is one JPEG comes from that JPEG."""

import shutil

import numpy
import pytest

pytest.importorskip("PIL", reason="pillow is not installed (extra: images)")
pytest.importorskip("isal", reason="isal is not installed (extra: images)")
pytest.importorskip("pypdfium2", reason="pypdfium2 is not installed (extra: books)")

from PIL import Image, ImageDraw

from assets.books.pages import pdf as pdf_pages
from assets.books.pages.config import BookPagesConfig
from assets.books.pages.drawing import Drawn, SetAside, finish
from assets.books.pages.pdf import PdfPages
from formats.png import decode_png
from tests.assets.books.pages.pdfs import ENCRYPTED, LETTER, Page, drawing, encoded, pdf, scan_page, text_page

SMALL = {"page_px": 128}


@pytest.fixture
def draw(tmp_path):
    """Draw all pages of a file in this process."""

    def draw(content: bytes, **settings) -> list[Drawn]:
        path = tmp_path / "file.pdf"
        path.write_bytes(content)
        with PdfPages(path, BookPagesConfig(**(SMALL | settings))) as pages:
            return [pages.draw(number) for number in range(1, len(pages) + 1)]

    return draw


def darkness(image: Image.Image) -> tuple[str, str]:
    """In which half the ink is: ("upper" or "lower", "left" or "right")."""
    ink = 255.0 - numpy.asarray(image.convert("L"), float)
    rows, columns = ink.sum(axis=1), ink.sum(axis=0)
    middle_row, middle_column = len(rows) // 2, len(columns) // 2
    upper = rows[:middle_row].sum() > rows[middle_row:].sum()
    left = columns[:middle_column].sum() > columns[middle_column:].sum()
    return "upper" if upper else "lower", "left" if left else "right"


def psnr(one: Image.Image, other: Image.Image) -> float:
    difference = numpy.asarray(one.convert("RGB"), float) - numpy.asarray(other.convert("RGB"), float)
    return float(10 * numpy.log10(255**2 / max(1e-9, (difference**2).mean())))


ENGINES = [
    "pdfium",
    pytest.param("poppler", marks=pytest.mark.skipif(not shutil.which("pdftoppm"), reason="poppler is not installed (poppler-utils)")),
    pytest.param("ghostscript", marks=pytest.mark.skipif(not shutil.which("gs"), reason="ghostscript is not installed")),
]


@pytest.mark.parametrize("engine", ENGINES)
def test_every_engine_draws_every_page_upright_at_the_size_and_aspect_asked_for(draw, engine):
    """Pages of mixed sizes, turned by their own word; DeepZine stretched them all to one square (defect 7)."""
    pages = [text_page(entries=f"/Rotate {turn}") for turn in (0, 90, 180, 270)]
    found = draw(pdf(*pages, text_page(size=(792, 306)), text_page(size=(300, 300))), engine=engine)
    assert [page.engine for page in found] == [engine] * 6
    assert [page.image.size for page in found] == [(99, 128), (128, 99), (99, 128), (128, 99), (128, 49), (128, 128)]
    assert [darkness(page.image) for page in found[:4]] == [("upper", "left"), ("upper", "right"), ("lower", "right"), ("lower", "left")]


@pytest.mark.parametrize("engine", ENGINES)
def test_a_crop_box_is_the_page(draw, engine):
    (page,) = draw(pdf(text_page(entries="/CropBox [0 396 306 792]")), engine=engine)
    assert page.image.size == (99, 128)
    grey = numpy.asarray(page.image.convert("L"))
    # The bar, three tenths of the whole page's width, takes more than half of the quarter that is shown.
    assert (grey[25] < 128).mean() > 0.5


def test_all_engines_draw_the_same_picture(draw):
    engines = [engine.values[0] if hasattr(engine, "values") else engine for engine in ENGINES]
    there = [engine for engine, program in zip(engines, ("", "pdftoppm", "gs"), strict=True) if not program or shutil.which(program)]
    if len(there) < 2:
        pytest.skip("neither poppler nor ghostscript is installed")
    content = pdf(text_page("The first line", "and another one", entries="/Rotate 90"))
    first, *others = [draw(content, engine=engine, page_px=512)[0].image for engine in there]
    assert all(psnr(first, other) > 20 for other in others)


def test_pdfium_draws_whatever_is_installed(draw, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    assert [page.engine for page in draw(pdf(text_page()))] == ["pdfium"]


def test_grey_pages_stay_grey_and_none_is_dropped(draw):
    """DeepZine lost pages of one channel in a bare except (defect 8)."""
    grey = encoded(drawing(200, 260, "L"))
    content = pdf(text_page(), text_page(colour="1 0 0"), scan_page(grey, (200, 260), image="/ColorSpace /DeviceGray /Filter /DCTDecode"))

    def shapes(colours: str) -> list[int]:
        config = BookPagesConfig(**SMALL, colours=colours)
        return [decode_png(finish(page.image, config)).shape[2] for page in draw(content)]

    assert shapes("as_is") == [1, 3, 1]
    assert shapes("grey") == [1, 1, 1]
    assert shapes("rgb") == [3, 3, 3]


def test_the_text_of_a_page_is_kept_and_bounded(draw, monkeypatch):
    monkeypatch.setattr(pdf_pages, "_MOST_LETTERS", 20)
    first, second, third = draw(pdf(text_page("Imaginary page", "of a book"), text_page("x" * 50), text_page()))
    assert (first.text, second.text, third.text) == ("Imaginary page\nof a", "x" * 20, "")
    assert draw(pdf(text_page("words")), texts=False)[0].text == ""


SCAN = encoded(drawing(600, 776))


def test_a_page_that_is_one_jpeg_is_that_jpeg_nearly_as_pdfium_draws_it(draw):
    content = pdf(scan_page(SCAN, (600, 776)))
    (quick,), (slow,) = draw(content, page_px=256), draw(content, page_px=256, scan_shortcut=False)
    assert (quick.engine, slow.engine, quick.image.size) == ("jpeg", "pdfium", slow.image.size)
    assert psnr(quick.image, slow.image) > 30
    (grey,) = draw(content, page_px=256, colours="grey")
    assert (grey.engine, grey.image.mode) == ("jpeg", "L") and psnr(grey.image, quick.image.convert("L")) > 40


MASK = [b"<< /Type /XObject /Subtype /Image /Width 1 /Height 1 /BitsPerComponent 8 /ColorSpace /DeviceGray /Length 1 >>\nstream\n\x80\nendstream"]
PLAIN = "/ColorSpace /DeviceRGB /Filter /DCTDecode"
NOT_ALONE = {
    "turned": scan_page(SCAN, (600, 776), entries="/Rotate 90"),
    "cropped": scan_page(SCAN, (600, 776), entries="/CropBox [10 10 600 780]"),
    "beside the corner": scan_page(SCAN, (600, 776), matrix="612 0 0 780 0 12"),
    "upside down": scan_page(SCAN, (600, 776), matrix="612 0 0 -792 0 792"),
    "skewed": scan_page(SCAN, (600, 776), matrix="612 3 -3 792 0 0"),
    "cut off": Page(b"q 0 0 300 792 re W n 612 0 0 792 0 0 cm /Im Do Q\n", LETTER, "", scan_page(SCAN, (600, 776)).images),
    "written on": scan_page(SCAN, (600, 776), behind=b"BT /F1 40 Tf 100 100 Td (stamp) Tj ET\n"),
    "inverted": scan_page(SCAN, (600, 776), image=f"{PLAIN} /Decode [1 0 1 0 1 0]"),
    "masked": scan_page(SCAN, (600, 776), image=f"{PLAIN} /SMask 4 0 R"),
    "of another colour space": scan_page(SCAN, (600, 776), image="/ColorSpace /DeviceGray /Filter /DCTDecode"),
    "not much larger than wanted": scan_page(encoded(drawing(288, 372)), (288, 372)),
    "of ink colours": scan_page(encoded(drawing(200, 260, "CMYK")), (200, 260), image="/ColorSpace /DeviceCMYK /Filter /DCTDecode"),
    "cut short": scan_page(SCAN[:2000], (600, 776)),
}  # fmt: skip


@pytest.mark.parametrize("what", NOT_ALONE)
def test_any_other_scan_is_left_to_pdfium(draw, what):
    (page,) = draw(pdf(NOT_ALONE[what], extra=MASK))
    assert page.engine == "pdfium"
    assert page.image.size == draw(pdf(NOT_ALONE[what], extra=MASK), scan_shortcut=False)[0].image.size


def test_nearly_white_pages_are_blank_and_others_are_not():
    config = BookPagesConfig(page_px=256)
    white = Image.new("RGB", (256, 200), "white")
    paper = Image.new("L", (256, 200), 250)
    numbered = white.copy()
    ImageDraw.Draw(numbered).rectangle([120, 190, 125, 194], fill="black")
    for blank in (white, paper):
        with pytest.raises(SetAside, match="blank: 0.0000% of the pixels are darker than 245"):
            finish(blank, config)
        assert finish(blank, BookPagesConfig(page_px=256, drop_blank=False))
    assert finish(numbered, config)
    # A page of yellowish paper is not nearly white: whether it is empty is not known.
    assert finish(Image.new("RGB", (256, 200), (244, 236, 214)), config)


@pytest.mark.parametrize(
    ("page", "reason"),
    [
        (text_page(size=(1, 1)), "too_small"),
        (text_page(size=(10_000, 100)), "too_small"),
        (Page(entries="/MediaBox [0 0 0 0]"), None),
        (text_page(size=(35_000, 26_000)), None),
        (text_page(size=(1e7, 1e7)), None),
        (Page(entries="/MediaBox [0 0 -5 1e30]", content=b"0 0 1 1 re f"), None),
        (scan_page(b"", (35_000, 26_000)), "too_many_pixels"),
    ],
)
def test_tiny_and_huge_pages_are_bounded(draw, page, reason):
    content = pdf(page)
    if reason:
        with pytest.raises(SetAside, match=reason):
            draw(content)
    else:
        # Where a box makes no sense, PDFium takes a letter page; a large one is drawn at the size asked for.
        assert max(draw(content)[0].image.size) == 128


@pytest.mark.parametrize(
    ("content", "reason", "words"),
    [
        (b"", "not_a_pdf", "expected %PDF"),
        (b"<html><body>503 Service Unavailable</body></html>", "not_a_pdf", "begins with b'<html>"),
        (b"%PDF-1.4\n%%EOF", "broken", "Data format error"),
        (pdf(text_page())[:200], "broken", "Data format error"),
        (pdf(), "no_pages", "it cannot be opened"),
        (pdf(text_page(), trailer=ENCRYPTED), "encrypted", "Incorrect password"),
    ],
)
def test_a_file_that_gives_no_page_says_why(draw, content, reason, words):
    with pytest.raises(SetAside) as refusal:
        draw(content)
    assert refusal.value.reason == reason and words in refusal.value.words


@pytest.mark.parametrize("coding", ["/JBIG2Decode", "/JPXDecode", "/CCITTFaxDecode", "/DCTDecode", "/FlateDecode", "/LZWDecode"])
def test_garbage_where_a_scan_should_be_is_a_page_all_the_same(draw, coding):
    garbage = bytes(range(256)) * 8
    content = pdf(scan_page(garbage, (640, 480), image=f"/ColorSpace /DeviceGray /Filter {coding}", behind=b"0 0 50 50 re f\n"), text_page())
    assert [page.engine for page in draw(content)] == ["pdfium", "pdfium"]


def test_a_page_tree_that_leads_back_to_itself_ends(draw):
    with pytest.raises(SetAside, match="broken|no_pages"):
        draw(pdf(text_page(), kids="2 0 R 2 0 R", count=4))


@pytest.mark.parametrize("coding", ["JPXDecode", "CCITTFaxDecode"])
def test_scans_of_other_codings_are_drawn_right(draw, coding):
    """JBIG2 has no encoder here: its pages are among the real ones of tests/assets/books/pages/test_build.py."""
    picture = drawing(400, 520, "1" if coding == "CCITTFaxDecode" else "RGB")
    if coding == "CCITTFaxDecode":
        content = encoded(picture, "PDF", resolution=72)
    else:
        content = pdf(scan_page(encoded(picture, "JPEG2000", irreversible=False), (400, 520), image="/Filter /JPXDecode"))
    assert coding.encode() in content
    (page,) = draw(content, page_px=260)
    assert page.engine == "pdfium" and psnr(page.image, picture.convert("RGB").resize(page.image.size, Image.Resampling.BOX)) > 15
    assert darkness(page.image) == darkness(picture.convert("RGB"))
