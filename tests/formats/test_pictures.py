"""Every kind of picture becomes the RGB it shows, and what is no picture says so without being decoded."""

import io
import struct
import zlib
from collections import Counter

import numpy
import pytest

pytest.importorskip("PIL", reason="pillow is not installed (extra: images)")

import hypothesis.strategies as st
from hypothesis import given, settings
from PIL import Image

from formats.pictures import AS_STORED, DecodeLimits, Undecodable, decode

LIMITS = DecodeLimits(min_side_px=1)
LZW = {"compression": "tiff_lzw"}
RED, WHITE = (255, 0, 0), (255, 255, 255)


def encoded(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, format=kind, **options)
    return stream.getvalue()


def picture(width: int = 40, height: int = 30) -> Image.Image:
    """A picture without symmetry, so that every rotation shows."""
    levels = numpy.arange(width * height * 3, dtype=numpy.uint32).reshape(height, width, 3) * 7919 % 256
    levels[: height // 3, : width // 4] = RED
    return Image.fromarray(levels.astype(numpy.uint8))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG written by hand, for what Pillow cannot write."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data)) for name, data in parts)
    return b"\x89PNG\r\n\x1a\n" + body


def reason_of(data: bytes, limits: DecodeLimits = LIMITS) -> str:
    with pytest.raises(Undecodable) as caught:
        decode(data, limits=limits)
    assert caught.value.words
    return caught.value.reason


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("TIFF", LZW), ("WEBP", {"lossless": True})])
def test_rgb_is_read_as_it_is(kind, options):
    result = decode(encoded(picture(), kind, **options), limits=LIMITS)
    assert numpy.array_equal(result.pixels, numpy.asarray(picture()))
    assert (result.decoded_as, result.format, result.width, result.height) == (AS_STORED, kind.lower(), 40, 30)
    assert result.pixels.dtype == numpy.uint8 and result.pixels.flags["C_CONTIGUOUS"]


def test_grey_has_three_equal_channels():
    grey = picture().convert("L")
    result = decode(encoded(grey, "PNG"), limits=LIMITS)
    assert numpy.array_equal(result.pixels, numpy.repeat(numpy.asarray(grey)[..., None], 3, axis=2))
    assert (result.decoded_as, result.mode) == ("grey", "L")


def test_two_levels_become_black_and_white():
    result = decode(encoded(picture().convert("1"), "PNG"), limits=LIMITS)
    assert set(numpy.unique(result.pixels)) == {0, 255} and result.decoded_as == "grey"


def test_alpha_is_composited_on_white():
    image = Image.new("RGBA", (3, 2), (0, 0, 255, 128))
    image.putpixel((0, 0), (0, 0, 255, 0))
    image.putpixel((1, 0), (0, 0, 255, 255))
    result = decode(encoded(image, "PNG"), limits=LIMITS)
    assert result.pixels[0].tolist() == [[255, 255, 255], [0, 0, 255], [127, 127, 255]]
    assert result.decoded_as == "alpha on white"


def test_grey_with_alpha_is_composited_on_white():
    image = Image.new("LA", (2, 2), (0, 64))
    result = decode(encoded(image, "PNG"), limits=LIMITS)
    assert (result.pixels == 191).all() and result.decoded_as == "grey, alpha on white"


def test_palette_with_a_transparent_colour_is_white_there():
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, *RED])
    image.putpixel((0, 0), 0)
    result = decode(encoded(image, "PNG", transparency=0), limits=LIMITS)
    assert result.pixels[0].tolist() == [list(WHITE), list(RED)]
    assert result.decoded_as == "palette, alpha on white"


def test_palette_with_half_transparent_colours_is_mixed_with_white():
    image = Image.new("P", (2, 2), 1)
    image.putpalette([0, 0, 0, *RED])
    result = decode(encoded(image, "PNG", transparency=bytes([0, 128])), limits=LIMITS)
    assert result.pixels[1, 1].tolist() == [255, 127, 127]


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_the_transparent_level_of_grey_with_few_bits_is_found(depth):
    # One row of eight pixels: level 1 is transparent, level 0 is black.
    levels = [1, 0, 0, 0, 1, 0, 0, 0]
    bits = "".join(f"{level:0{depth}b}" for level in levels)
    row = b"\0" + int(bits, 2).to_bytes(len(bits) // 8, "big")
    result = decode(png(8, 1, depth, 0, row, (b"tRNS", b"\0\1")), limits=LIMITS)
    assert result.pixels[0, :, 0].tolist() == [255, 0, 0, 0, 255, 0, 0, 0]


def test_the_first_frame_of_an_animation_is_taken():
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, (0, 255, 0), (0, 0, 255))]
    result = decode(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]), limits=LIMITS)
    assert (result.pixels == RED).all() and result.decoded_as.endswith("first of 3 frames")


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_the_first_frame_of_other_animations_is_taken(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, (0, 255, 0), (0, 0, 255))]
    result = decode(encoded(frames[0], kind, save_all=True, append_images=frames[1:], lossless=True), limits=LIMITS)
    assert (result.pixels == RED).all() and result.decoded_as.endswith("first of 3 frames")


