"""Pictures of the comparison: what each entry made of the same requests, its numbers as points with intervals, requested against obtained values."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy
from rdkit import Chem
from rdkit.Chem import Mol

from training.metrics.intervals import Estimate, Rate
from training.polymers.bakeoff.compare import Judged
from training.polymers.bakeoff.config import BakeoffConfig
from training.polymers.bakeoff.table import Decodings, group_of, title_of
from training.polymers.drawings import draw_grid, draw_requested_and_obtained
from training.reports.pictures import draw_panels, draw_sentence
from training.reports.report import Picture

_BARS = ("validity", "novelty", "quality", "mean_r2", "success")


def bakeoff_pictures(decodings: Decodings, config: BakeoffConfig) -> list[Picture]:
    """Answers and values are of the first decoding at which something was asked for."""
    asked = {name: judged for name, judged in decodings.items() if any(one.controls for one in judged.values())}
    first = next(iter((asked or decodings).values()))
    panels = {
        f"{entry}: {name}, T = {one.scores.group.temperature:g}": (one.scores.group.requested[name], values)
        for entry, one in first.items()
        if entry in config.models
        for name, values in one.scores.obtained.items()
    }
    return [
        Picture(
            "The same requests, and what was made of them",
            "answers",
            "answers.png",
            lambda path: _draw_answers(first, config.drawn_requests, path),
            words=f"{title_of(first)}. A row a request, a column an entry.",
        ),
        Picture("All beside each other", "numbers", "numbers.png", lambda path: _draw_numbers(decodings, path), words="With 95 % intervals."),
        Picture("Requested and obtained values", "requested", "requested_vs_obtained.png", lambda path: draw_requested_and_obtained(panels, path)),
    ]


def _draw_answers(judged: Mapping[str, Judged], requests: int, path: Path) -> None:
    group = group_of(judged)
    rows = range(min(requests, len(group.smiles)))
    if not rows:
        return draw_sentence("no request to draw", path)
    molecules, legends = [], []
    for row in rows:
        wanted = [f"{name} {values[row]:.4g}" for name, values in group.requested.items() if numpy.isfinite(values[row])]
        molecules += [_word("requested"), *(_answer(one, row) for one in judged.values())]
        legends += [", ".join(wanted), *judged]
    return draw_grid(molecules, path, legends, columns=1 + len(judged))


def _answer(one: Judged, row: int) -> Mol:
    smiles = one.scores.reading.canonical[row]
    return _word("not valid") if smiles is None else one.scores.reading.molecules[smiles]


def _word(text: str) -> Mol:
    """A drawing of a word: an atom that is labelled so. What has no atom gets no legend."""
    molecule = Chem.MolFromSmiles("*")
    molecule.GetAtomWithIdx(0).SetProp("atomLabel", text)
    return molecule


def _draw_numbers(decodings: Decodings, path: Path) -> None:
    charts = {}
    for judged in decodings.values():
        for name in _BARS:
            numbers = {entry: number for entry, one in judged.items() if (number := _number(one, name)) is not None and numpy.isfinite(number.value)}
            if numbers:
                charts[f"{name}: {title_of(judged)}"] = partial(_draw_points, numbers=numbers)
    draw_panels(charts, path, nothing="no valid molecule was made")


def _number(one: Judged, name: str) -> Rate | Estimate | None:
    return getattr(one, name) if hasattr(one, name) else getattr(one.scores.distribution, name)


def _draw_points(axes: Any, *, numbers: Mapping[str, Rate | Estimate]) -> None:
    values = numpy.array([number.value for number in numbers.values()])
    ends = numpy.nan_to_num([[number.value - number.low, number.high - number.value] for number in numbers.values()]).T
    axes.errorbar(values, range(len(values)), xerr=numpy.maximum(ends, 0), fmt="o", markersize=4, linewidth=1, capsize=2)
    axes.set_yticks(range(len(values)), list(numbers), fontsize=7)
    axes.set_ylim(len(values) - 0.5, -0.5)
