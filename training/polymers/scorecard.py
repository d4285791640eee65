"""Write scores down: as flat numbers for programs, as Markdown tables with denominators and intervals for people."""

from collections.abc import Iterable, Mapping, Sequence
from functools import partial

from formats.descriptors import DESCRIPTORS
from stages.markdown import escape, table
from training.metrics import fcd
from training.metrics.copies import Copies
from training.metrics.distribution import DistributionScores, Likeness
from training.metrics.intervals import Rate
from training.metrics.molecule_filters import FILTERS
from training.metrics.molecules import COMPARED_PROPERTIES
from training.metrics.regression import PropertyControl
from training.metrics.surrogate import Surrogate
from training.polymers.scoring import GroupScores
from training.reports.numbers import ABSENT, Headline, Numbers, cell

# Rates and property scores are over what each of them could judge, so their cells say how many that were.
_cell_with_n = partial(cell, with_n=True)

# A title and what is said of that set, the floors last.
_Rows = Sequence[tuple[str, DistributionScores]]
_LIKENESS = ("SNN", "Scaf", "Frag", fcd.FCD_KEY)

# Of the novelty curve, what is written as numbers; the picture shows all of it.
_CURVE_NUMBERS = (100, 1_000, 10_000, 100_000, 1_000_000)


def molecule_numbers(scores: Iterable[GroupScores], floors: Mapping[str, DistributionScores]) -> Numbers:
    """Every number by a flat name: `<mode>_t<temperature>_<metric>`, with `_n` (denominator), `_low` and `_high` (95 % interval).

    floors: by dataset, real molecules judged as if generated; their names begin with `real_<dataset>_`.
    """
    numbers = Numbers()
    for group in scores:
        name = group.group.name
        _add_distribution(numbers, name, group.distribution)
        _add_novelty(numbers, name, group.distribution)
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


def report_markdown(title: str, scores: Sequence[GroupScores], floors: Mapping[str, DistributionScores], *, near_copy_similarity: float) -> str:
    """The report without its pictures."""
    rows = [(_group_title(group), group.distribution) for group in scores]
    rows += [(f"*real {escape(dataset)} (floor)*", floor) for dataset, floor in floors.items()]
    controls = [line for group in scores if group.obtained or group.not_judged for line in _control_section(group)]
    sections = [
        *_distribution_section(rows, floors),
        *_new_scaffold_section(rows),
        *_drug_likeness_section(rows),
        *_copy_section(rows, near_copy_similarity),
        *controls,
        *_rejection_section(scores),
    ]
    return "\n".join([f"# {title}\n", *sections])


def _add_distribution(numbers: Numbers, prefix: str, scores: DistributionScores) -> None:
    numbers.add(f"{prefix}_validity", scores.validity)
    for k, rate in scores.uniqueness.items():
        numbers.add(f"{prefix}_uniqueness_at_{k}", rate)
    for power, estimate in scores.internal_diversity.items():
        numbers.add(f"{prefix}_internal_diversity_{power}", estimate)
    _add_likeness(numbers, prefix, scores.likeness)
    if scores.new_scaffolds is not None:
        _add_likeness(numbers, f"{prefix}_new_scaffolds", scores.new_scaffolds)
        numbers.qualify(f"{prefix}_new_scaffolds_n", scores.new_scaffolds.size)
    numbers.add(f"{prefix}_filters_passed", scores.filters)
    for name, distance in scores.property_distances.items():
        numbers.add(f"{prefix}_{name}_wasserstein", distance)
    if scores.copies is not None:
        numbers.add(f"{prefix}_stereoisomers_of_training", scores.copies.stereoisomers)
        numbers.add(f"{prefix}_near_copies", scores.copies.near_copies)
        numbers.add(f"{prefix}_nearest_training_similarity", scores.copies.nearest_training_similarity)
    numbers.qualify(f"{prefix}_compared_n", scores.compared)


def _add_likeness(numbers: Numbers, prefix: str, likeness: Likeness) -> None:
    numbers.add(f"{prefix}_nearest_similarity", likeness.nearest_similarity)
    numbers.add(f"{prefix}_scaffold_similarity", likeness.scaffold_similarity)
    numbers.add(f"{prefix}_fragment_similarity", likeness.fragment_similarity)
    numbers.add(f"{prefix}_{fcd.FCD_KEY}", likeness.fcd_torch)


def _add_novelty(numbers: Numbers, prefix: str, scores: DistributionScores) -> None:
    numbers.add(f"{prefix}_novelty", scores.novelty)
    numbers.add(f"{prefix}_valid_unique_novel", _valid_unique_novel(scores))
    for number, rate in (scores.novelty_curve or {}).items():
        if number in _CURVE_NUMBERS:
            numbers.add(f"{prefix}_novelty_at_{number}", rate)


def _valid_unique_novel(scores: DistributionScores) -> Rate | None:
    return None if scores.novelty is None else Rate(scores.novelty.successes, scores.validity.trials)


def _add_control(numbers: Numbers, prefix: str, control: PropertyControl) -> None:
    for name in ("coverage", "r2", "mae", "pearson_r2", "mae_over_sigma", "shuffled_r2"):
        numbers.add(f"{prefix}_{name}", getattr(control, name))
    numbers.add(f"{prefix}_success_10pct", control.success)


