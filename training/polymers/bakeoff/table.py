"""The comparison written down: numbers by flat names, Markdown tables a decoding, and in words what no number can say."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from formats.descriptors import DESCRIPTORS
from stages.markdown import escape, table
from training.metrics import fcd
from training.metrics.intervals import Number
from training.polymers.bakeoff.compare import Difference, Judged
from training.polymers.bakeoff.config import BakeoffConfig
from training.polymers.bakeoff.entries import Cost
from training.polymers.sample_table import SampleGroup
from training.reports.numbers import MOST_HEADLINE_NUMBERS, Headline, Numbers, cell

# By name of the decoding, then by entry.
Decodings = Mapping[str, Mapping[str, Judged]]

_BASELINES = {
    "random": "training molecules at random",
    "nearest": "the training molecule whose properties are nearest to the request",
    "ngram": "an n-gram model, which hears no request",
}
_COLUMNS = {
    "validity": "valid", "novelty": "new", "internal_diversity": "IntDiv", "mean_r2": "mean R²",
    "success": "within 10 %", "outside_domain": "outside the domain", "r2": "R²", "mae": "MAE",
}  # fmt: skip
_cell_with_n = partial(cell, with_n=True)


def bakeoff_numbers(decodings: Decodings, apart: Mapping[str, Sequence[Difference]], costs: Mapping[str, Cost]) -> Numbers:
    """`<entry>_<mode>_t<temperature>_<number>`; of paired differences `<entry>_…_behind_best_<measure>`; of trainings `<entry>_training_<fact>`."""
    numbers = Numbers()
    for name, judged in decodings.items():
        for entry, one in judged.items():
            for what, number in _whole(one).items():
                numbers.add(f"{entry}_{name}_{what}", number)
            for control in one.controls:
                for what in ("r2", "mae", "success", "coverage"):
                    numbers.add(f"{entry}_{name}_{control.name}_{what}", getattr(control, what))
        for behind in apart[name]:
            numbers.add(f"{behind.other}_{name}_behind_best_{behind.measure}", behind.by)
    for entry, cost in costs.items():
        for what in ("parameters", "samples", "flop"):
            numbers.add(f"{entry}_training_{what}", getattr(cost, what))
    return numbers


def bakeoff_headline(decodings: Decodings) -> Headline:
    """Validity and mean R² of each entry where something was asked for, else validity and uniqueness, at the first such decoding."""
    name = next((name for name, judged in decodings.items() if group_of(judged).mode == "conditional"), next(iter(decodings)))
    what = ["validity", "mean_r2"] if name.startswith("conditional") else ["validity", "quality"]
    return {f"{entry}_{name}": what for entry in [*decodings[name]][: MOST_HEADLINE_NUMBERS // 2]}


def bakeoff_markdown(config: BakeoffConfig, decodings: Decodings, apart: Mapping[str, Sequence[Difference]], costs: Mapping[str, Cost]) -> str:
    """The report without its pictures."""
    guided = {name: judged for name, judged in decodings.items() if group_of(judged).is_guided}
    lines = ["# The bake-off\n", _introduction(config)]
    for name in [name for name in decodings if name not in guided]:
        lines += _decoding_section(decodings[name], apart[name])
    if guided:
        lines += [
            "## Guided decoding\n",
            "A mask over tokens keeps what is written readable. These rows compare with one another, never with those above.\n",
        ]
        for name, judged in guided.items():
            lines += _decoding_section(judged, apart[name], depth="###")
    return "\n".join([*lines, *_cost_section(costs)])


def group_of(judged: Mapping[str, Judged]) -> SampleGroup:
    """The samples of the first entry at one decoding, whose requests are those of all."""
    return next(iter(judged.values())).scores.group


def title_of(judged: Mapping[str, Judged]) -> str:
    """Such as `conditional, T = 0.8`."""
    group = group_of(judged)
    return f"{group.mode}, T = {group.temperature:g}"


def _whole(one: Judged) -> Mapping[str, Number | None]:
    """What is said of one entry at one decoding, but for single properties, by the names of metrics.json."""
    scores = one.scores.distribution
    unique: dict[str, Number | None] = {f"uniqueness_at_{k}": rate for k, rate in scores.uniqueness.items()}
    numbers: dict[str, Number | None] = {
        "validity": scores.validity,
        **unique,
        "novelty": scores.novelty,
        "internal_diversity": scores.internal_diversity[1],
    }
    numbers |= {fcd.FCD_KEY: scores.likeness.fcd_torch, "quality": one.quality}
    return numbers | ({"mean_r2": one.mean_r2, "success": one.success, "outside_domain": one.outside} if one.controls else {})


def _introduction(config: BakeoffConfig) -> str:
    baselines = "; ".join(f"*{name}*: {_BASELINES[name]}" for name in config.baselines)
    return f"""Models: {", ".join(map(escape, config.models))}. All answered the same requests, were shown training splits that agree, decode alike
