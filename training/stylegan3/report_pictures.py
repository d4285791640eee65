"""The pictures of a report on images: fakes beside reals, fakes above what they are nearest to, and how numbers move with truncation.

The same input gives the same bytes.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
from PIL import Image

from training.gans.grids import tile

# Sides of the small images in pixels: larger ones are made smaller, much smaller ones (32 px) are shown in whole multiples.
_LARGEST_CELL_PX = 128
_SMALLEST_CELL_PX = 64
_GAP_PX = 4
# Of the gaps: between images that are white themselves, white ones would not be seen.
_GAP_GREY = 225
_PANEL_INCHES = 2.6
_PANEL_COLUMNS = 3
# Palette colours are plenty for line drawings, and make the file a third as large.
_PALETTE_COLOURS = 48


def draw_rows(rows: Sequence[numpy.ndarray], path: Path) -> None:
    """A PNG with one row of images for each of `rows`, uint8 [N, C, H, W]; all of one size."""
    columns = max(len(row) for row in rows)
    strips = [tile(_spaced(_shown(row)), columns) for row in rows]
    # Strips hold as many columns as the longest row; what a shorter one lacks is white.
    _save(Image.fromarray(numpy.concatenate(strips)), path)


def draw_pairs(pairs: Sequence[tuple[numpy.ndarray, numpy.ndarray]], path: Path) -> None:
    """A PNG of pairs of rows, each uint8 [N, C, H, W]: the first above the second, a wider gap before the next pair."""
    strips = []
    for upper, lower in pairs:
        drawn = [tile(_spaced(_shown(side)), max(len(upper), 1)) for side in (upper, lower)]
        strips += [*drawn, numpy.full((3 * _GAP_PX, drawn[0].shape[1], 3), 255, dtype=numpy.uint8)]
    width = max(strip.shape[1] for strip in strips)
    padded = [numpy.pad(strip, ((0, 0), (0, width - strip.shape[1]), (0, 0)), constant_values=255) for strip in strips]
    _save(Image.fromarray(numpy.concatenate(padded)), path)


def draw_sweep(truncations: Sequence[float], curves: Mapping[str, Mapping[str, tuple[Sequence[float], float]]], path: Path) -> None:
    """A PNG of panels over truncation psi; a blank one without any panel.

    curves: by panel and line, (value at each psi, value of the floor); NaN where there is none.
    """
    if not curves:
        return _save(Image.new("L", (_SMALLEST_CELL_PX, _SMALLEST_CELL_PX), "white"), path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(_PANEL_COLUMNS, len(curves))
    rows = math.ceil(len(curves) / columns)
    figure = Figure(figsize=(columns * _PANEL_INCHES, rows * _PANEL_INCHES), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for index, (title, lines) in enumerate(curves.items()):
        _draw_panel(figure.add_subplot(rows, columns, index + 1), title, truncations, lines)
    canvas.draw()
    image = Image.fromarray(numpy.asarray(canvas.buffer_rgba())).convert("RGB")
    _save(image.quantize(_PALETTE_COLOURS, dither=Image.Dither.NONE), path)
    return None


def _draw_panel(axes: Any, title: str, truncations: Sequence[float], lines: Mapping[str, tuple[Sequence[float], float]]) -> None:
    axes.set_title(title, fontsize=8, parse_math=False)
    axes.set_xlabel("ψ", fontsize=7)
    axes.tick_params(labelsize=6)
    for index, (name, (values, floor)) in enumerate(lines.items()):
        axes.plot(truncations, values, marker="o", markersize=3, linewidth=1, color=f"C{index}", label=name)
        if math.isfinite(floor):
            axes.axhline(floor, linestyle="--", linewidth=0.8, color=f"C{index}", label=f"{name}, real images")
    axes.legend(fontsize=5)


def _shown(images: numpy.ndarray) -> numpy.ndarray:
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


def _spaced(images: numpy.ndarray) -> numpy.ndarray:
    """With a gap at the right and below."""
    return numpy.pad(images, ((0, 0), (0, 0), (0, _GAP_PX), (0, _GAP_PX)), constant_values=_GAP_GREY)


def _save(image: Image.Image, path: Path) -> None:
    image.save(path, format="PNG", optimize=True)
