"""Judge a set of generated molecules against real ones: every distribution metric of one set in one object.

The set is read once (`read_generated`); the real side is prepared once (`prepare_reference`) and shared by all sets that are judged.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy

from training.metrics import fcd
from training.metrics.frechet import frechet_distance
from training.metrics.intervals import Estimate, Rate
from training.metrics.molecules import (
    Reading,
    counts_similarity,
    fragment_counts,
    morgan_fingerprints,
    novelty,
    read_generated,
    scaffold_counts,
    uniqueness,
    validity,
)
from training.metrics.tanimoto import internal_diversity, nearest_similarity


@dataclass(frozen=True)
class Reference:
    """Real molecules that no model was trained on, with what the metrics need of them. fcd_activations: None when FCD is not asked for."""

    size: int
    fingerprints: numpy.ndarray = field(repr=False)
    scaffolds: Counter[str] = field(repr=False)
    fragments: Counter[str] = field(repr=False)
    fcd_activations: numpy.ndarray | None = field(repr=False)


@dataclass(frozen=True)
class DistributionScores:
    """Everything that is said of one set. Similarities and FCD are over its first `compared` valid molecules, repeats included.

    internal_diversity: by power. scaffold_similarity, fragment_similarity: cosines in [0, 1].
    fcd_torch: None when it was not asked for, cannot be had, or there are fewer than two valid molecules.
    """

    validity: Rate
    uniqueness: Mapping[int, Rate]
    novelty: Rate
    compared: int
    internal_diversity: Mapping[int, Estimate]
    nearest_similarity: Estimate
    scaffold_similarity: float
    fragment_similarity: float
    fcd_torch: float | None


def prepare_reference(smiles: Sequence[str], *, with_fcd: bool) -> Reference:
    """The real side of the comparison, from canonical SMILES; unreadable ones are left out."""
    reading = read_generated(smiles)
    molecules = [reading.molecules[text] for text in reading.valid]
    return Reference(
        size=len(molecules),
        fingerprints=morgan_fingerprints(molecules),
        scaffolds=scaffold_counts(molecules),
        fragments=fragment_counts(molecules),
        fcd_activations=fcd.chemnet_activations(reading.valid) if with_fcd and len(molecules) > 1 else None,
    )


def score_distribution(
    reading: Reading,
    training: Collection[str],
    reference: Reference,
    *,
    uniqueness_at: Sequence[int],
    compare_at_most: int,
    bootstrap_rounds: int,
    seed: int,
) -> DistributionScores:
    """All distribution metrics of one set that was read by `read_generated`.

    training: canonical SMILES the model was trained on. uniqueness_at: the k of unique@k. compare_at_most: bound of `compared`.
    """
    # Similarities cost the product of both sides, so a bounded number of valid molecules enters them, in the order they were made.
    compared = reading.valid[:compare_at_most]
    different = list(dict.fromkeys(compared))
    place = {smiles: index for index, smiles in enumerate(different)}
    # Repeats count in MOSES; they are worked out once and then repeated.
    repeats = numpy.array([place[smiles] for smiles in compared], dtype=numpy.int64)
    fingerprints = morgan_fingerprints([reading.molecules[smiles] for smiles in different])[repeats]
    molecules = [reading.molecules[smiles] for smiles in compared]
    return DistributionScores(
        validity=validity(reading),
        uniqueness={k: uniqueness(reading, first=k) for k in uniqueness_at},
        novelty=novelty(reading, training),
        compared=len(compared),
        internal_diversity=internal_diversity(fingerprints),
        nearest_similarity=nearest_similarity(fingerprints, reference.fingerprints, rounds=bootstrap_rounds, seed=seed),
        scaffold_similarity=counts_similarity(scaffold_counts(molecules), reference.scaffolds),
        fragment_similarity=counts_similarity(fragment_counts(molecules), reference.fragments),
        fcd_torch=_fcd(different, repeats, reference),
    )


def _fcd(different: Sequence[str], repeats: numpy.ndarray, reference: Reference) -> float | None:
    if reference.fcd_activations is None or len(repeats) < 2:
        return None
    return frechet_distance(fcd.chemnet_activations(different)[repeats], reference.fcd_activations)
