"""Pages of a zip of scans, one a member, as the Internet Archive's "Single Page Processed JP2 ZIP".

Only the bytes of members are read, and nothing is unpacked: a name that leads elsewhere, or a link, is a name.
"""

import io
import re
import stat
import zipfile
import zlib
from pathlib import Path
from typing import Self

import numpy
from PIL import Image

from assets.books.pages.config import BookPagesConfig
from assets.books.pages.drawing import DECODED_LARGER, Drawn, SetAside, check_pixels, fitted_size, scaled_jpeg

_SCANS = re.compile(r"\.(?:jp2|jpx|j2k|j2c|jpe?g|png)$", re.IGNORECASE)
_FORMATS = ["JPEG2000", "JPEG", "PNG"]
_ENCRYPTED = 0x1
_DEEPEST = 5
_MOST_BYTES = 64 * 2**20  # of a scan, unpacked
_WIDE = ("I;16", "I;16B", "I;16L", "I;16N")


class Jp2Pages:
    """The scans of the zip at `path`, by name, numbers in it as numbers; a context manager. Raises SetAside for what is no zip, or has no scan."""

    def __init__(self, path: Path, config: BookPagesConfig) -> None:
        self._config = config
        try:
            self._zip = zipfile.ZipFile(path)
        except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
            raise SetAside("broken", f"it cannot be opened as a zip: {error}") from None
        found = [info for info in self._zip.infolist() if not info.is_dir() and _SCANS.search(info.filename)]
        self._members = sorted(found, key=lambda info: (_by_number(info.filename), info.filename))
        if not self._members:
            raise SetAside("no_pages", f"found {len(self._zip.infolist()):,} members, none of which is a scan (.jp2, .jpg, .png)")

    def __len__(self) -> int:
        return len(self._members)

    def draw(self, number: int) -> Drawn:
        """The page of that number, from 1. Raises SetAside."""
        content = self._read(self._members[number - 1])
        try:
            return Drawn(self._scaled(content), "jp2")
        except (SetAside, MemoryError):
            raise
        except Exception as error:  # noqa: BLE001 - Pillow raises nearly anything on a damaged file
            raise SetAside("broken", f"it cannot be decoded: {(str(error) or type(error).__name__).splitlines()[0][:200]}") from None

    def _read(self, info: zipfile.ZipInfo) -> bytes:
        if stat.S_ISLNK(info.external_attr >> 16):
            raise SetAside("not_an_image", "found a link, expected a scan")
        if info.flag_bits & _ENCRYPTED:
            raise SetAside("encrypted", "the member needs a password")
        try:
            with self._zip.open(info) as stream:
                content = stream.read(_MOST_BYTES + 1)
        except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, RuntimeError, OSError, ValueError) as error:
            raise SetAside("broken", f"the member cannot be unpacked: {str(error)[:200]}") from None
        if len(content) > _MOST_BYTES:
            raise SetAside("too_many_bytes", f"more than {_MOST_BYTES:,} bytes unpacked")
        return content

    def _scaled(self, content: bytes) -> Image.Image:
        with self._open(content) as image:
            check_pixels(*image.size, self._config)
            if min(image.size) < self._config.min_side_px:
                words = f"{image.width}×{image.height} pixels, the shorter side must have at least {self._config.min_side_px}"
                raise SetAside("too_small", words)
            full, size = image.size, fitted_size(*image.size, self._config)
            ratio = int(max(image.size) / (self._config.page_px * DECODED_LARGER))
            halvings = min(_DEEPEST, max(0, ratio.bit_length() - 1)) if image.format == "JPEG2000" else 0
        # A wavelet holds the picture at every half of its size, down to a depth that only decoding finds out.
        for depth in range(halvings, -1, -1):
            with self._open(content) as image:
                try:
                    if image.format == "JPEG" and image.mode in ("L", "RGB"):
                        return scaled_jpeg(image, size)
                    if depth:
                        image.reduce = depth  # type: ignore[method-assign,assignment]  # of JPEG 2000 alone it is a number
                    image.load()
                except OSError:
                    if depth:
                        continue
                    raise
                return _resized(_plain(image), size, full, depth)
        raise AssertionError("the full size was tried")

    @staticmethod
    def _open(content: bytes) -> Image.Image:
        try:
            return Image.open(io.BytesIO(content), formats=_FORMATS)
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise SetAside("too_many_pixels", str(error)[:200]) from None
        except Image.UnidentifiedImageError:
            raise SetAside("not_an_image", f"begins with {content[:12]!r}, expected JPEG 2000, JPEG or PNG") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()


def _resized(image: Image.Image, size: tuple[int, int], full: tuple[int, int], depth: int) -> Image.Image:
    """A scan of `full` pixels, decoded at the 2^depth-th part of its sides, at this size."""
    if not depth:
        return image.resize(size, Image.Resampling.HAMMING)
    # A wavelet's small picture has the pixels 0, 2^depth, 2 · 2^depth, … and not the middles of squares, as filters believe: it lies up to half a
    # pixel too far to the left and top. One more column and row on the other side let the filter look where the picture is.
    larger = Image.new(image.mode, (image.width + 1, image.height + 1))
    for place in ((1, 1), (0, 1), (1, 0), (0, 0)):
        larger.paste(image, place)
    shift = 0.5 - 0.5 / 2**depth
    box = (shift, shift, full[0] / 2**depth + shift, full[1] / 2**depth + shift)
    return larger.resize(size, Image.Resampling.HAMMING, box=box)


def _by_number(name: str) -> list[tuple[int, str]]:
    # A number is compared by its length, then by its digits: some names are longer than any number should be.
    parts = [part.lstrip("0") if part.isdecimal() else part for part in re.split(r"(\d+)", name)]
    return [(len(part), part) if place % 2 else (-1, part) for place, part in enumerate(parts)]


def _plain(image: Image.Image) -> Image.Image:
    """As L or RGB: 16 bits scaled to 8, transparency on white."""
    if image.mode in _WIDE or image.mode == "I":
        levels = numpy.asarray(image).astype(numpy.uint32)
        return Image.fromarray(((levels * 255 + 0x7FFF) // 0xFFFF).astype(numpy.uint8))
    if image.has_transparency_data:
        coloured = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(coloured, mask=coloured)
        return white.convert("L") if image.mode in ("LA", "La") else white
    return image if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB")