and have the same judge. What needs no model stands in italics ({baselines or "none"}). In brackets: 95 % interval (Wilson for rates, bootstrap over
the requests, grouped jackknife for IntDiv), then the denominator. How fast each one writes depends on the machine and stands in no file: the metadata
of the sampling stages and `python -m bench.bakeoff` tell it.

valid: of all generated. unique@k: different ones among the first k valid. new: different valid ones that no model was shown.
IntDiv, {fcd.FCD_KEY}: over the first valid molecules, at most {config.compare_at_most:,}; FCD depends on that number. quality: different valid ones
with QED ≥ 0.6 and SA ≤ 4, of all generated (GenMol). mean R²: over the properties, each over the requests with a valid molecule. within 10 %: mean
share of a request's properties that are met; what is not valid meets none. outside the domain: of the valid ones, those that the property predictor
does not judge; they count as not met.
"""


def _decoding_section(judged: Mapping[str, Judged], apart: Sequence[Difference], *, depth: str = "##") -> list[str]:
    like = next(iter(judged.values())).scores.like
    lines = [f"{depth} {escape(title_of(judged))}, as {like}\n", _table_of(judged, _whole)]
    for entry, one in judged.items():
        if not one.has_valid:
            reasons = ", ".join(f"{count:,} {escape(reason)}" for reason, count in one.scores.reading.rejected.items())
            lines.append(
                f"**{escape(entry)} wrote no valid molecule** ({reasons or 'it was asked for none'}): what rests on valid ones has no number.\n"
            )
    controls = {control.name: control for one in judged.values() for control in one.controls}
    for control in controls.values():
        lines += [f"{depth}# {_property_title(control.name)}\n", _table_of(judged, partial(_of_property, control.name))]
    if not_judged := sorted({name for one in judged.values() for name in one.scores.not_judged}):
        lines.append(f"Requested but not judged, because neither RDKit nor the predictor tells them: {', '.join(map(escape, not_judged))}.\n")
    return lines + (_difference_section(apart) if controls else [])


def _table_of(judged: Mapping[str, Judged], numbers_of: Callable[[Judged], Mapping[str, Number | None]]) -> str:
    """A row an entry. A number that no entry has gives no column."""
    rows = {entry: numbers_of(one) for entry, one in judged.items()}
    columns = [
        name for name in dict.fromkeys(name for row in rows.values() for name in row) if any(row.get(name) is not None for row in rows.values())
    ]
    cells = [[_entry(entry), *(_cell_with_n(row.get(name)) for name in columns)] for entry, row in rows.items()]
    return table(["", *(_COLUMNS.get(name, escape(name.replace("uniqueness_at_", "unique@"))) for name in columns)], cells)


def _of_property(name: str, one: Judged) -> Mapping[str, Number | None]:
    control = next((control for control in one.controls if control.name == name), None)
    return {what: getattr(control, what, None) for what in ("r2", "mae", "success", "coverage")}


def _property_title(name: str) -> str:
    return f"{escape(name)} ({escape(DESCRIPTORS[name].unit if name in DESCRIPTORS else 'as the property predictor tells it')})"


def _difference_section(apart: Sequence[Difference]) -> list[str]:
    verdicts = {True: "the best is better", False: "not told apart"}
    rows = [[_COLUMNS[one.measure], _entry(one.best), _entry(one.other), cell(one.by), verdicts[one.is_certain]] for one in apart]
    words = (
        "Paired differences: the requests are drawn again (bootstrap), the same for both. One is better only where the 95 % interval excludes 0.\n"
    )
    return [table(["", "best", "other", "difference", "verdict"], rows), words] if rows else []


def _cost_section(costs: Mapping[str, Cost]) -> list[str]:
    rows = [[_entry(entry), f"{cost.parameters:,}", f"{cost.samples:,}", f"{cost.flop:.3g}"] for entry, cost in costs.items()]
    return [
        "## What the trainings took\n",
        table(["", "weights", "molecules shown", "floating point operations"], rows),
        "Operations: 6 for each weight and token shown (Kaplan et al. 2020), with the mean number of atoms and bonds of a training molecule for its",
        "tokens (of what learns from latents, one); of a model that stands on another one, with that one's. Arithmetic, not a measurement.\n",
    ]


def _entry(name: str) -> str:
    return f"*{escape(name)}*" if name in _BASELINES else escape(name)
