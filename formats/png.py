"""Lossless PNG bytes, compact and fast: for datasets of many small pictures that are written once and decoded in every epoch.

Only two row filters are used, one for the whole picture: none, which suits flat grounds and line art, and Up, which suits photographs. A few bands
of rows, deflated both ways, decide. ISA-L deflates about ten times as fast as zlib at nearly the same size. Pictures stay as they are: grey ones
given as RGB are written as RGB, because StyleGAN wants one channel count in a dataset.

Equal pixels give equal bytes with one release of isal on one kind of processor. ISA-L has kernels for several instruction sets; on another
kind of processor the bytes may differ, the pixels never.
"""

import io
import struct

import numpy
from PIL import Image

# Of pixels: what claims more is refused before it is decoded.
_MOST_BYTES = 1 << 28
_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_LEVEL = 2
_NONE, _UP = 0, 2
_COLOUR_TYPES = {1: 0, 3: 2}  # channels -> the IHDR colour type: grey, RGB
_CHANNELS = {0: 1, 2: 3}
_BANDS, _ROWS_OF_BAND = 4, 5


class PngError(Exception):
    """These bytes are not a picture that can be decoded."""


def encode_png(pixels: numpy.ndarray) -> bytes:
    """PNG bytes of `pixels`, uint8 [H, W, 3] (RGB), [H, W, 1] or [H, W] (grey)."""
    if pixels.dtype != numpy.uint8 or pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in _COLOUR_TYPES) or not pixels.size:
        raise ValueError(f"pixels must be uint8 [H, W, 3], [H, W, 1] or [H, W], found {pixels.dtype} {list(pixels.shape)}")
    from isal import isal_zlib

    height, width = pixels.shape[:2]
    channels = pixels.shape[2] if pixels.ndim == 3 else 1
    rows = numpy.ascontiguousarray(pixels).reshape(height, width * channels)
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    filtered = _filtered(rows, _best_filter(rows))
    return b"".join([_SIGNATURE, *_chunk(b"IHDR", header), *_chunk(b"IDAT", isal_zlib.compress(filtered, _LEVEL)), *_chunk(b"IEND", b"")])


def decode_png(content: bytes) -> numpy.ndarray:
    """The pixels of a PNG, uint8 [H, W, C] with C = 1 (grey) or 3 (RGB); of other formats too, where Pillow knows them.

    What `encode_png` wrote, and PNGs that dataset tools store, take a short way; everything else is Pillow's. Checksums are not looked at on the
    short way: whoever keeps PNGs in a zip has checked the zip's. Raises PngError, also for modes other than L and RGB.
    """
    pixels = _decode_simple(content)
    if pixels is not None:
        return pixels
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.mode not in ("L", "RGB"):
                raise PngError(f"a picture of mode {image.mode}; expected L (grey) or RGB, 8 bits a channel")
            if image.width * image.height * len(image.mode) >= _MOST_BYTES:
                raise PngError(f"{image.width}×{image.height} pixels; expected fewer than {_MOST_BYTES:,} samples")
            array = numpy.array(image)
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise PngError(f"not a picture that Pillow can decode ({error})") from None
    return array[:, :, None] if array.ndim == 2 else array


def _chunk(kind: bytes, content: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    from isal import isal_zlib

    return struct.pack(">I", len(content)), kind, content, struct.pack(">I", isal_zlib.crc32(content, isal_zlib.crc32(kind)))


def _best_filter(rows: numpy.ndarray) -> int:
    """None or Up, whichever makes a few bands of rows, evenly spread, smaller."""
    from isal import isal_zlib

    height = len(rows)
    if height <= _BANDS * _ROWS_OF_BAND * 2:
        sample = rows
    else:
        # Bands in the middle of quarters: a margin at the top or bottom would tell nothing of the picture.
        starts = ((2 * band + 1) * height // (2 * _BANDS) - _ROWS_OF_BAND // 2 for band in range(_BANDS))
        sample = numpy.concatenate([rows[start : start + _ROWS_OF_BAND] for start in starts])
    sizes = {kind: len(isal_zlib.compress(_filtered(sample, kind), _LEVEL)) for kind in (_NONE, _UP)}
    return _NONE if sizes[_NONE] <= sizes[_UP] else _UP


def _filtered(rows: numpy.ndarray, kind: int) -> numpy.ndarray:
    """`rows` as a PNG holds them: each with the number of its filter before it."""
    out = numpy.empty((rows.shape[0], rows.shape[1] + 1), numpy.uint8)
    out[:, 0] = kind
    if kind == _NONE:
        out[:, 1:] = rows
    else:
        out[0, 1:] = rows[0]
        numpy.subtract(rows[1:], rows[:-1], out=out[1:, 1:])
    return out


def _decode_simple(content: bytes) -> numpy.ndarray | None:
    """The pixels of an 8-bit grey or RGB PNG whose rows all have the filter none, or all Up; None when it is another kind of file."""
    if len(content) < 33 or content[:8] != _SIGNATURE or content[12:16] != b"IHDR":
        return None
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", content[16:29])
    data = _image_data(content)
    if data is None or depth != 8 or colour not in _CHANNELS or interlaced or not width or not height:
        return None
    from isal import isal_zlib

    # Each row is its filter's number and its samples (PNG specification §7 and §9).
    stride = width * _CHANNELS[colour] + 1
    size = height * stride
    try:
        # A file that says it is small and inflates to gigabytes gets no more than what it said.
        raw = isal_zlib.decompressobj().decompress(data, size) if size < _MOST_BYTES else b""
    except isal_zlib.IsalError:
        return None
    if len(raw) != size:
        return None
    rows = numpy.frombuffer(raw, numpy.uint8).reshape(height, stride)
    kinds = rows[:, 0]
    if (kinds == _NONE).all():
        pixels = rows[:, 1:].copy()
    # Up: each sample is its difference to the one above, modulo 256.
    elif (kinds == _UP).all():
        pixels = numpy.empty((height, stride - 1), numpy.uint8)
        pixels[0] = rows[0, 1:]
        for row in range(1, height):
            numpy.add(pixels[row - 1], rows[row, 1:], out=pixels[row])
    else:
        return None
    return pixels.reshape(height, width, _CHANNELS[colour])


def _image_data(content: bytes) -> bytes | memoryview | None:
    """The content of the IDAT chunks; None where there is transparency, a palette or a broken chain of chunks: Pillow knows what to do then."""
    # A chunk is length, kind, content and checksum (PNG specification §5.3).
    parts = []
    view, place = memoryview(content), 8
    while place + 12 <= len(content):
        length, kind = int.from_bytes(view[place : place + 4], "big"), content[place + 4 : place + 8]
        if place + 12 + length > len(content) or kind in (b"tRNS", b"PLTE"):
            return None
        if kind == b"IDAT":
            parts.append(view[place + 8 : place + 8 + length])
        if kind == b"IEND":
            return parts[0] if len(parts) == 1 else b"".join(parts)
        place += 12 + length
    return None
