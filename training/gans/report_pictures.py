"""The pictures of a report on images: fakes beside reals, fakes above what they are nearest to, and how numbers move along a sweep.

The same input gives the same bytes.
"""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy
from PIL import Image

from training.gans.grids import tile
from training.reports.pictures import draw_panels

# Sides of the small images in pixels: larger ones are made smaller, much smaller ones (32 px) are shown in whole multiples.
_LARGEST_CELL_PX = 128
_SMALLEST_CELL_PX = 64
_GAP_PX = 4
# Of the gaps: between images that are white themselves, white ones would not be seen.
_GAP_GREY = 225

# By name of a line: (its value at each place of the sweep, that of the floor); NaN where there is none.
Lines = Mapping[str, tuple[Sequence[float], float]]


def draw_rows(rows: Sequence[numpy.ndarray], path: Path) -> None:
    """A PNG with one row of images for each of `rows`, uint8 [N, C, H, W]; all of one size."""
    columns = max(len(row) for row in rows)
    # Strips hold as many columns as the longest row; what a shorter one lacks is white.
    _save([_strip(row, columns) for row in rows], path)


def draw_pairs(pairs: Sequence[tuple[numpy.ndarray, numpy.ndarray]], path: Path) -> None:
    """A PNG of pairs of rows, each uint8 [N, C, H, W]: the first above the second, a wider gap before the next pair."""
    strips = []
    for upper, lower in pairs:
        drawn = [_strip(side, max(len(upper), 1)) for side in (upper, lower)]
        strips += [*drawn, numpy.full((3 * _GAP_PX, drawn[0].shape[1], 3), 255, dtype=numpy.uint8)]
    width = max(strip.shape[1] for strip in strips)
    _save([numpy.pad(strip, ((0, 0), (0, width - strip.shape[1]), (0, 0)), constant_values=255) for strip in strips], path)


def draw_curves(places: Sequence[float], letter: str, curves: Mapping[str, Lines], path: Path) -> None:
    """A PNG of panels of lines over `places`, each with its floor dashed. letter: of what the places are. curves: by panel."""
    panels = {title: partial(_draw_lines, places=places, letter=letter, lines=lines) for title, lines in curves.items()}
    draw_panels(panels, path, nothing="no number that has a floor")


def _draw_lines(axes: Any, *, places: Sequence[float], letter: str, lines: Lines) -> None:
    axes.set_xlabel(letter, fontsize=7)
    for index, (name, (values, floor)) in enumerate(lines.items()):
        axes.plot(places, values, marker="o", markersize=3, linewidth=1, color=f"C{index}", label=name)
        if math.isfinite(floor):
            axes.axhline(floor, linestyle="--", linewidth=0.8, color=f"C{index}", label=f"{name}, real images")
    axes.legend(fontsize=5)


def _strip(images: numpy.ndarray, columns: int) -> numpy.ndarray:
    """One row of images, each with a gap at the right and below: uint8 [H, W, 3]."""
    spaced = numpy.pad(_at_visible_size(images), ((0, 0), (0, 0), (0, _GAP_PX), (0, _GAP_PX)), constant_values=_GAP_GREY)
    return tile(spaced, columns)


def _at_visible_size(images: numpy.ndarray) -> numpy.ndarray:
    """Images at a side one can see, without inventing detail."""
    side = images.shape[2]
    if side < _SMALLEST_CELL_PX:
        factor = _SMALLEST_CELL_PX // side
        return images.repeat(factor, axis=2).repeat(factor, axis=3)
    if side <= _LARGEST_CELL_PX:
        return images
    small = [Image.fromarray(_for_pillow(image)).resize((_LARGEST_CELL_PX, _LARGEST_CELL_PX), Image.Resampling.LANCZOS) for image in images]
    stacked = numpy.stack([numpy.asarray(image) for image in small])
    return stacked[:, None] if stacked.ndim == 3 else stacked.transpose(0, 3, 1, 2)


def _for_pillow(image: numpy.ndarray) -> numpy.ndarray:
    return image[0] if len(image) == 1 else numpy.ascontiguousarray(image.transpose(1, 2, 0))


def _save(strips: Sequence[numpy.ndarray], path: Path) -> None:
    Image.fromarray(numpy.concatenate(strips)).save(path, format="PNG", optimize=True)
