"""How a page of an imaginary book is laid out: title pages, chapters with initials, running text, columns, engravings and plates.

Laid out once for two kinds of sheet: scans.py draws it in pixels as if it had been printed and scanned, pdf_writer.py in the operators of PDF.
Lengths are points (1/72 inch), y runs downwards.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Protocol

from assets.demo_sites.writing import write_paper

Points = Sequence[tuple[float, float]]


class Sheet(Protocol):
    """Something to print on."""

    width: float
    height: float

    def measure(self, words: str, size: float) -> float: ...

    def text(self, x: float, y: float, words: str, size: float, *, fill: float = 0) -> None:
        """One line with its left end and baseline at (x, y). fill: the width that it is spread to."""

    def line(self, points: Points, width: float = 0.8) -> None: ...

    def shape(self, points: Points, grey: float) -> None:
        """A filled polygon; grey: 0 is ink, 1 is paper."""


@dataclass(frozen=True)
class Leaf:
    """What stands on one page. seed: of everything that is chosen for it. number: as printed on it."""

    kind: str
    book: str
    seed: str
    number: int
    author: str
    year: int


def print_leaf(leaf: Leaf, sheet: Sheet) -> None:
    """Put it on the sheet."""
    random = Random(f"leaf {leaf.seed}")
    page = _Page(leaf, sheet, random, sheet.width * 0.13, sheet.width * 0.87, sheet.height * 0.115, sheet.height * 0.9)
    if leaf.kind not in {"title", "blank", "plate"}:
        _running_head(page)
    if leaf.kind != "blank":
        _PRINTERS[leaf.kind](page)


@dataclass
class _Page:
    """A sheet with its margins. top moves down as the page fills."""

    leaf: Leaf
    sheet: Sheet
    random: Random
    left: float
    right: float
    top: float
    bottom: float

    @property
    def middle(self) -> float:
        return (self.left + self.right) / 2

    def centred(self, words: str, size: float, *, gap: float = 1.4) -> None:
        """One or more lines across the middle."""
        for line in _broken(self.sheet, words.split(), size, [0.92 * (self.right - self.left)]):
            self.top += size * gap
            self.sheet.text(self.middle - self.sheet.measure(line, size) / 2, self.top, line, size)

    def rule(self, share: float) -> None:
        """A line across `share` of the width."""
        half = (self.right - self.left) * share / 2
        self.top += 4
        self.sheet.line([(self.middle - half, self.top), (self.middle + half, self.top)], 1.0)

    def fill(self, left: float, right: float, bottom: float, *, size: float = 9.5, initial: float = 0) -> None:
        """Running text from the top down to `bottom`. initial: side of the square that the first lines leave free."""
        leading = size * 1.32
        first = Random(f"prose {self.leaf.seed} {left:.0f} {self.top:.0f}").randrange(1, 1_000_000)
        for number in itertools.count(first):
            paragraph = write_paper(1894, number).abstract.split()
            taken = [initial + 4] * math.ceil((initial + 2) / leading) if initial else [size * 1.5]
            lines = list(_broken(self.sheet, paragraph, size, [*(right - left - free for free in taken), right - left]))
            for place, line in enumerate(lines):
                self.top += leading
                if self.top > bottom:
                    return
                free = taken[place] if place < len(taken) else 0
                self.sheet.text(left + free, self.top, line, size, fill=0 if place == len(lines) - 1 else right - left - free)
            initial = 0

    @property
    def subject(self) -> str:
        return write_paper(1894, Random(f"subject {self.leaf.seed}").randrange(1, 1_000_000)).title


def _broken(sheet: Sheet, words: Sequence[str], size: float, widths: Sequence[float]) -> Iterator[str]:
    """Words in lines; the last of `widths` holds for all further lines."""
    space, used, number = sheet.measure(" ", size), 0.0, 0
    line: list[str] = []
    for word in words:
        wide = sheet.measure(word, size)
        if line and used + space + wide > widths[min(number, len(widths) - 1)]:
            yield " ".join(line)
            line, used, number = [], 0.0, number + 1
        used += wide + (space if line else 0)
        line.append(word)
    yield " ".join(line)


def _running_head(page: _Page) -> None:
    y, number = page.top - 14, str(page.leaf.number)
    is_left = page.leaf.number % 2 == 0
    words = page.leaf.book.upper() if is_left else write_paper(1894, page.leaf.number // 12).subject.upper()
    page.sheet.text(page.middle - page.sheet.measure(words, 7) / 2, y, words, 7)
    page.sheet.text(page.left if is_left else page.right - page.sheet.measure(number, 8), y, number, 8)
    page.sheet.line([(page.left, y + 5), (page.right, y + 5)], 0.5)


def _title(page: _Page) -> None:
    page.top += page.sheet.height * 0.08
    page.centred(page.leaf.book.upper(), 25, gap=1.3)
    page.top += 14
    page.rule(0.3)
    page.centred("being an account of things that have not happened,", 9)
    page.centred("with plates", 9)
    page.top += 30
    page.centred("by", 9)
    page.centred(page.leaf.author.upper() or "ANONYMOUS", 14)
    page.top += 26
    side = page.sheet.width * 0.11
    _flask(page, (page.middle - side, page.top, 2 * side, 2.2 * side))
    page.top = page.bottom - 34
    page.rule(0.2)
    page.centred("At the Sign of the Absent Publisher", 10)
    page.centred(str(page.leaf.year), 10)


def _chapter(page: _Page) -> None:
    page.top += page.sheet.height * 0.1
    page.centred(f"CHAPTER {page.random.choice(('I', 'II', 'III', 'IV', 'V', 'VI', 'VII', 'VIII', 'IX', 'X'))}", 10)
    page.centred(page.subject, 14)
    page.top += 10
    page.rule(0.25)
    page.top += 8
    side, x, y = 40.0, page.left, page.top + 4
    # An initial in a square of lines, as woodcuts had them.
    for step in range(9):
        page.sheet.line([(x + step * side / 8, y), (x + side - step * side / 8, y + side)], 0.7)
    page.sheet.shape(_box(x + 7, y + 7, x + side - 7, y + side - 7), 1)
    letter = page.random.choice("ABDFHIMNOSTW")
    page.sheet.text(x + (side - page.sheet.measure(letter, 26)) / 2, y + side / 2 + 9, letter, 26)
    page.fill(page.left, page.right, page.bottom, initial=side)


def _figure(page: _Page) -> None:
    middle = page.top + (page.bottom - page.top) * page.random.uniform(0.12, 0.4)
    page.fill(page.left, page.right, middle)
    wide, tall = (page.right - page.left) * page.random.uniform(0.55, 0.95), page.sheet.height * 0.3
    page.top = middle + 10
    page.random.choice((_flask, _plot, _hills))(page, (page.middle - wide / 2, page.top, wide, tall))
    page.top += tall + 4
    page.centred(f"Fig. {page.random.randrange(1, 80)}. {page.subject}", 7.5)
    page.top += 6
    page.fill(page.left, page.right, page.bottom)


def _columns(page: _Page) -> None:
    if page.random.random() < 0.3:
        page.centred(page.subject, 15)
        page.top += 8
    top, gap = page.top, page.sheet.width * 0.02
    figure_at = page.random.randrange(3)
    for place, (left, right) in enumerate(((page.left, page.middle - gap), (page.middle + gap, page.right))):
        page.top = top
        if place == figure_at:
            page.fill(left, right, top + (page.bottom - top) * 0.3, size=7.5)
            page.random.choice((_plot, _plot, _flask))(page, (left, page.top, right - left, page.sheet.height * 0.17))
            page.top += page.sheet.height * 0.17 + 6
        page.fill(left, right, page.bottom, size=7.5)


def _plate(page: _Page) -> None:
    page.sheet.line(_box(page.left - 8, page.top - 8, page.right + 8, page.bottom - 22), 1.6)
    page.sheet.line(_box(page.left - 4, page.top - 4, page.right + 4, page.bottom - 26), 0.5)
    page.random.choice((_hills, _hills, _flask))(page, (page.left, page.top, page.right - page.left, page.bottom - page.top - 30))
    page.top = page.bottom - 20
    page.centred(f"PLATE {page.random.choice(('I', 'II', 'III', 'IV', 'V', 'VI'))}. {page.subject}"[:60], 8)


_PRINTERS: dict[str, Callable[[_Page], None]] = {
    "title": _title, "chapter": _chapter, "text": lambda page: page.fill(page.left, page.right, page.bottom), "figure": _figure,
    "columns": _columns, "plate": _plate,
}  # fmt: skip

# Figures are drawn into a box (left, top, width, height).
_Box = tuple[float, float, float, float]


def _flask(page: _Page, box: _Box) -> None:
    left, top, wide, tall = box
    middle, neck, radius = left + wide / 2, min(wide, tall) * 0.09, min(wide * 0.5, tall * 0.34)
    centre = top + tall - radius
    start = math.asin(neck / radius)
    round_ = [(middle + radius * math.sin(angle), centre - radius * math.cos(angle)) for angle in _steps(start, 2 * math.pi - start, 40)]
    page.sheet.line([(middle + neck, top), *round_, (middle - neck, top), (middle + neck, top)], 1.3)
    level = page.random.uniform(-0.3, 0.3)
    # Engravers shade with parallel lines, closer together on the dark side.
    for step in _steps(level, 0.93, 12):
        half = radius * math.sqrt(1 - step * step)
        page.sheet.line([(middle - half, centre + radius * step), (middle + half * 0.8, centre + radius * step)], 0.6)
    for step in _steps(0.2, 0.85, 9):
        half = radius * math.sqrt(1 - step * step) * 0.8
        page.sheet.line([(middle + radius * step, centre - half * 0.4), (middle + radius * step, centre + half)], 0.6)


def _plot(page: _Page, box: _Box) -> None:
    left, top, wide, tall = box
    page.sheet.line([(left, top), (left, top + tall - 12), (left + wide, top + tall - 12)], 1.0)
    for _ in range(2):
        middle, height, breadth = page.random.uniform(0.2, 0.8), page.random.uniform(0.4, 0.9), page.random.uniform(0.03, 0.2)
        curve = [(left + wide * x, top + (tall - 12) * (1 - height / (1 + ((x - middle) / breadth) ** 2))) for x in _steps(0, 1, 50)]
        page.sheet.line(curve, page.random.choice((0.7, 1.4)))
    for place in range(6):
        page.sheet.line([(left + wide * place / 6, top + tall - 12), (left + wide * place / 6, top + tall - 8)], 0.6)
    page.sheet.text(left + wide * 0.35, top + tall - 1, "time / Tuesdays", 6.5)


def _hills(page: _Page, box: _Box) -> None:
    left, top, wide, tall = box
    page.sheet.shape(_box(left, top, left + wide, top + tall), 0.86)
    sun = (left + wide * page.random.uniform(0.2, 0.8), top + tall * 0.2)
    page.sheet.shape([(sun[0] + 22 * math.cos(turn), sun[1] + 22 * math.sin(turn)) for turn in _steps(0, 2 * math.pi, 24)], 0.97)
    for layer in range(5):
        often, height, shift = page.random.uniform(1, 4), page.random.uniform(0.03, 0.09), page.random.uniform(0, 6)
        base = top + tall * (0.38 + 0.13 * layer)
        crest = [(left + wide * x, base + tall * height * math.sin(2 * math.pi * often * x + shift)) for x in _steps(0, 1, 40)]
        page.sheet.shape([*crest, (left + wide, top + tall), (left, top + tall)], 0.74 - 0.14 * layer)
        page.sheet.line(crest, 0.7)


def _box(left: float, top: float, right: float, bottom: float) -> Points:
    return [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]


def _steps(start: float, end: float, count: int) -> list[float]:
    return [start + (end - start) * place / (count - 1) for place in range(count)]