def _distribution_section(rows: _Rows, floors: Mapping[str, DistributionScores]) -> list[str]:
    ks = sorted({k for _, scores in rows for k in scores.uniqueness})
    header = ["samples", "valid", *(f"unique@{k:,}" for k in ks), "novel", "IntDiv", "IntDiv2", *_LIKENESS, "compared"]
    references = ", ".join(f"{floor.likeness.size:,} of {escape(dataset)}" for dataset, floor in floors.items())
    return [
        "## Against real molecules\n",
        table(header, [_distribution_row(title, scores, ks) for title, scores in rows]),
        f"Held-out molecules compared with: {references}. Definitions are those of MOSES. valid: of all generated. unique@k: different ones",
        "among the first k valid. novel: different valid ones that are not in the training split. IntDiv, IntDiv2: internal diversity with",
        "p = 1, 2. SNN: similarity to the nearest held-out molecule. Scaf, Frag: cosine of scaffold and fragment counts. From IntDiv on, numbers",
        "are over the first valid molecules, as many as the column `compared` says. In brackets: 95 % interval (Wilson for rates, bootstrap for",
        "SNN, grouped jackknife for IntDiv), then the denominator. The floor is as many real molecules of the training split, judged in the same",
        "way: what a model can hope for.",
        f"{fcd.FCD_KEY}: {escape(_fcd_sentence(rows))} It depends on the number compared and on its implementation.\n",
    ]


def _likeness_cells(likeness: Likeness) -> list[str]:
    return [*map(cell, (likeness.nearest_similarity, likeness.scaffold_similarity, likeness.fragment_similarity, likeness.fcd_torch))]


def _distribution_row(title: str, scores: DistributionScores, ks: Sequence[int]) -> list[str]:
    return [
        title,
        _cell_with_n(scores.validity),
        *(_cell_with_n(scores.uniqueness.get(k)) for k in ks),
        _cell_with_n(scores.novelty),
        *map(cell, (scores.internal_diversity[1], scores.internal_diversity[2])),
        *_likeness_cells(scores.likeness),
        f"{scores.compared:,}",
    ]


def _new_scaffold_section(rows: _Rows) -> list[str]:
    cells = [
        [title, *_likeness_cells(scores.new_scaffolds), f"{scores.new_scaffolds.size:,}"]
        for title, scores in rows
        if scores.new_scaffolds is not None
    ]
    if not cells:
        return []
    return [
        "## Against molecules with new scaffolds\n",
        table(["samples", *_LIKENESS, "held-out molecules"], cells),
        "The same, compared only with those held-out molecules whose Bemis–Murcko scaffold no training molecule has: TestSF of MOSES. Real molecules",
        "of the training split cannot have these scaffolds, so a Scaf above theirs is a model's own.\n",
    ]


def _drug_likeness_section(rows: _Rows) -> list[str]:
    reasons = [reason for reason in FILTERS if any(scores.caught.get(reason) for _, scores in rows)]
    header = ["samples", "passes filters", *reasons, *(_property_title(name, DESCRIPTORS[name].unit) for name in COMPARED_PROPERTIES)]
    cells = [
        [
            title,
            _cell_with_n(scores.filters),
            *(f"{scores.caught.get(reason, 0):,}" if scores.filters else ABSENT for reason in reasons),
            *(cell(scores.property_distances[name]) for name in COMPARED_PROPERTIES),
        ]
        for title, scores in rows
    ]
    return [
        "## Filters and properties\n",
        table(header, cells),
        "Filters are those of MOSES, with how many molecules failed at each first: rings of eight atoms or more, charges, elements, its medicinal",
        "chemistry filters (MCF) and PAINS; they are not made for repeat units. Properties: Wasserstein distance to the held-out molecules, in the",
        "unit of the property; in brackets the 95 % interval (grouped jackknife).\n",
    ]


def _copy_section(rows: _Rows, near_copy_similarity: float) -> list[str]:
    def copies(found: Copies | None) -> list[str]:
        return [ABSENT] * 3 if found is None else [*map(_cell_with_n, (found.near_copies, found.stereoisomers, found.nearest_training_similarity))]

    header = ["samples", "valid, unique and novel", "near-copies", "of them stereoisomers", "similarity to the nearest training molecule"]
    return [
        "## New molecules, and how new they are\n",
        table(header, [[title, _cell_with_n(_valid_unique_novel(scores)), *copies(scores.copies)] for title, scores in rows]),
        "valid, unique and novel: different molecules that are not in the training split, of all generated. near-copies: new ones that are a",
        f"training molecule but for stereo, or at least {near_copy_similarity:g} similar to one (Tanimoto, Morgan fingerprints of radius 2); of the",
        "new ones among the compared. The floor says how near real held-out molecules come to the training split.\n",
    ]


def _fcd_sentence(rows: _Rows) -> str:
    reason = fcd.missing_reason()
    if reason is not None:
        return f"absent, because {reason}."
    if all(scores.likeness.fcd_torch is None for _, scores in rows):
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
