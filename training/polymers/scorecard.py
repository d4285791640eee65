"""Write scores down: as flat numbers for programs, as Markdown tables with denominators and intervals for people."""

import math
from collections.abc import Iterable, Mapping, Sequence

from formats.descriptors import DESCRIPTORS
from stages.markdown import escape, table
from training.metrics import fcd
from training.metrics.distribution import DistributionScores
from training.metrics.intervals import Estimate, Rate
from training.metrics.regression import PropertyControl
from training.metrics.surrogate import Surrogate
from training.polymers.scoring import GroupScores

# Numbers are rounded before they are written, so that the last bits of a sum do not change the bytes of a report.
SIGNIFICANT_DIGITS = 6

ABSENT = "–"


def flat_metrics(scores: Iterable[GroupScores], floors: Mapping[str, DistributionScores]) -> dict[str, float]:
    """Every number by a flat name, sorted: `<mode>_t<temperature>_<metric>`, with `_n` (denominator), `_low` and `_high` (95 % interval).

    floors: by dataset, real molecules judged as if generated; their names begin with `real_<dataset>_`. What is not a number is left out.
    """
    metrics: dict[str, float] = {}
    for group in scores:
        metrics |= _distribution_metrics(group.group.name, group.distribution)
        metrics |= _with_interval(f"{group.group.name}_finished", group.finished)
        metrics |= {f"{group.group.name}_mean_r2": group.mean_r2}
        for control in group.controls:
            metrics |= _control_metrics(f"{group.group.name}_{control.name}", control)
        for control in group.predicted:
            metrics |= _control_metrics(f"{group.group.name}_{control.name}_predicted", control)
            metrics |= _with_interval(f"{group.group.name}_{control.name}_predictor_r2", group.surrogates[control.name].r2)
    for dataset, floor in floors.items():
        metrics |= {name: value for name, value in _distribution_metrics(f"real_{dataset}", floor).items() if "_novelty" not in name}
    return {name: _rounded(metrics[name]) for name in sorted(metrics) if math.isfinite(metrics[name])}


def report_markdown(
    title: str, scores: Sequence[GroupScores], floors: Mapping[str, DistributionScores], *, reference_sizes: Mapping[str, int]
) -> str:
    """The report without its pictures. reference_sizes: by dataset, the real held-out molecules that were compared with."""
    parts = [f"# {title}\n", _distribution_section(scores, floors, reference_sizes)]
    parts += [_control_section(group) for group in scores if group.obtained or group.not_judged]
    parts.append(_rejection_section(scores))
    return "\n".join(parts)


def _distribution_metrics(prefix: str, scores: DistributionScores) -> dict[str, float]:
    metrics = _with_interval(f"{prefix}_validity", scores.validity) | _with_interval(f"{prefix}_novelty", scores.novelty)
    for k, rate in scores.uniqueness.items():
        metrics |= _with_interval(f"{prefix}_uniqueness_at_{k}", rate)
    for power, estimate in scores.internal_diversity.items():
        metrics |= _with_interval(f"{prefix}_internal_diversity_{power}", estimate)
    metrics |= _with_interval(f"{prefix}_nearest_similarity", scores.nearest_similarity)
    metrics[f"{prefix}_scaffold_similarity"] = scores.scaffold_similarity
    metrics[f"{prefix}_fragment_similarity"] = scores.fragment_similarity
    metrics[f"{prefix}_compared_n"] = scores.compared
    if scores.fcd_torch is not None:
        metrics[f"{prefix}_{fcd.FCD_KEY}"] = scores.fcd_torch
    return metrics


def _control_metrics(prefix: str, control: PropertyControl) -> dict[str, float]:
    return (
        _with_interval(f"{prefix}_coverage", control.coverage)
        | _with_interval(f"{prefix}_r2", control.r2)
        | _with_interval(f"{prefix}_mae", control.mae)
        | _with_interval(f"{prefix}_success_10pct", control.success)
        | {
            f"{prefix}_pearson_r2": control.pearson_r2,
            f"{prefix}_mae_over_sigma": control.mae_over_sigma,
            f"{prefix}_shuffled_r2": control.shuffled_r2,
        }
    )


def _with_interval(name: str, number: Rate | Estimate) -> dict[str, float]:
    return {name: number.value, f"{name}_n": number.n, f"{name}_low": number.low, f"{name}_high": number.high}