def test_a_jpeg_with_more_pictures_behind_it_is_a_jpeg():
    result = decode(encoded(picture(), "MPO", save_all=True, append_images=[picture()]), limits=LIMITS)
    assert result.format == "jpeg" and (result.width, result.height) == (40, 30)


def test_cmyk_in_a_jpeg_is_inverted_as_adobe_does():
    ink = Image.new("CMYK", (16, 16), (0, 255, 255, 0))  # magenta and yellow are red
    data = encoded(ink, "JPEG", quality=100)
    assert b"Adobe" in data
    result = decode(data, limits=LIMITS)
    assert numpy.abs(result.pixels.astype(int) - RED).max() <= 2 and result.decoded_as.startswith("CMYK")


def test_cmyk_in_a_tiff_is_read_as_it_is():
    result = decode(encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "TIFF"), limits=LIMITS)
    assert (result.pixels == RED).all() and result.decoded_as == "CMYK"


def test_sixteen_bit_grey_is_scaled_and_not_clipped():
    ramp = numpy.linspace(0, 65535, 256).astype(numpy.uint16).reshape(16, 16)
    for kind in ("PNG", "TIFF"):
        result = decode(encoded(Image.fromarray(ramp), kind), limits=LIMITS)
        assert result.pixels[..., 0].ravel().tolist() == list(range(256)), kind
        assert result.decoded_as == "grey, 16 bits scaled to 8"


def test_sixteen_bit_colour_is_scaled_and_not_clipped():
    row = b"\0" + struct.pack(">9H", 65535, 0, 0, 32896, 257, 65535, 300, 0, 0)
    result = decode(png(3, 1, 16, 2, row), limits=LIMITS)
    assert result.pixels[0].tolist() == [[255, 0, 0], [128, 1, 255], [1, 0, 0]]
    assert result.decoded_as == "16 bits scaled to 8"


def test_the_transparent_colour_of_sixteen_bits_is_found():
    row = b"\0" + struct.pack(">6H", 0x1200, 0, 0, 0xFFFF, 0, 0)
    result = decode(png(2, 1, 16, 2, row, (b"tRNS", struct.pack(">3H", 0x1200, 0, 0))), limits=LIMITS)
    assert result.pixels[0].tolist() == [list(WHITE), list(RED)]
    grey = b"\0" + struct.pack(">2H", 0x1200, 0)
    result = decode(png(2, 1, 16, 0, grey, (b"tRNS", struct.pack(">H", 0x1200))), limits=LIMITS)
    assert result.pixels[0].tolist() == [list(WHITE), [0, 0, 0]]


def test_levels_without_a_fixed_white_use_their_own_range():
    levels = numpy.array([[-1.5, 0.0], [1.5, numpy.nan]], dtype=numpy.float32)
    result = decode(encoded(Image.fromarray(levels), "TIFF"), limits=LIMITS)
    assert result.pixels[..., 0].tolist() == [[0, 128], [255, 255]] and "own range" in result.decoded_as


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_a_picture_stands_upright_whatever_exif_says_of_the_camera(orientation, kind):
    stored = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # the transposition that, undone, gives the picture
    image = picture() if orientation == 1 else picture().transpose(Image.Transpose(stored[orientation]))
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    result = decode(encoded(image, kind, exif=exif, **options), limits=LIMITS)
    assert numpy.array_equal(result.pixels, numpy.asarray(picture()))
    assert (result.width, result.height) == (40, 30)
    assert result.decoded_as == (AS_STORED if orientation == 1 else f"EXIF rotation {orientation}")


