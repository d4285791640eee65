"""Pictures of molecules and of requested against obtained properties: the same input gives the same bytes."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
from PIL import Image, ImageDraw
from rdkit.Chem import Mol, rdDepictor
from rdkit.Chem.Draw import MolsToGridImage, rdMolDraw2D

_CELL_PX = (190, 150)
_COLUMNS = 6
_LONGEST_BOND_PX = 24
# Palette colours are plenty for line drawings, and make the file a third as large.
_PALETTE_COLOURS = 48
_EMPTY_PX = (640, 80)
_PANEL_INCHES = 2.6
_PANEL_COLUMNS = 3
_MOST_POINTS = 2_000


def draw_molecules(molecules: Sequence[Mol], path: Path, *, nothing: str = "no valid molecule to draw") -> None:
    """A PNG grid of the molecules, six in a row; a picture of the sentence `nothing` when there is none.

    A molecule that RDKit cannot lay out leaves its place empty.
    """
    if not molecules:
        return _write_sentence(nothing, path)
    drawn = [_laid_out(molecule) for molecule in molecules]
    options = rdMolDraw2D.MolDrawOptions()
    # Each at its own scale, or one long chain makes all others too small to read.
    options.drawMolsSameScale = False
    options.fixedBondLength = _LONGEST_BOND_PX
    columns = min(_COLUMNS, len(drawn))
    grid = MolsToGridImage(drawn, molsPerRow=columns, subImgSize=_CELL_PX, useSVG=False, returnPNG=False, drawOptions=options)
    _write(grid, path)
    return None


def draw_requested_and_obtained(
    panels: Mapping[str, tuple[numpy.ndarray, numpy.ndarray]], path: Path, *, nothing: str = "no property was requested"
) -> None:
    """A PNG of scatter plots: obtained over requested with the diagonal, one panel a property, at most 2,000 points each.

    panels: by title (requested [N], obtained [N]); pairs with a NaN are not drawn. A picture of the sentence `nothing` when there is no panel.
    """
    if not panels:
        return _write_sentence(nothing, path)
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = min(_PANEL_COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    figure = Figure(figsize=(columns * _PANEL_INCHES, rows * _PANEL_INCHES), dpi=100, layout="constrained")
    canvas = FigureCanvasAgg(figure)
    for index, (title, (requested, obtained)) in enumerate(panels.items()):
        _draw_panel(figure.add_subplot(rows, columns, index + 1), title, requested, obtained)
    canvas.draw()
    _write(Image.fromarray(numpy.asarray(canvas.buffer_rgba())), path)
    return None


def _laid_out(molecule: Mol) -> Mol:
    copy = Mol(molecule)
    try:
        rdDepictor.Compute2DCoords(copy)
        return rdMolDraw2D.PrepareMolForDrawing(copy)
    except (ValueError, RuntimeError):
        return Mol()


def _draw_panel(axes: Any, title: str, requested: numpy.ndarray, obtained: numpy.ndarray) -> None:
    is_pair = numpy.isfinite(requested) & numpy.isfinite(obtained)
    asked, got = requested[is_pair][:_MOST_POINTS], obtained[is_pair][:_MOST_POINTS]
    # parse_math off: a property's name is foreign text, and a `$` in it would be read as a formula.
    axes.set_title(title, fontsize=8, parse_math=False)
    axes.set_xlabel("requested", fontsize=7)
    axes.set_ylabel("obtained", fontsize=7)
    axes.tick_params(labelsize=6)
    if not len(asked):
        axes.text(0.5, 0.5, "no valid molecule", ha="center", va="center", fontsize=7, transform=axes.transAxes)
        return
    axes.scatter(asked, got, s=5, alpha=0.5, linewidths=0)
    ends = [min(asked.min(), got.min()), max(asked.max(), got.max())]
    axes.plot(ends, ends, color="black", linewidth=0.7)


def _write_sentence(sentence: str, path: Path) -> None:
    image = Image.new("RGB", _EMPTY_PX, "white")
    ImageDraw.Draw(image).text((16, 32), sentence, fill="black")
    _write(image, path)


def _write(image: Image.Image, path: Path) -> None:
    image.convert("RGB").quantize(_PALETTE_COLOURS, dither=Image.Dither.NONE).save(path, format="PNG", optimize=True)