def _distribution_section(scores: Sequence[GroupScores], floors: Mapping[str, DistributionScores], reference_sizes: Mapping[str, int]) -> str:
    ks = sorted({k for group in scores for k in group.distribution.uniqueness} | {k for floor in floors.values() for k in floor.uniqueness})
    header = ["samples", "valid", *(f"unique@{k:,}" for k in ks), "novel", "IntDiv", "IntDiv2", "SNN", "Scaf", "Frag", fcd.FCD_KEY, "compared"]
    rows = [_distribution_row(_group_title(group), group.distribution, ks) for group in scores]
    rows += [_distribution_row(f"*real {escape(dataset)} (floor)*", floor, ks, is_real=True) for dataset, floor in floors.items()]
    references = ", ".join(f"{size:,} of {escape(dataset)}" for dataset, size in reference_sizes.items())
    return "\n".join(
        [
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
    )


def _distribution_row(title: str, scores: DistributionScores, ks: Sequence[int], *, is_real: bool = False) -> list[str]:
    return [
        title,
        _cell(scores.validity),
        *(_cell(scores.uniqueness[k]) if k in scores.uniqueness else ABSENT for k in ks),
        ABSENT if is_real else _cell(scores.novelty),
        *(_cell(scores.internal_diversity[power], with_n=False) for power in (1, 2)),
        _cell(scores.nearest_similarity, with_n=False),
        _number(scores.scaffold_similarity),
        _number(scores.fragment_similarity),
        ABSENT if scores.fcd_torch is None else _number(scores.fcd_torch),
        f"{scores.compared:,}",
    ]


def _fcd_sentence(scores: Sequence[GroupScores]) -> str:
    reason = fcd.missing_reason()
    if reason is not None:
        return f"absent, because {reason}."
    if all(group.distribution.fcd_torch is None for group in scores):
        return "absent, because it was not asked for or there are too few molecules."
    return f"Fréchet ChemNet Distance of {fcd.implementation()}."


def _control_section(group: GroupScores) -> str:
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
            f"does not listen would get. Mean R² over the {len(group.controls)} recomputed properties: {_number(group.mean_r2)}.\n",
        ]
    lines += [_surrogate_sentence(group.surrogates[control.name]) for control in group.predicted]
    if group.not_judged:
        names = ", ".join(escape(name) for name in group.not_judged)
        lines.append(f"Requested but not judged, because RDKit cannot recompute them and too few real molecules have them: {names}.\n")
    return "\n".join(lines)


def _control_row(title: str, control: PropertyControl) -> list[str]:
    return [
        title,
        _cell(control.r2),
        _number(control.pearson_r2),
        _number(control.shuffled_r2),
        _cell(control.mae, with_n=False),
        _number(control.mae_over_sigma),
        _cell(control.success),
        _cell(control.coverage),
    ]


def _property_title(name: str, unit: str, how: str = "") -> str:
    return f"{escape(name)} ({', '.join(part for part in (escape(unit), how) if part)})"


def _surrogate_sentence(surrogate: Surrogate) -> str:
    return (
        f"{escape(surrogate.name)} cannot be recomputed by RDKit: its obtained values are those of a predictor (ridge regression on Morgan counts)"
        f" taught by {surrogate.trained_on:,} real molecules, whose own R² on held-out real ones is {_cell(surrogate.r2)}.\n"
    )


def _rejection_section(scores: Sequence[GroupScores]) -> str:
    reasons = sorted({reason for group in scores for reason in group.reading.rejected})
    rows = [[_group_title(group), *(f"{group.reading.rejected.get(reason, 0):,}" for reason in reasons), _cell(group.finished)] for group in scores]
    return "\n".join(["## What was not valid\n", table(["samples", *reasons, "ended by themselves"], rows)])


def _group_title(group: GroupScores) -> str:
    return f"{escape(group.group.mode)}, T = {group.group.temperature:g}, as {escape(group.like)}"


def _cell(number: Rate | Estimate, *, with_n: bool = True) -> str:
    """Such as `0.931 (0.915–0.944, n = 1,000)`."""
    if not math.isfinite(number.value):
        return f"{ABSENT} (n = {number.n:,})" if with_n else ABSENT
    facts = [f"{_number(number.low)}…{_number(number.high)}"] if math.isfinite(number.low) and math.isfinite(number.high) else []
    facts += [f"n = {number.n:,}"] if with_n else []
    return f"{_number(number.value)} ({', '.join(facts)})" if facts else _number(number.value)


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else ABSENT


def _rounded(value: float) -> float | int:
    return value if isinstance(value, int) else float(f"{value:.{SIGNIFICANT_DIGITS}g}")
