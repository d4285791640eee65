"""Charts as PNG files whose bytes depend on nothing but what is drawn."""

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy
from PIL import Image, ImageDraw

_PANEL_INCHES = 2.6
_PANEL_COLUMNS = 3
_SENTENCE_PX = (640, 80)
# Palette colours are plenty for line drawings, and make the file a third as large.
_PALETTE_COLOURS = 48


def draw_panels(panels: Mapping[str, Callable[[Any], None]], path: Path, *, nothing: str) -> None:
    """A PNG of charts, three in a row: each drawn by a function of its matplotlib axes, below its title. A picture of `nothing` without any."""
    if not panels:
        return draw_sentence(nothing, path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(_PANEL_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(columns * _PANEL_INCHES, rows * _PANEL_INCHES), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for index, (title, draw) in enumerate(panels.items()):
        axes = figure.add_subplot(rows, columns, index + 1)
        # parse_math off: a title may be foreign text, and a `$` in it would be read as a formula.
        axes.set_title(title, fontsize=8, parse_math=False)
        axes.tick_params(labelsize=6)
        draw(axes)
    canvas.draw()
    return save_line_drawing(Image.fromarray(numpy.asarray(canvas.buffer_rgba())), path)


def draw_sentence(sentence: str, path: Path) -> None:
    """A PNG that says in words why there is nothing to see."""
    image = Image.new("RGB", _SENTENCE_PX, "white")
    ImageDraw.Draw(image).text((16, 32), sentence, fill="black")
    save_line_drawing(image, path)


def save_line_drawing(image: Image.Image, path: Path) -> None:
    """The image with few colours."""
    image.convert("RGB").quantize(_PALETTE_COLOURS, dither=Image.Dither.NONE).save(path, format="PNG", optimize=True)
