"""Write scores down: as flat numbers for programs, as Markdown tables with denominators and intervals for people."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from formats.descriptors import DESCRIPTORS
from stages.markdown import escape, table
from training.metrics import fcd
from training.metrics.distribution import DistributionScores
from training.metrics.regression import PropertyControl
from training.metrics.surrogate import Surrogate
from training.polymers.scoring import GroupScores
from training.reports.numbers import ABSENT, Headline, Numbers, cell

# Rates and property scores are over what each of them could judge, so their cells say how many that were.
_cell_with_n = partial(cell, with_n=True)


def molecule_numbers(scores: Iterable[GroupScores], floors: Mapping[str, DistributionScores]) -> Numbers:
    """Every number by a flat name: `<mode>_t<temperature>_<metric>`, with `_n` (denominator), `_low` and `_high` (95 % interval).

    floors: by dataset, real molecules judged as if generated; their names begin with `real_<dataset>_`.
    """
    numbers = Numbers()
    for group in scores:
        name = group.group.name
        _add_distribution(numbers, name, group.distribution)
        numbers.add(f"{name}_novelty", group.distribution.novelty)
        numbers.add(f"{name}_finished", group.finished)
        numbers.add(f"{name}_mean_r2", group.mean_r2)
        for control in group.controls:
            _add_control(numbers, f"{name}_{control.name}", control)
        for control in group.predicted:
            _add_control(numbers, f"{name}_{control.name}_predicted", control)
            numbers.add(f"{name}_{control.name}_predictor_r2", group.surrogates[control.name].r2)
    # Real molecules of the training split are never new, so the floor has no novelty.
    for dataset, floor in floors.items():
        _add_distribution(numbers, f"real_{dataset}", floor)
    return numbers


def molecule_headline(scores: Sequence[GroupScores]) -> Headline:
    """What is asked for first: of the first samples, of the first others that were written on request, and of real molecules."""
    first, *others = scores
    unique = [f"uniqueness_at_{k}" for k in first.distribution.uniqueness][:1]
    similarity = ["nearest_similarity", fcd.FCD_KEY]
    headline = {first.group.name: ["validity", *unique, "novelty", "internal_diversity_1", *similarity, "mean_r2"]}
    headline |= {group.group.name: ["validity", "mean_r2"] for group in [group for group in others if group.controls][:1]}
    return {**headline, f"real_{first.like}": similarity}


def report_markdown(
    title: str, scores: Sequence[GroupScores], floors: Mapping[str, DistributionScores], *, reference_sizes: Mapping[str, int]
) -> str:
    """The report without its pictures. reference_sizes: by dataset, the real held-out molecules that were compared with."""
    controls = [line for group in scores if group.obtained or group.not_judged for line in _control_section(group)]
    return "\n".join([f"# {title}\n", *_distribution_section(scores, floors, reference_sizes), *controls, *_rejection_section(scores)])


def _add_distribution(numbers: Numbers, prefix: str, scores: DistributionScores) -> None:
    numbers.add(f"{prefix}_validity", scores.validity)
    for k, rate in scores.uniqueness.items():
        numbers.add(f"{prefix}_uniqueness_at_{k}", rate)
    for power, estimate in scores.internal_diversity.items():
        numbers.add(f"{prefix}_internal_diversity_{power}", estimate)
    numbers.add(f"{prefix}_nearest_similarity", scores.nearest_similarity)
    numbers.add(f"{prefix}_scaffold_similarity", scores.scaffold_similarity)
    numbers.add(f"{prefix}_fragment_similarity", scores.fragment_similarity)
    numbers.add(f"{prefix}_{fcd.FCD_KEY}", scores.fcd_torch)
    numbers.qualify(f"{prefix}_compared_n", scores.compared)


def _add_control(numbers: Numbers, prefix: str, control: PropertyControl) -> None:
    for name in ("coverage", "r2", "mae", "pearson_r2", "mae_over_sigma", "shuffled_r2"):
        numbers.add(f"{prefix}_{name}", getattr(control, name))
    numbers.add(f"{prefix}_success_10pct", control.success)


def _distribution_section(scores: Sequence[GroupScores], floors: Mapping[str, DistributionScores], reference_sizes: Mapping[str, int]) -> list[str]:
    ks = sorted({k for group in scores for k in group.distribution.uniqueness} | {k for floor in floors.values() for k in floor.uniqueness})
    header = ["samples", "valid", *(f"unique@{k:,}" for k in ks), "novel", "IntDiv", "IntDiv2", "SNN", "Scaf", "Frag", fcd.FCD_KEY, "compared"]
    rows = [_distribution_row(_group_title(group), group.distribution, ks) for group in scores]
    rows += [_distribution_row(f"*real {escape(dataset)} (floor)*", floor, ks, is_real=True) for dataset, floor in floors.items()]
    references = ", ".join(f"{size:,} of {escape(dataset)}" for dataset, size in reference_sizes.items())
    return [
        "## Against real molecules\n",
        table(header, rows),
        f"Held-out molecules compared with: {references}. Definitions are those of MOSES. valid: of all generated. unique@k: different ones",
        "among the first k valid. novel: different valid ones that are not in the training split. IntDiv, IntDiv2: internal diversity with",
        "p = 1, 2. SNN: similarity to the nearest held-out molecule. Scaf, Frag: cosine of scaffold and fragment counts. From IntDiv on, numbers",
        "are over the first valid molecules, as many as the column `compared` says. In brackets: 95 % interval (Wilson for rates, bootstrap for",
        "SNN, grouped jackknife for IntDiv), then the denominator. The floor is as many real molecules of the training split, judged in the same",
        "way: what a model can hope for.",
        f"{fcd.FCD_KEY}: {escape(_fcd_sentence(scores))} It depends on the number compared and on its implementation.\n",
    ]


def _distribution_row(title: str, scores: DistributionScores, ks: Sequence[int], *, is_real: bool = False) -> list[str]:
    similarities = scores.internal_diversity[1], scores.internal_diversity[2], scores.nearest_similarity
    return [
        title,
        _cell_with_n(scores.validity),
        *(_cell_with_n(scores.uniqueness.get(k)) for k in ks),
        ABSENT if is_real else _cell_with_n(scores.novelty),
        *map(cell, (*similarities, scores.scaffold_similarity, scores.fragment_similarity, scores.fcd_torch)),
        f"{scores.compared:,}",
    ]


def _fcd_sentence(scores: Sequence[GroupScores]) -> str:
    reason = fcd.missing_reason()
    if reason is not None:
        return f"absent, because {reason}."
    if all(group.distribution.fcd_torch is None for group in scores):
        return "absent, because it was not asked for or there are too few molecules."
    return f"Fréchet ChemNet Distance of {fcd.implementation()}."


def _control_section(group: GroupScores) -> list[str]:
    lines = [f"## Requested and obtained: {_group_title(group)}\n"]
    if group.obtained:
        header = ["property", "R²", "Pearson²", "shuffled R²", "MAE", "MAE/σ", "within 10 %", "coverage"]
        rows = [_control_row(_property_title(control.name, DESCRIPTORS[control.name].unit), control) for control in group.controls]
        rows += [
            _control_row(_property_title(control.name, group.surrogates[control.name].unit, "predicted"), control) for control in group.predicted
        ]
        lines += [
            table(header, rows),
            "R² = 1 − SS_res/SS_tot against the requested value, over requests whose molecule is valid; so are Pearson² and MAE. `within 10 %` and",
            "`coverage` are of all requests: invalid molecules are misses. `shuffled R²` deals the same requests out at random: what a model that",
            f"does not listen would get. Mean R² over the {len(group.controls)} recomputed properties: {cell(group.mean_r2)}.\n",
        ]
    lines += [_surrogate_sentence(group.surrogates[control.name]) for control in group.predicted]
    if group.not_judged:
        names = ", ".join(escape(name) for name in group.not_judged)
        lines.append(f"Requested but not judged, because RDKit cannot recompute them and too few real molecules have them: {names}.\n")
    return lines


def _control_row(title: str, control: PropertyControl) -> list[str]:
    over_valid = [cell(number) for number in (control.pearson_r2, control.shuffled_r2, control.mae, control.mae_over_sigma)]
    return [title, _cell_with_n(control.r2), *over_valid, _cell_with_n(control.success), _cell_with_n(control.coverage)]


def _property_title(name: str, unit: str, how: str = "") -> str:
    return f"{escape(name)} ({', '.join(part for part in (escape(unit), how) if part)})"


def _surrogate_sentence(surrogate: Surrogate) -> str:
    return (
        f"{escape(surrogate.name)} cannot be recomputed by RDKit: its obtained values are those of a predictor (ridge regression on Morgan counts)"
        f" taught by {surrogate.trained_on:,} real molecules, whose own R² on held-out real ones is {_cell_with_n(surrogate.r2)}.\n"
    )


def _rejection_section(scores: Sequence[GroupScores]) -> list[str]:
    reasons = sorted({reason for group in scores for reason in group.reading.rejected})
    rows = [
        [_group_title(group), *(f"{group.reading.rejected.get(reason, 0):,}" for reason in reasons), _cell_with_n(group.finished)] for group in scores
    ]
    return ["## What was not valid\n", table(["samples", *reasons, "ended by themselves"], rows)]


def _group_title(group: GroupScores) -> str:
    return f"{escape(group.group.mode)}, T = {group.group.temperature:g}, as {escape(group.like)}"