def test_exif_that_cannot_be_read_asks_for_nothing():
    data = encoded(picture(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert decode(data, limits=LIMITS).decoded_as == AS_STORED


@pytest.mark.parametrize(
    ("kind", "options"),
    [("PNG", {}), ("JPEG", {}), ("JPEG", {"progressive": True}), ("GIF", {}), ("WEBP", {}), ("BMP", {}), ("TIFF", {}), ("TIFF", LZW)],
)
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.9])
def test_a_picture_that_ends_too_early_is_broken(kind, options, kept):
    data = encoded(picture(200, 150), kind, **options)
    assert reason_of(data[: max(12, int(len(data) * kept))]) == "broken"


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "not_an_image"),
        (b"<!DOCTYPE html><title>Are you human?</title>", "not_an_image"),
        (b"\n\n<html><img src=x.png></html>", "not_an_image"),
        (b"%PDF-1.7 ...", "not_an_image"),
        (b"PK\x03\x04" + bytes(50), "not_an_image"),
        (bytes(1000), "not_an_image"),
        (b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"/>', "format_not_allowed"),
        (b"\0\0\0\x1cftypavif" + bytes(50), "format_not_allowed"),
    ],
)
def test_what_is_no_picture_says_what_it_is(data, reason):
    assert reason_of(data) == reason


def test_a_format_that_is_not_allowed_is_not_opened():
    assert reason_of(encoded(picture(), "TIFF"), DecodeLimits(formats=("png", "jpeg"))) == "format_not_allowed"


@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (10_000, 8_000), (7_000, 6_000)])
def test_a_bomb_is_refused_before_it_is_decoded(width, height):
    assert reason_of(png(width, height, 8, 2, b"")) == "too_many_pixels"


def test_a_gif_of_very_many_frames_is_refused_without_decoding_them():
    frame = b"\x2c" + struct.pack("<4H", 0, 0, 1, 1) + b"\0\x02\x02\x44\x01\0"
    head = b"GIF89a" + struct.pack("<2H", 64, 64) + b"\x80\0\0" + bytes(3) + b"\xff" * 3
    assert reason_of(head + frame * 200_000 + b";") == "too_many_frames"
    assert decode(head + frame * 1_000 + b";", limits=LIMITS).decoded_as.endswith("first of 1000 frames")


def test_too_small_and_too_heavy_are_refused():
    assert reason_of(encoded(picture(40, 30), "PNG"), DecodeLimits(min_side_px=31)) == "too_small"
    assert reason_of(encoded(picture(), "PNG"), DecodeLimits(max_bytes=100)) == "too_many_bytes"


@pytest.mark.parametrize("wrong", [{"max_pixels": 10**9}, {"max_bytes": 0}, {"formats": ()}, {"formats": ("png", "svg")}])
def test_limits_that_would_not_limit_are_refused(wrong):
    with pytest.raises(ValueError, match=r"must"):
        DecodeLimits(**wrong)


_SEEDS = [
    encoded(picture(), "PNG"),
    encoded(picture(), "JPEG"),
    encoded(picture().convert("P"), "GIF"),
    encoded(picture(), "WEBP"),
    encoded(picture(), "BMP"),
    encoded(picture(), "TIFF", compression="tiff_lzw"),
    encoded(picture().convert("LA"), "PNG"),
]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from(_SEEDS), st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=6), st.integers(0, 5000))
def test_damaged_bytes_give_a_picture_or_a_reason_and_nothing_else(data, changes, cut):
    damaged = bytearray(data)
    for place, value in changes:
        damaged[place % len(damaged)] = value
    reason, shape = "", False
    try:
        result = decode(bytes(damaged[: max(1, len(damaged) - cut)]), limits=DecodeLimits(min_side_px=1, max_pixels=100_000))
        shape = result.pixels.shape == (result.height, result.width, 3)
    except Undecodable as error:
        reason = error.reason
    assert shape or reason in {"not_an_image", "format_not_allowed", "broken", "too_many_pixels", "too_many_frames"}


@pytest.mark.shared_data
def test_the_gallery_pictures_of_real_lessons_are_all_read(shared_data):
    found: Counter[tuple[str, str, str]] = Counter()
    for path in sorted((shared_data / "journals/programming_historian/gallery").iterdir()):
        result = decode(path.read_bytes(), limits=DecodeLimits())
        found[result.format, result.mode, result.decoded_as] += 1
    assert found == {
        ("png", "L", "grey"): 41,
        ("png", "LA", "grey, alpha on white"): 38,
        ("png", "RGBA", "alpha on white"): 39,
        ("png", "RGB", AS_STORED): 5,
        ("png", "P", "palette"): 1,
        ("jpeg", "RGB", AS_STORED): 5,  # four of them are called .png
    }


@pytest.mark.shared_data
def test_the_pictures_of_a_chemistry_blog_are_read_or_too_small(shared_data):
    found: Counter[str] = Counter()
    for path in sorted((shared_data / "journals/chem_bla_ics/assets/images").rglob("*")):
        if path.is_file():
            try:
                found[decode(path.read_bytes(), limits=DecodeLimits()).format] += 1
            except Undecodable as error:
                found[error.reason] += 1
    assert found == {"png": 238, "jpeg": 21, "gif": 1, "too_small": 1}
