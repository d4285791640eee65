"""Score the samples of a molecule model against real molecules and against what was requested."""

import contextlib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeVar

import numpy

from formats.descriptors import DESCRIPTORS
from formats.molecule_tables import property_columns, read_molecules, read_scaffolds
from stages.reporting import Reporter
from training.metrics import fcd
from training.metrics.copies import TrainingMolecules, find_copies, prepare_training
from training.metrics.distribution import DistributionScores, Reference, prepare_reference, score_distribution
from training.metrics.intervals import Rate
from training.metrics.molecules import Reading, ValidityRule, morgan_counts, read_generated
from training.metrics.regression import PropertyControl, property_control
from training.metrics.surrogate import Surrogate, TooFewValuesError, fit_surrogate
from training.polymers.sample_table import SampleGroup

Dataset = Literal["molecules", "polymers"]
RULES: Mapping[Dataset, ValidityRule] = {"molecules": "molecule", "polymers": "polymer"}


@dataclass(frozen=True)
class ScoringConfig:
    """How samples are judged; the keys of a report's section in params.yaml that are not about its looks.

    uniqueness_at: the k of unique@k. compare_at_most: valid molecules of a group that enter similarities and FCD.
    near_copy_similarity: Tanimoto similarity to the nearest training molecule from which a new one is called a near-copy.
    reference_at_most: real held-out molecules they are compared with. surrogate_at_most: real molecules that teach the predictor of a requested
    property that RDKit cannot recompute; 0 = such properties are not judged. bootstrap_rounds, seed: of intervals and controls.
    """

    split_column: Literal["split_random", "split_scaffold"] = "split_random"
    uniqueness_at: tuple[int, ...] = (1_000, 10_000)
    compare_at_most: int = 10_000
    reference_at_most: int = 10_000
    with_fcd: bool = True
    near_copy_similarity: float = 0.85
    surrogate_at_most: int = 10_000
    bootstrap_rounds: int = 1_000
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("compare_at_most", "reference_at_most"):
            if getattr(self, name) < 2:
                raise ValueError(f"{name} must be at least 2, found {getattr(self, name)}")
        for name in ("bootstrap_rounds", "surrogate_at_most"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} must not be negative, found {getattr(self, name)}")
        if not 0 < self.near_copy_similarity <= 1:
            raise ValueError(f"near_copy_similarity must lie in (0, 1], found {self.near_copy_similarity}")
        if not self.uniqueness_at or min(self.uniqueness_at) < 1:
            raise ValueError(f"uniqueness_at needs numbers of at least 1, found {list(self.uniqueness_at)}")


ScoringT = TypeVar("ScoringT", bound=ScoringConfig)


@dataclass(frozen=True)
class RealMolecules:
    """The real side of one dataset: a part that a model may have seen, and one that it has not.

    training: canonical SMILES of the training split. reference: prepared from at most `reference_at_most` molecules of the test split.
    new_scaffolds: its part whose scaffolds no molecule has that the model was trained on; None when it is empty.
    """

    name: Dataset
    training: Sequence[str]
    reference: Reference
    new_scaffolds: Reference | None = None


@dataclass(frozen=True)
class GroupScores:
    """Everything said of one group of samples.

    controls: one per requested property that RDKit can recompute. predicted: one per property that only a predictor can tell, with the predictor
    in `surrogates`. not_judged: requested properties that neither can tell. obtained: values by property [N], NaN for invalid molecules.
    """

    group: SampleGroup
    like: Dataset
    reading: Reading
    distribution: DistributionScores
    finished: Rate
    controls: tuple[PropertyControl, ...]
    predicted: tuple[PropertyControl, ...]
    surrogates: Mapping[str, Surrogate]
    not_judged: tuple[str, ...]
    obtained: Mapping[str, numpy.ndarray]

    @property
    def mean_r2(self) -> float:
        """The mean R2 over the recomputed properties; NaN when there is none, or one of them has no R2."""
        return float(numpy.mean([control.r2.value for control in self.controls])) if self.controls else math.nan


