"""A zip of scans gives one page a member, in the order of their numbers; only bytes of members are ever read."""

import io
import stat
import zipfile

import numpy
import pytest

pytest.importorskip("PIL", reason="pillow is not installed (extra: images)")
pytest.importorskip("isal", reason="isal is not installed (extra: images)")
from PIL import Image, ImageFilter, features

from assets.books.pages import jp2 as jp2_pages
from assets.books.pages.config import BookPagesConfig
from assets.books.pages.drawing import SetAside
from assets.books.pages.jp2 import Jp2Pages
from tests.assets.books.pages.pdfs import drawing, encoded, scans

pytestmark = pytest.mark.skipif(not features.check("jpg_2000"), reason="this Pillow has no JPEG 2000")
SMALL = {"page_px": 128}


@pytest.fixture
def opened(tmp_path):
    """Open a zip of these bytes; closed at the end."""
    opened_ones = []

    def opened(content: bytes, **settings) -> Jp2Pages:
        path = tmp_path / "scans.zip"
        path.write_bytes(content)
        opened_ones.append(Jp2Pages(path, BookPagesConfig(**(SMALL | settings))))
        return opened_ones[-1]

    yield opened
    for pages in opened_ones:
        pages.__exit__()


def jp2(image: Image.Image, **options) -> bytes:
    return encoded(image, "JPEG2000", irreversible=False, **options)


def test_members_become_pages_by_their_numbers_and_others_are_no_pages(opened):
    """Names sorted as text put page 10 before page 2; DeepZine's search for `*1.png` took 11 and 21 for 1 (defect 11)."""
    shades = {f"book_jp2/book_{number}.jp2": jp2(Image.new("L", (40, 50), 10 * number)) for number in (11, 2, 1, 10, 21)}
    pages = opened(scans({**shades, "book_scandata.xml": b"<book/>", "book_jp2/": b""}))
    assert len(pages) == 5
    drawn = [pages.draw(number) for number in range(1, 6)]
    assert [int(numpy.median(numpy.asarray(page.image))) for page in drawn] == [10, 20, 100, 110, 210]
    assert {(page.engine, page.image.size) for page in drawn} == {("jp2", (102, 128))}


@pytest.mark.parametrize("resolutions", [1, 3, 6])
def test_a_wavelet_is_decoded_no_larger_than_needed_and_nothing_moves(opened, resolutions):
    image = drawing(600, 800).filter(ImageFilter.GaussianBlur(3))
    pages = opened(scans({"1.jp2": jp2(image, num_resolutions=resolutions)}))
    found = numpy.asarray(pages.draw(1).image, float)
    expected = numpy.asarray(image.resize((96, 128), Image.Resampling.HAMMING), float)
    assert found.shape == expected.shape and numpy.sqrt(((found - expected) ** 2).mean()) < 5


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "LA", "I;16"])
def test_every_kind_of_pixels_becomes_grey_or_rgb(opened, mode):
    image = Image.new("I;16", (80, 60), 128 * 257) if mode == "I;16" else Image.new(mode, (80, 60), 128 if mode == "L" else (128,) * len(mode))
    found = opened(scans({"1.jp2": jp2(image)})).draw(1).image
    assert found.mode == ("L" if mode in ("L", "LA", "I;16") else "RGB")
    # Half transparent on white is lighter.
    assert abs(int(numpy.asarray(found).mean()) - (191 if mode.endswith("A") else 128)) <= 1


def test_a_number_too_long_to_be_one_and_digits_of_other_scripts_are_sorted_too(opened):
    names = ["9" * 5_000 + ".png", "٣.png", "2.png", "x.png"]
    pages = opened(scans({name: encoded(drawing(40, 50), "PNG", compress_level=1) for name in names}))
    assert [info.filename[0] for info in pages._members] == ["2", "٣", "9", "x"]


def test_names_that_lead_elsewhere_and_links_are_harmless(opened, tmp_path):
    secret = tmp_path / "secret.jp2"
    secret.write_bytes(jp2(Image.new("L", (40, 50), 77)))
    link = zipfile.ZipInfo("link.jp2")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("../../escaped.jp2", jp2(Image.new("L", (40, 50), 99)))
        archive.writestr("/absolute.jp2", jp2(Image.new("L", (40, 50), 55)))
        archive.writestr(link, str(secret))
    before = set(tmp_path.rglob("*")) | {tmp_path / "scans.zip"}
    pages = opened(out.getvalue())
    assert [int(numpy.asarray(pages.draw(number).image).mean()) for number in (1, 2)] == [99, 55]
    with pytest.raises(SetAside, match="not_an_image: found a link"):
        pages.draw(3)
    assert set(tmp_path.rglob("*")) == before


def test_what_is_no_scan_is_set_aside_and_the_rest_goes_on(opened, monkeypatch):
    monkeypatch.setattr(jp2_pages, "_MOST_BYTES", 1 << 20)
    good = jp2(drawing(80, 100))
    members = {
        "1.jp2": good,
        "2.jp2": good[: len(good) // 3],
        "3.jp2": b"<html>gone</html>",
        "4.jp2": jp2(Image.new("L", (1, 1))),
        "5.jp2": b"",
        "6.jp2": jp2(Image.new("L", (400, 400))),
        "7.jp2": b" " * (2 << 20),
        "8.png": encoded(drawing(80, 100), "PNG", compress_level=1),
        "9.jpg": encoded(drawing(80, 100)),
    }
    pages = opened(scans(members), max_scan_pixels=100_000)
    reasons = []
    for number in range(1, len(pages) + 1):
        try:
            reasons.append(pages.draw(number).engine)
        except SetAside as refusal:
            reasons.append(refusal.reason)
    assert reasons == ["jp2", "broken", "not_an_image", "too_small", "not_an_image", "too_many_pixels", "too_many_bytes", "jp2", "jp2"]


def test_a_member_that_unpacks_to_gigabytes_is_never_held(opened, monkeypatch):
    monkeypatch.setattr(jp2_pages, "_MOST_BYTES", 1 << 20)
    content = scans({"1.jp2": b"\0" * (64 << 20), "2.jp2": jp2(drawing(80, 100))})
    assert len(content) < 200_000
    pages = opened(content)
    with pytest.raises(SetAside, match="too_many_bytes: more than 1,048,576 bytes"):
        pages.draw(1)
    assert pages.draw(2).image.size == (102, 128)


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"", "broken"), (b"PK\x03\x04 not really", "broken"), (scans({"readme.txt": b"x"}), "no_pages"), (scans({}), "no_pages")],
)
def test_a_file_that_is_no_zip_of_scans_says_why(opened, content, reason):
    with pytest.raises(SetAside) as refusal:
        opened(content)
    assert refusal.value.reason == reason


def test_a_member_that_needs_a_password_is_set_aside(opened):
    content = bytearray(scans({"1.jp2": jp2(drawing(80, 100))}))
    content[6] |= 1  # the flag in the local header, and in the directory
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(SetAside, match="encrypted: the member needs a password"):
        opened(bytes(content)).draw(1)
