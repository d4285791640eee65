"""Judge all entries of one decoding alike, and say which differences between them are more than chance: paired over the requests they share."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy

from training.metrics.copies import TrainingMolecules
from training.metrics.intervals import Estimate, Rate, bootstrap_interval
from training.metrics.molecules import Reading, compared_properties
from training.metrics.regression import SUCCESS_TOLERANCE, PropertyControl
from training.metrics.surrogate import Surrogate
from training.polymers.bakeoff.config import BakeoffConfig
from training.polymers.property_judge import Predictor, predicted
from training.polymers.sample_table import SampleGroup
from training.polymers.scoring import GroupScores, RealMolecules, control_of, score_group

# GenMol (Lee et al. 2025, arXiv 2501.06158, section 5.1): quality is the share of molecules that are valid, unique, drug-like and easy to make.
_LEAST_QED, _MOST_SA = 0.6, 4.0

# By its name, a number of some requests for each row of picks [R, n] into them: [R].
Measure = Callable[[numpy.ndarray], numpy.ndarray]


@dataclass(frozen=True)
class Judged:
    """One entry at one decoding. quality: None for repeat units, which it is not made for. mean_r2, success: over all judged properties.

    success: mean share of a request's properties that are within 10 %, a miss each where the molecule is not valid. outside: of the valid molecules,
    those that the predictor does not judge; None where it was not asked.
    """

    scores: GroupScores
    quality: Rate | None
    mean_r2: Estimate
    success: Estimate
    outside: Rate | None
    measures: Mapping[str, Measure]

    @property
    def controls(self) -> tuple[PropertyControl, ...]:
        return (*self.scores.controls, *self.scores.predicted)

    @property
    def has_valid(self) -> bool:
        return bool(self.scores.reading.molecules)


@dataclass(frozen=True)
class Difference:
    """How far `other` is behind `best`, which has the highest `measure`. is_certain: whether the 95 % interval excludes 0."""

    measure: str
    best: str
    other: str
    by: Estimate

    @property
    def is_certain(self) -> bool:
        return self.by.low > 0


def judge_entry(
    group: SampleGroup,
    real: RealMolecules,
    known: TrainingMolecules,
    surrogates: Mapping[str, Surrogate],
    predictor: Predictor | None,
    config: BakeoffConfig,
) -> Judged:
    """predictor: tells the requested properties that RDKit cannot compute; `surrogates` those that it does not know either."""
    scores = score_group(group, real, known, surrogates, config)
    outside = None
    if predictor is not None and scores.not_judged:
        means, _, at_home = predicted(scores.reading, scores.not_judged, predictor)
        is_valid = numpy.array([smiles is not None for smiles in scores.reading.canonical], dtype=bool)
        outside = Rate(int((is_valid & ~at_home).sum()), int(is_valid.sum()))
        scores = _with_predicted(scores, {name: numpy.where(at_home, values, math.nan) for name, values in means.items()}, config)
    quality = _quality(scores.reading) if real.name == "molecules" else None
    measures = _measures(scores)
    mean_r2, success = (_estimate(len(group.smiles), measures.get(name), config) for name in ("mean_r2", "success"))
    return Judged(scores, quality, mean_r2, success, outside, measures)


def differences(judged: Mapping[str, Judged], config: BakeoffConfig) -> list[Difference]:
    """Of each measure the best entry against every other one. The same requests are drawn again for both, so that hard ones are hard for both.

    An entry without the number, as none of its molecules is valid, is left out of that measure.
    """
    found = []
    for name in ("validity", "success", "mean_r2"):
        values = {entry: _value(one.measures[name], len(one.scores.group.smiles)) for entry, one in judged.items() if name in one.measures}
        values = {entry: value for entry, value in values.items() if math.isfinite(value)}
        if len(values) > 1:
            best = max(values, key=values.__getitem__)
            found += [Difference(name, best, other, difference(judged[best], judged[other], name, config)) for other in values if other != best]
    return found


def difference(one: Judged, other: Judged, measure: str, config: BakeoffConfig) -> Estimate:
    """By how much `one` is above `other`, with its paired bootstrap interval over the requests."""
    ours, theirs, n = one.measures[measure], other.measures[measure], len(one.scores.group.smiles)
    low, high = bootstrap_interval(n, lambda picks: ours(picks) - theirs(picks), rounds=config.bootstrap_rounds, seed=config.seed)
    return Estimate(_value(ours, n) - _value(theirs, n), n, low, high)


def _with_predicted(scores: GroupScores, obtained: Mapping[str, numpy.ndarray], config: BakeoffConfig) -> GroupScores:
    controls = [control_of(name, scores.group.requested[name], values, config) for name, values in obtained.items()]
    not_judged = tuple(name for name in scores.not_judged if name not in obtained)
    return replace(scores, predicted=(*scores.predicted, *controls), obtained={**scores.obtained, **obtained}, not_judged=not_judged)


def _quality(reading: Reading) -> Rate:
    """Different valid molecules with QED of at least 0.6 and SA score of at most 4, of all that were generated."""
    values = compared_properties(reading.molecules.values())
    return Rate(int(((values["qed"] >= _LEAST_QED) & (values["sa_score"] <= _MOST_SA)).sum()), len(reading.canonical))


def _measures(scores: GroupScores) -> dict[str, Measure]:
    """`validity`, and where properties were asked for and judged also `success` and `mean_r2`."""
    is_valid = numpy.array([smiles is not None for smiles in scores.reading.canonical], dtype=numpy.float64)
    measures: dict[str, Measure] = {"validity": lambda picks: is_valid[picks].mean(axis=1)}
    if scores.obtained:
        asked = numpy.stack([scores.group.requested[name] for name in scores.obtained])
        obtained = numpy.stack([*scores.obtained.values()])
        hits = (numpy.abs(obtained - asked) <= SUCCESS_TOLERANCE * numpy.abs(asked)).sum(axis=0)
        shares = hits / numpy.maximum(numpy.isfinite(asked).sum(axis=0), 1)
        measures["success"] = lambda picks: shares[picks].mean(axis=1)
        measures["mean_r2"] = lambda picks: numpy.mean([_r2(a[picks], b[picks]) for a, b in zip(asked, obtained, strict=True)], axis=0)
    return measures


def _r2(asked: numpy.ndarray, obtained: numpy.ndarray) -> numpy.ndarray:
    """[R] from two [R, n]: 1 - SS_res / SS_tot over the pairs that are known; NaN for fewer than two, or requests that are all equal."""
    known = numpy.isfinite(asked) & numpy.isfinite(obtained)
    number = known.sum(axis=1)
    mean = numpy.where(known, asked, 0).sum(axis=1) / numpy.maximum(number, 1)
    residual = numpy.where(known, (asked - obtained) ** 2, 0).sum(axis=1)
    total = numpy.where(known, (asked - mean[:, None]) ** 2, 0).sum(axis=1)
    return numpy.where((number > 1) & (total > 0), 1 - residual / numpy.where(total > 0, total, 1), math.nan)


def _value(measure: Measure, n: int) -> float:
    return float(measure(numpy.arange(n)[None])[0]) if n else math.nan


def _estimate(n: int, measure: Measure | None, config: BakeoffConfig) -> Estimate:
    if measure is None:
        return Estimate(math.nan, 0)
    return Estimate(_value(measure, n), n, *bootstrap_interval(n, measure, rounds=config.bootstrap_rounds, seed=config.seed))