def read_real_molecules(data: Path, name: Dataset, config: ScoringConfig, seen_scaffolds: Collection[str]) -> RealMolecules:
    """The training and test splits of the dataset `name` under `data`. seen_scaffolds: of all the model was trained on. Raises MoleculeTableError."""
    training, held_out = (read_molecules(data / name, split=split, split_column=config.split_column).smiles for split in ("train", "test"))
    scaffolds = read_scaffolds(data / name, split="test", split_column=config.split_column)
    # As in the scaffold test set of MOSES. A molecule without rings has no scaffold that could be new.
    with_new_scaffold = frozenset(smiles for smiles, scaffold in zip(held_out, scaffolds, strict=True) if scaffold and scaffold not in seen_scaffolds)
    reference = prepare_reference(_draw(held_out, config.reference_at_most, config.seed), with_fcd=config.with_fcd)
    new_scaffolds = reference.part(with_new_scaffold)
    return RealMolecules(name, training, reference, new_scaffolds if new_scaffolds.size else None)


def read_background(
    data: Path, seen: Iterable[str], likes: Collection[Dataset], asked: Collection[str], config: ScoringConfig
) -> tuple[TrainingMolecules, dict[Dataset, RealMolecules], dict[Dataset, dict[str, Surrogate]]]:
    """What samples are judged before: all that was trained on, and by dataset real molecules and predictors of what is `asked` beyond RDKit.

    seen: the datasets trained on. likes: those that samples should look like. Raises MoleculeTableError.
    """
    smiles, scaffolds = list[str](), set[str]()
    for name in seen:
        smiles += read_molecules(data / name, split="train", split_column=config.split_column).smiles
        scaffolds |= set(read_scaffolds(data / name, split="train", split_column=config.split_column))
    reals = {name: read_real_molecules(data, name, config, scaffolds) for name in sorted(likes)}
    return prepare_training(smiles), reals, {name: fit_surrogates(data, name, asked, config) for name in reals}


def without_absent_fcd(config: ScoringT, stage: str, reporter: Reporter) -> ScoringT:
    """`config`, without FCD where it cannot be had on this machine, which is said."""
    if not config.with_fcd or not (reason := fcd.missing_reason()):
        return config
    reporter.log(f"{stage}: {fcd.FCD_KEY} is left out: {reason}")
    return replace(config, with_fcd=False)


def fit_surrogates(data: Path, name: Dataset, properties: Iterable[str], config: ScoringConfig) -> dict[str, Surrogate]:
    """A predictor for each of `properties` that RDKit cannot recompute and that enough molecules of the dataset `name` have."""
    wanted = [column for column in property_columns(data / name) if column in set(properties) - DESCRIPTORS.keys()]
    if not wanted or config.surrogate_at_most == 0:
        return {}
    training, held_out = (_features_and_values(data / name, split, wanted, config) for split in ("train", "test"))
    surrogates = {}
    for index, column in enumerate(wanted):
        pairs = [(features, values[:, index]) for features, values, _ in (training, held_out)]
        with contextlib.suppress(TooFewValuesError):
            surrogates[column] = fit_surrogate(
                column, pairs[0], pairs[1], unit=training[2].get(column, ""), rounds=config.bootstrap_rounds, seed=config.seed
            )
    return surrogates


def score_group(
    group: SampleGroup, real: RealMolecules, trained_on: TrainingMolecules, surrogates: Mapping[str, Surrogate], config: ScoringConfig
) -> GroupScores:
    """Judge one group like the molecules of `real`; novelty and copies against `trained_on`, all that the model was trained on."""
    reading = read_generated(group.smiles, rule=RULES[real.name])
    # A requested property is recomputed by RDKit where it can, predicted where enough real molecules have it, and otherwise named as not judged.
    recomputed = [name for name in sorted(group.requested) if name in DESCRIPTORS]
    predicted = [name for name in sorted(group.requested) if name in surrogates and name not in DESCRIPTORS]
    obtained = {name: obtained_values(reading, name) for name in recomputed}
    if predicted:
        features = morgan_counts(list(reading.molecules.values()))
        obtained |= {name: _for_each_string(reading, surrogates[name].predict(features)) for name in predicted}
    return GroupScores(
        group=group,
        like=real.name,
        reading=reading,
        distribution=_score(reading, trained_on, real, config),
        finished=Rate(group.finished, len(group.smiles)),
        controls=tuple(control_of(name, group.requested[name], obtained[name], config) for name in recomputed),
        predicted=tuple(control_of(name, group.requested[name], obtained[name], config) for name in predicted),
        surrogates={name: surrogates[name] for name in predicted},
        not_judged=tuple(name for name in sorted(group.requested) if name not in obtained),
        obtained=obtained,
    )


