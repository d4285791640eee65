"""Pictures of molecules and of requested against obtained properties: the same input gives the same bytes."""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy
from rdkit import Chem
from rdkit.Chem import Mol, rdDepictor
from rdkit.Chem.Draw import MolsToGridImage, rdMolDraw2D

from training.metrics.intervals import Rate
from training.reports.pictures import draw_panels, draw_sentence, save_line_drawing

_CELL_PX = (190, 150)
_COLUMNS = 6
_LONGEST_BOND_PX = 24
_MOST_POINTS = 2_000


def draw_molecules(molecules: Sequence[Mol], path: Path) -> None:
    """A PNG grid of the molecules, six in a row; a picture that says so when there is none.

    A molecule that RDKit cannot lay out leaves its place empty.
    """
    if not molecules:
        return draw_sentence("no valid molecule to draw", path)
    return draw_grid(molecules, path)


def draw_pairs(pairs: Sequence[tuple[Mol, Mol, str]], path: Path, *, nothing: str) -> None:
    """A PNG of molecules beside what they are like, three pairs in a row, the words of a pair below its first. A picture of `nothing` without any."""
    if not pairs:
        return draw_sentence(nothing, path)
    return draw_grid([one for pair in pairs for one in pair[:2]], path, legends=[legend for *_, words in pairs for legend in (words, "training")])


def draw_strip(molecules: Sequence[Mol | None], captions: Sequence[str], path: Path) -> None:
    """A PNG of the molecules in one row, each above its caption; None leaves its place empty."""
    # RDKit writes no caption below what has no atom, so an empty place holds one that is not seen.
    blank = Chem.MolFromSmiles("*")
    blank.GetAtomWithIdx(0).SetProp("_displayLabel", " ")
    return draw_grid([blank if one is None else one for one in molecules], path, legends=captions, columns=len(molecules))


def draw_novelty(curves: Mapping[str, Mapping[int, Rate]], path: Path) -> None:
    """A PNG of two charts over the number of samples. curves: by title of a group, new molecules of the different ones by that number.

    The first chart shows the rate with its 95 % interval, the second how many new molecules a sample gave.
    """
    # A group without one valid molecule has no rate, and no place on an axis of logarithms.
    known = {title: curve for title, curve in curves.items() if any(rate.trials for rate in curve.values())}
    charts = {"new, of the different molecules": _draw_rates, "new molecules for each sample": _draw_yields} if known else {}
    draw_panels({title: partial(draw, curves=known) for title, draw in charts.items()}, path, nothing="no valid molecule was sampled")


def draw_requested_and_obtained(panels: Mapping[str, tuple[numpy.ndarray, numpy.ndarray]], path: Path) -> None:
    """A PNG of scatter plots: obtained over requested with the diagonal, one panel a property, at most 2,000 points each.

    panels: by title (requested [N], obtained [N]); pairs with a NaN are not drawn. A picture that says so when there is no panel.
    """
    charts = {title: partial(_draw_panel, requested=requested, obtained=obtained) for title, (requested, obtained) in panels.items()}
    draw_panels(charts, path, nothing="no property was requested")


def draw_grid(molecules: Sequence[Mol], path: Path, legends: Sequence[str] | None = None, *, columns: int = _COLUMNS) -> None:
    """A PNG of at least one molecule, row by row; one without atoms leaves its place empty. legends: what stands below each."""
    drawn = [_laid_out(molecule) for molecule in molecules]
    options = rdMolDraw2D.MolDrawOptions()
    # Each at its own scale, or one long chain makes all others too small to read.
    options.drawMolsSameScale = False
    options.fixedBondLength = _LONGEST_BOND_PX
    grid = MolsToGridImage(
        drawn, molsPerRow=min(columns, len(drawn)), subImgSize=_CELL_PX, useSVG=False, returnPNG=False, drawOptions=options, legends=legends
    )
    return save_line_drawing(grid, path)


def _laid_out(molecule: Mol) -> Mol:
    copy = Mol(molecule)
    try:
        rdDepictor.Compute2DCoords(copy)
        return rdMolDraw2D.PrepareMolForDrawing(copy)
    except (ValueError, RuntimeError):
        return Mol()


def _draw_panel(axes: Any, *, requested: numpy.ndarray, obtained: numpy.ndarray) -> None:
    is_pair = numpy.isfinite(requested) & numpy.isfinite(obtained)
    asked, got = requested[is_pair][:_MOST_POINTS], obtained[is_pair][:_MOST_POINTS]
    axes.set_xlabel("requested", fontsize=7)
    axes.set_ylabel("obtained", fontsize=7)
    if not len(asked):
        axes.text(0.5, 0.5, "no valid molecule", ha="center", va="center", fontsize=7, transform=axes.transAxes)
        return
    axes.scatter(asked, got, s=5, alpha=0.5, linewidths=0)
    ends = [min(asked.min(), got.min()), max(asked.max(), got.max())]
    axes.plot(ends, ends, color="black", linewidth=0.7)


def _draw_rates(axes: Any, *, curves: Mapping[str, Mapping[int, Rate]]) -> None:
    for title, curve in curves.items():
        known = {number: rate for number, rate in curve.items() if rate.trials}
        (line,) = axes.plot(list(known), [rate.value for rate in known.values()], linewidth=1, label=title)
        ends = [[getattr(rate, end) for rate in known.values()] for end in ("low", "high")]
        axes.fill_between(list(known), *ends, color=line.get_color(), alpha=0.15, linewidth=0)
    _label_samples(axes)


def _draw_yields(axes: Any, *, curves: Mapping[str, Mapping[int, Rate]]) -> None:
    for title, curve in curves.items():
        axes.plot(list(curve), [rate.successes / number for number, rate in curve.items()], linewidth=1, label=title)
    _label_samples(axes)


def _label_samples(axes: Any) -> None:
    axes.set_xscale("log")
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("samples", fontsize=7)
    axes.legend(fontsize=5, loc="lower left")
