"""Pages as scanners see them: printed in grey or brown on paper that has aged, with stains and the shadow of the spine, lying a little askew.

The same bytes on every machine with the same Pillow: glyphs come from its own font, and what turns a page are whole multiples of 1/1024, with
which the sums of its filters are exact.
"""

import functools
import io
from dataclasses import dataclass
from random import Random

from PIL import Image, ImageChops, ImageDraw
from PIL.Image import Image as PilImage

from assets.demo_sites.drawings import font_of
from assets.demo_sites.page_layout import Points

_SCALE = 1.12  # pixels to a point
_ROOM = 4  # pixels around a word, for what overhangs


class PaperSheet:
    """A page in pixels, grey; ink is dark. lines: what was printed on it."""

    def __init__(self, width: float = 432, height: float = 612) -> None:
        self.width, self.height = width, height
        self.image = Image.new("L", (round(width * _SCALE), round(height * _SCALE)), 255)
        self.lines: list[str] = []
        self._pen = ImageDraw.Draw(self.image)

    def measure(self, words: str, size: float) -> float:
        return sum(_word(word, round(size * _SCALE))[1] for word in words.split()) / _SCALE + (len(words.split(" ")) - 1) * size * 0.26

    def text(self, x: float, y: float, words: str, size: float, *, fill: float = 0) -> None:
        gaps = words.count(" ")
        space = size * 0.26 + ((fill - self.measure(words, size)) / gaps if fill and gaps else 0)
        for word in words.split(" "):
            mask, advance = _word(word, round(size * _SCALE))
            self.image.paste(24, (round(x * _SCALE) - _ROOM, round(y * _SCALE) - _ROOM - round(size * _SCALE)), mask)
            x += advance / _SCALE + space
        self.lines.append(words)

    def line(self, points: Points, width: float = 0.8) -> None:
        self._pen.line(self._placed(points), fill=40 if width >= 0.8 else 110, width=max(1, round(width * _SCALE)))

    def shape(self, points: Points, grey: float) -> None:
        self._pen.polygon(self._placed(points), fill=round(24 + 231 * grey))

    def _placed(self, points: Points) -> list[tuple[int, int]]:
        return [(round(x * _SCALE), round(y * _SCALE)) for x, y in points]


@dataclass(frozen=True)
class Ageing:
    """What time and the scanner have done to a book. tone: of the paper; None leaves the scan grey. skew: at most, in 1/1024 radian."""

    tone: tuple[int, int, int] | None = (238, 224, 192)
    stains: int = 2
    skew: int = 14
    quality: int = 55


def scanned(sheet: PaperSheet, ageing: Ageing, seed: str) -> tuple[bytes, tuple[int, int], str]:
    """The page as a JPEG, its size and mode."""
    image = aged(sheet, ageing, seed)
    target = io.BytesIO()
    image.save(target, "JPEG", quality=ageing.quality)
    return target.getvalue(), image.size, image.mode


def aged(sheet: PaperSheet, ageing: Ageing, seed: str) -> PilImage:
    random = Random(f"ageing {seed}")
    image = sheet.image
    width, height = image.size
    turn = random.randint(-ageing.skew, ageing.skew)
    if turn:
        matrix = (1, turn / 1024, -(height * turn // 2048), -turn / 1024, 1, width * turn // 2048)
        image = image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR, fillcolor=255)
    # Everything that darkens paper is drawn small and enlarged, which is how it gets its soft edges.
    small = Image.new("L", (width // 8, height // 8), 255)
    pen = ImageDraw.Draw(small)
    for _ in range(random.randint(0, ageing.stains)):
        radius, x, y = random.randrange(2, 9), random.randrange(width // 8), random.randrange(height // 8)
        pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=random.randrange(200, 240))
    is_left = random.random() < 0.5
    for column in range(6):
        at = column if is_left else width // 8 - 1 - column
        pen.line((at, 0, at, height // 8), fill=150 + 18 * column)
    image = ImageChops.multiply(ImageChops.multiply(image, small.resize(image.size, Image.Resampling.BICUBIC)), _grain(image.size))
    if ageing.tone is None:
        return image
    # Ink stays dark brown; paper takes the tone.
    return Image.merge("RGB", [image.point([18 + (most - 18) * grey // 255 for grey in range(256)]) for most in ageing.tone])


@functools.lru_cache(maxsize=4)
def _grain(size: tuple[int, int]) -> PilImage:
    small = (size[0] // 3, size[1] // 3)
    noise = Image.frombytes("L", small, Random("grain").randbytes(small[0] * small[1]))
    return noise.point([238 + grey // 15 for grey in range(256)]).resize(size, Image.Resampling.BILINEAR)


@functools.lru_cache(maxsize=8192)
def _word(word: str, size: int) -> tuple[PilImage, int]:
    """A mask of the word, `_ROOM` wider than it on every side with its baseline `size` below that, and how far the next one is."""
    font = font_of(size)
    advance = round(font.getlength(word))
    mask = Image.new("L", (advance + 2 * _ROOM, round(size * 1.35) + 2 * _ROOM), 0)
    ImageDraw.Draw(mask).text((_ROOM, _ROOM + size), word, font=font, fill=255, anchor="ls")
    return mask, advance
