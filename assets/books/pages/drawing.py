"""What pages of all kinds of files have in common: a drawn page, a page set aside, and how pixels become the picture that is kept."""

from dataclasses import dataclass

import numpy
from PIL import Image

from assets.books.pages.config import BookPagesConfig
from formats.png import encode_png

# A decoder that makes a scan smaller on the way leaves it this much larger than wanted, and the rest to a filter, which does it better.
DECODED_LARGER = 1.5


def scaled_jpeg(image: Image.Image, size: tuple[int, int], *, grey: bool = False) -> Image.Image:
    """A JPEG that was opened and not loaded yet, decoded at a half, quarter or eighth of its sides where that is enough, at this size."""
    full = image.size
    image.draft("L" if grey else image.mode, (round(size[0] * DECODED_LARGER), round(size[1] * DECODED_LARGER)))
    # The decoder rounds sides up: the last column and row may stand for less than a whole one.
    part = next(part for part in (1, 2, 4, 8) if -(-full[0] // part) == image.width)
    return image.resize(size, Image.Resampling.HAMMING, box=(0, 0, full[0] / part, full[1] / part))


class SetAside(Exception):
    """A page, or a whole file, that gives no picture. reason: one of a few fixed words, for counting; words: what was found and expected."""

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(f"{reason}: {words}")
        self.reason, self.words = reason, words


@dataclass(frozen=True)
class Drawn:
    """A page.

    image: L, RGB, or RGBX (whose fourth byte says nothing), its longer side `page_px`. engine: who drew it.
    text: what the file says is written on it; empty for nothing.
    """

    image: Image.Image
    engine: str
    text: str = ""


def fitted_size(width: float, height: float, config: BookPagesConfig) -> tuple[int, int]:
    """(width, height) in pixels with `page_px` as the longer side, the aspect kept. Raises SetAside for a strip."""
    scale = config.page_px / max(width, height)
    size = round(width * scale), round(height * scale)
    if min(size) < config.min_side_px:
        raise SetAside("too_small", f"{size[0]}×{size[1]} pixels with the longer side at page_px, the shorter must have {config.min_side_px}")
    return size


def check_pixels(width: int, height: int, config: BookPagesConfig) -> None:
    """Raises SetAside for a picture that is too large to be decoded."""
    if width * height > config.max_scan_pixels:
        found = f"a picture of {width}×{height} is {width * height:,} pixels"
        raise SetAside("too_many_pixels", f"{found}, at most {config.max_scan_pixels:,} are allowed")


def finish(image: Image.Image, config: BookPagesConfig) -> bytes:
    """PNG bytes of a drawn page in the colours asked for. Raises SetAside for a blank one."""
    grey = image if image.mode == "L" else image.convert("L")
    if config.drop_blank:
        counts = grey.histogram()
        ink = sum(counts[: config.blank_level]) / (grey.width * grey.height)
        if ink <= config.blank_ink:
            raise SetAside("blank", f"{ink:.4%} of the pixels are darker than {config.blank_level}, more than {config.blank_ink:.4%} must be")
    if config.colours == "grey" or (config.colours == "as_is" and _is_grey(image)):
        return encode_png(numpy.asarray(grey))
    return encode_png(numpy.asarray(image if image.mode == "RGB" else image.convert("RGB")))


def _is_grey(image: Image.Image) -> bool:
    """Whether no pixel has a colour."""
    pixels = numpy.asarray(image)
    return pixels.ndim == 2 or bool((pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all())
