"""Every picture comes back exactly, for Pillow too, and damage is named."""

import contextlib
import io
import struct
import zlib

import pytest

pytest.importorskip("isal", reason="isal is not installed (extra: images)")
pytest.importorskip("PIL", reason="pillow is not installed (extra: images)")

import hypothesis.strategies as st
import numpy
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from PIL import Image

from formats.png import PngError, decode_png, encode_png
from tests.bounded import bounded


def _by_pillow(content: bytes) -> numpy.ndarray:
    with Image.open(io.BytesIO(content)) as image:
        image.verify()
    with Image.open(io.BytesIO(content)) as image:
        return numpy.array(image)


_SHAPES = st.tuples(st.integers(1, 90), st.integers(1, 40), st.sampled_from([1, 3]))


@given(_SHAPES.flatmap(lambda shape: arrays(numpy.uint8, shape)))
def test_pixels_come_back_exactly(pixels):
    content = encode_png(pixels)
    assert (decode_png(content) == pixels).all()
    assert (_by_pillow(content).reshape(pixels.shape) == pixels).all()
    assert encode_png(pixels) == content


@settings(max_examples=40)
@given(_SHAPES, st.integers(0, 5), st.integers(0, 2**32 - 1))
def test_any_pillow_png_is_decoded_as_pillow_does(shape, level, seed):
    draw = numpy.random.default_rng(seed)
    smooth = numpy.cumsum(draw.integers(0, 3, shape), axis=0).astype(numpy.uint8)
    stream = io.BytesIO()
    Image.fromarray(smooth.squeeze(2) if shape[2] == 1 else smooth).save(stream, "PNG", compress_level=level)
    assert (decode_png(stream.getvalue()) == smooth).all()


def test_a_photograph_and_line_art_get_the_filter_that_suits_them():
    smooth = numpy.repeat(numpy.arange(256, dtype=numpy.uint8)[:, None], 256, 1)
    photograph = numpy.stack([smooth, smooth.T, smooth // 2 + smooth.T // 2], axis=2)
    flat = numpy.full((256, 256, 3), 255, numpy.uint8)
    flat[40:200, 60:62] = flat[100, :] = 0
    assert len(encode_png(photograph)) < photograph.size / 20
    assert len(encode_png(flat)) < flat.size / 100


def test_a_grey_picture_given_as_rgb_stays_rgb():
    assert _by_pillow(encode_png(numpy.full((8, 8, 3), 77, numpy.uint8))).shape == (8, 8, 3)


@pytest.mark.parametrize("array", [numpy.zeros((4, 4, 4), numpy.uint8), numpy.zeros((4, 4, 3), numpy.float32), numpy.zeros((0, 4, 3), numpy.uint8)])
def test_what_is_no_picture_is_refused(array):
    with pytest.raises(ValueError, match="pixels must be uint8"):
        encode_png(array)


@pytest.mark.parametrize("mode", ["P", "RGBA", "LA", "1", "I;16"])
def test_other_modes_are_refused_by_name(mode):
    stream = io.BytesIO()
    Image.new(mode, (8, 8)).save(stream, "PNG")
    with pytest.raises(PngError, match=mode):
        decode_png(stream.getvalue())


@given(st.data())
def test_damaged_bytes_never_give_anything_but_a_picture_of_that_size_or_an_error(data):
    content = bytearray(encode_png(numpy.arange(48 * 48 * 3, dtype=numpy.uint32).astype(numpy.uint8).reshape(48, 48, 3)))
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(33, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(PngError):
        assert decode_png(cut).shape[:2] == (48, 48)


def test_a_small_picture_that_inflates_to_a_gigabyte_is_refused_before_it_does():
    packer = zlib.compressobj(9)
    bomb = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(64)), packer.flush()])
    good = encode_png(numpy.zeros((8, 8, 3), numpy.uint8))
    end = good.index(b"IDAT") - 4
    crafted = good[:end] + len(bomb).to_bytes(4, "big") + b"IDAT" + bomb + zlib.crc32(b"IDAT" + bomb).to_bytes(4, "big") + good[-12:]
    assert decode_png(crafted).shape == (8, 8, 3)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_picture_that_claims_too_many_pixels_is_refused_before_it_is_decoded():
    # Interlaced, so that Pillow is asked; RGB of half a gigabyte, were it all there.
    header = struct.pack(">IIBBBBB", 13_000, 13_000, 8, 2, 0, 0, 1)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0" * 100_000)), (b"IEND", b"")]
    parts = [struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in chunks]
    with bounded(seconds=2, mib=64), pytest.raises(PngError, match="13000×13000 pixels; expected fewer"):
        decode_png(b"\x89PNG\r\n\x1a\n" + b"".join(parts))