def score_real_sample(real: RealMolecules, trained_on: TrainingMolecules, size: int, config: ScoringConfig) -> DistributionScores:
    """The floor: `size` real molecules of the training split judged as if a model had made them.

    They are all copies of what was trained on. So its `copies` are those among the held-out molecules: how near real ones come to it by themselves.
    """
    reading = read_generated(_draw(real.training, size, config.seed), rule=RULES[real.name])
    reference = real.reference
    copies = find_copies(
        reference.molecules,
        reference.fingerprints,
        trained_on,
        at_least=config.near_copy_similarity,
        rounds=config.bootstrap_rounds,
        seed=config.seed,
    )
    return replace(_score(reading, None, real, config), copies=copies)


def obtained_values(reading: Reading, name: str) -> numpy.ndarray:
    """[N] float64: the descriptor `name` of each string that was read, NaN for invalid ones. Each molecule is measured once."""
    return _for_each_string(reading, [DESCRIPTORS[name].measure(molecule) for molecule in reading.molecules.values()])


def _for_each_string(reading: Reading, values: Iterable[float]) -> numpy.ndarray:
    """[N] float64 from one value for each different molecule."""
    by_molecule = dict(zip(reading.molecules, values, strict=True))
    return numpy.array([math.nan if smiles is None else by_molecule[smiles] for smiles in reading.canonical], dtype=numpy.float64)


def _score(reading: Reading, training: TrainingMolecules | None, real: RealMolecules, config: ScoringConfig) -> DistributionScores:
    return score_distribution(
        reading,
        training,
        real.reference,
        real.new_scaffolds,
        rule=RULES[real.name],
        uniqueness_at=config.uniqueness_at,
        compare_at_most=config.compare_at_most,
        near_copy_similarity=config.near_copy_similarity,
        bootstrap_rounds=config.bootstrap_rounds,
        seed=config.seed,
    )


def control_of(name: str, requested: numpy.ndarray, obtained: numpy.ndarray, config: ScoringConfig) -> PropertyControl:
    """How the values that were obtained [N] follow those that were requested [N], NaN where nothing was."""
    was_requested = numpy.isfinite(requested)
    return property_control(name, requested[was_requested], obtained[was_requested], rounds=config.bootstrap_rounds, seed=config.seed)


def _features_and_values(
    folder: Path, split: str, properties: Sequence[str], config: ScoringConfig
) -> tuple[numpy.ndarray, numpy.ndarray, dict[str, str]]:
    """Features [N, D], values [N, P] and units of at most `surrogate_at_most` real molecules of a split that have one of the properties."""
    table = read_molecules(folder, split=split, split_column=config.split_column, properties=properties)
    rows = numpy.flatnonzero(numpy.isfinite(table.properties).any(axis=1))
    rows = numpy.sort(numpy.random.default_rng(config.seed).permutation(rows)[: config.surrogate_at_most])
    reading = read_generated(table.smiles[row] for row in rows)
    is_read = numpy.array([smiles is not None for smiles in reading.canonical], dtype=bool)
    features = morgan_counts([reading.molecules[smiles] for smiles in reading.valid])
    return features, table.properties[rows][is_read], table.units


def _draw(smiles: Sequence[str], at_most: int, seed: int) -> list[str]:
    """At most `at_most` of `smiles`, drawn without replacement, in their own order."""
    if len(smiles) <= at_most:
        return list(smiles)
    picks = numpy.random.default_rng(seed).choice(len(smiles), size=at_most, replace=False)
    return [smiles[pick] for pick in sorted(picks)]
