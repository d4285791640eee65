"""Judge a set of generated molecules against real ones: every distribution metric of one set in one object.

The set is read once (`read_generated`); the real sides are prepared once (`prepare_reference`, `prepare_training`) and shared by all sets that are
judged.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy
from rdkit.Chem import Mol

from training.metrics import fcd
from training.metrics.copies import Copies, TrainingMolecules, find_copies
from training.metrics.frechet import frechet_distance
from training.metrics.intervals import Estimate, Rate
from training.metrics.molecule_filters import filter_problem
from training.metrics.molecules import (
    Reading,
    ValidityRule,
    compared_properties,
    counts_similarity,
    fragment_counts,
    morgan_fingerprints,
    novelty,
    novelty_curve,
    read_generated,
    scaffold_counts,
    uniqueness,
    validity,
)
from training.metrics.tanimoto import internal_diversity, nearest_similarity
from training.metrics.wasserstein import wasserstein_estimate


@dataclass(frozen=True)
class Reference:
    """Real molecules that no model was trained on, with what the metrics need of them. fcd_activations: None when FCD is not asked for."""

    molecules: Mapping[str, Mol] = field(repr=False)
    fingerprints: numpy.ndarray = field(repr=False)
    fcd_activations: numpy.ndarray | None = field(repr=False)

    @property
    def size(self) -> int:
        return len(self.molecules)

    @cached_property
    def scaffolds(self) -> Counter[str]:
        return scaffold_counts(self.molecules.values())

    @cached_property
    def fragments(self) -> Counter[str]:
        return fragment_counts(self.molecules.values())

    @cached_property
    def properties(self) -> Mapping[str, numpy.ndarray]:
        return compared_properties(self.molecules.values())

    def part(self, smiles: frozenset[str]) -> "Reference":
        """Those of its molecules whose canonical SMILES are among `smiles`."""
        rows = [row for row, one in enumerate(self.molecules) if one in smiles]
        molecules = {one: molecule for one, molecule in self.molecules.items() if one in smiles}
        return Reference(molecules, self.fingerprints[rows], None if self.fcd_activations is None else self.fcd_activations[rows])


@dataclass(frozen=True)
class Likeness:
    """How like `size` real molecules a set is. scaffold_similarity, fragment_similarity: cosines in [0, 1].

    fcd_torch: None when it was not asked for, cannot be had, or one side has fewer than two molecules.
    """

    size: int
    nearest_similarity: Estimate
    scaffold_similarity: float
    fragment_similarity: float
    fcd_torch: float | None


@dataclass(frozen=True)
class DistributionScores:
    """Everything that is said of one set. What follows `compared` is over its first `compared` valid molecules, repeats included but in `copies`.

    novelty, novelty_curve (by generated strings), copies: None where the set is compared with no training molecules.
    internal_diversity: by power. likeness: to all held-out molecules; new_scaffolds: to those of them whose scaffold no training molecule has,
    None without one. property_distances: by COMPARED_PROPERTIES, Wasserstein distances to the held-out molecules in the property's unit.
    filters: passing the filters of MOSES; None for repeat units, which they are not made for. caught: how many failed, by reason.
    """

    validity: Rate
    uniqueness: Mapping[int, Rate]
    novelty: Rate | None
    novelty_curve: Mapping[int, Rate] | None
    compared: int
    internal_diversity: Mapping[int, Estimate]
    likeness: Likeness
    new_scaffolds: Likeness | None
    property_distances: Mapping[str, Estimate]
    filters: Rate | None
    caught: Mapping[str, int]
    copies: Copies | None


def prepare_reference(smiles: Sequence[str], *, with_fcd: bool) -> Reference:
    """The real side of the comparison, from canonical SMILES; unreadable and repeated ones are left out."""
    molecules = read_generated(smiles).molecules
    activations = fcd.chemnet_activations(list(molecules)) if with_fcd and len(molecules) > 1 else None
    return Reference(molecules, morgan_fingerprints(list(molecules.values())), activations)


def score_distribution(
    reading: Reading,
    training: TrainingMolecules | None,
    reference: Reference,
    new_scaffolds: Reference | None,
    *,
    rule: ValidityRule,
    uniqueness_at: Sequence[int],
    compare_at_most: int,
    near_copy_similarity: float,
    bootstrap_rounds: int,
    seed: int,
) -> DistributionScores:
    """All distribution metrics of one set that was read by `read_generated` with `rule`.

    training: what the model was trained on; None leaves out what needs it. new_scaffolds: the part of `reference` whose scaffolds `training` lacks.
    uniqueness_at: the k of unique@k. compare_at_most: bound of `compared`. near_copy_similarity: Tanimoto from which a new molecule is a near-copy.
    """
    # Similarities cost the product of both sides, so a bounded number of valid molecules enters them, in the order they were made.
    compared = reading.valid[:compare_at_most]
    different = {smiles: reading.molecules[smiles] for smiles in compared}
    place = {smiles: index for index, smiles in enumerate(different)}
    # Repeats count in MOSES; they are worked out once and then repeated.
    repeats = numpy.array([place[smiles] for smiles in compared], dtype=numpy.int64)
    once = morgan_fingerprints(list(different.values()))
    fingerprints = once[repeats]
    activations = fcd.chemnet_activations(list(different))[repeats] if reference.fcd_activations is not None and len(compared) > 1 else None
    scaffolds, fragments = (count(different[smiles] for smiles in compared) for count in (scaffold_counts, fragment_counts))

    def likeness(real: Reference) -> Likeness:
        return Likeness(
            size=real.size,
            nearest_similarity=nearest_similarity(fingerprints, real.fingerprints, rounds=bootstrap_rounds, seed=seed),
            scaffold_similarity=counts_similarity(scaffolds, real.scaffolds),
            fragment_similarity=counts_similarity(fragments, real.fragments),
            fcd_torch=_fcd(activations, real.fcd_activations),
        )

    values = {name: numbers[repeats] for name, numbers in compared_properties(different.values()).items()}
    problems = {smiles: filter_problem(molecule) for smiles, molecule in different.items()} if rule == "molecule" else {}
    caught = Counter(problem for smiles in compared if (problem := problems.get(smiles)) is not None)
    return DistributionScores(
        validity=validity(reading),
        uniqueness={k: uniqueness(reading, first=k) for k in uniqueness_at},
        novelty=None if training is None else novelty(reading, training.known),
        novelty_curve=None if training is None else novelty_curve(reading, training.known, at=_curve_points(len(reading.canonical))),
        compared=len(compared),
        internal_diversity=internal_diversity(fingerprints),
        likeness=likeness(reference),
        new_scaffolds=None if new_scaffolds is None else likeness(new_scaffolds),
        property_distances={name: wasserstein_estimate(numbers, reference.properties[name]) for name, numbers in values.items()},
        filters=Rate(len(compared) - caught.total(), len(compared)) if rule == "molecule" else None,
        caught=dict(sorted(caught.items())),
        copies=None
        if training is None
        else find_copies(different, once, training, at_least=near_copy_similarity, rounds=bootstrap_rounds, seed=seed),
    )


def _fcd(one: numpy.ndarray | None, other: numpy.ndarray | None) -> float | None:
    return None if one is None or other is None or min(len(one), len(other)) < 2 else frechet_distance(one, other)


def _curve_points(strings: int) -> list[int]:
    """10, 20, 50, 100, … and all."""
    points = [digit * 10**power for power in range(1, len(str(strings))) for digit in (1, 2, 5)]
    return [*(point for point in points if point < strings), strings]
