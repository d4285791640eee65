"""The journal's pictures: every mode that readers must cope with, and the same bytes wherever Pillow is the same."""

import hashlib
import io

import pytest

PIL = pytest.importorskip("PIL", reason="pillow is not installed (extra: images)")

from PIL import Image, UnidentifiedImageError

from assets.demo_sites.drawings import draw, extension_of, kind_of

NUMBERS = range(1, 47)
# Of the pictures above, with the Pillow of constraints.txt.
KNOWN = ("12.3.0", "d5a7bc30a914715df2287bd74efe348027ef0b9b47ee822463523657ac53db4a")


@pytest.fixture(scope="module")
def drawn():
    return {number: draw(7, number, label="Polite Peroxides") for number in NUMBERS}


def test_there_is_every_format_and_mode_and_none_is_wider_than_500_pixels(drawn):
    found = set()
    for number, drawing in drawn.items():
        with Image.open(io.BytesIO(drawing.body)) as image:
            image.load()
            assert drawing.content_type == f"image/{extension_of(number)}" == Image.MIME[image.format or ""]
            assert 100 <= image.height <= 500 and 100 <= image.width <= 500
            found.add((image.format, image.mode))
            assert (image.getexif().get(0x0112) == 6) == (kind_of(number) == "jpeg_rotated")
            assert (getattr(image, "n_frames", 1) > 1) == (kind_of(number) == "gif_animated")
    assert found >= {
        ("GIF", "P"), ("JPEG", "RGB"), ("JPEG", "L"), ("JPEG", "CMYK"),
        ("PNG", "RGB"), ("PNG", "RGBA"), ("PNG", "L"), ("PNG", "LA"), ("PNG", "P"), ("PNG", "I;16"),
    }  # fmt: skip


def test_no_two_pictures_are_alike_and_the_frames_of_an_animation_differ(drawn):
    assert len({drawing.body for drawing in drawn.values()}) == len(drawn)
    number = next(number for number in NUMBERS if kind_of(number) == "gif_animated")
    with Image.open(io.BytesIO(drawn[number].body)) as image:
        first = image.convert("RGB").tobytes()
        image.seek(1)
        assert image.convert("RGB").tobytes() != first or image.n_frames > 1


def test_the_same_pillow_draws_the_same_bytes(drawn):
    if PIL.__version__ != KNOWN[0]:
        pytest.skip(f"the known pictures are those of Pillow {KNOWN[0]}, this is {PIL.__version__}")
    assert hashlib.sha256(b"".join(drawing.body for drawing in drawn.values())).hexdigest() == KNOWN[1]


@pytest.mark.parametrize(("fault", "error"), [("truncated", OSError), ("html", UnidentifiedImageError)])
def test_what_is_broken_cannot_be_read(fault, error):
    with pytest.raises(error), Image.open(io.BytesIO(draw(7, 1, label="", fault=fault).body)) as image:
        image.load()


def test_what_is_too_small_can_be_read_and_what_is_missing_is_nothing():
    with Image.open(io.BytesIO(draw(7, 1, label="", fault="too_small").body)) as image:
        assert image.size == (24, 16)
    assert draw(7, 1, label="", fault="missing").body == b""
