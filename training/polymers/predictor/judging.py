"""What a predictor is worth on molecules that it has not seen, beside predicting the mean and ridge regression on the same features."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy

from training.metrics.intervals import Rate
from training.metrics.surrogate import TooFewValuesError, fit_surrogate
from training.polymers.predictor.data import Labelled
from training.polymers.predictor.losses import Z_90
from training.polymers.predictor.model_folder import Predictions, Predictor

# The Open Polymer Challenge's five: Tg, FFV, Tc, Density, Rg, as the table `polymers` names them.
CHALLENGE = ("glass_transition_temperature", "fractional_free_volume", "thermal_conductivity", "density", "radius_of_gyration")
WMAE = (
    "wMAE = (1/K) Σ w_i MAE_i over K properties, w_i = (1/r_i) · K √(1/n_i) / Σ_j √(1/n_j), with r_i the range of the true values of property i and "
    "n_i their number (Open Polymer Challenge, NeurIPS 2025; arXiv 2512.08896); lower is better."
)


@dataclass(frozen=True)
class Judged:
    """One property of n molecules that have it. true, deviation: [n]. inside: [n] bool, of the domain. ways: predicted [n] by who predicts."""

    name: str
    unit: str
    true: numpy.ndarray
    deviation: numpy.ndarray
    inside: numpy.ndarray
    ways: Mapping[str, numpy.ndarray]

    def errors(self, way: str = "predictor") -> numpy.ndarray:
        """[n] absolute ones."""
        return numpy.abs(self.true - self.ways[way])

    @property
    def coverage(self) -> Rate:
        """Of 90 % intervals."""
        return Rate(int((self.errors() <= Z_90 * self.deviation).sum()), len(self.true))


def judge_molecules(predictor: Predictor, teachers: Labelled, test: Labelled) -> tuple[list[Judged], Predictions]:
    """Each property that a test molecule has, and what was predicted of all of them. teachers: training molecules that teach the ridge."""
    predictions, judged = predictor.predict_features(test.features), []
    inputs = [_inputs(part, predictor) for part in (teachers, test)]
    for column, name in enumerate(predictor.properties):
        is_known = ~numpy.isnan(test.values[:, column])
        ways = {"predictor": predictions.mean[is_known, column], "mean": numpy.full(is_known.sum(), predictor.scale.property_mean[column])}
        try:
            pairs = ((inputs[0], teachers.values[:, column]), (inputs[1], test.values[:, column]))
            ways["ridge"] = fit_surrogate(name, *pairs, unit="", rounds=0, seed=0).predict(inputs[1][is_known])
        except TooFewValuesError:
            pass  # Then there is no such row.
        if is_known.any():
            parts = (test.values[is_known, column], predictions.std[is_known, column], predictions.in_domain[is_known])
            judged.append(Judged(name, predictor.units.get(name, ""), *parts, ways))
    return judged, predictions


def weighted_mae(judged: Sequence[Judged], way: str, ranges: Mapping[str, float] | None = None) -> float:
    """`WMAE` over the challenge's properties; NaN unless all five are judged in this way and have a range. ranges: r_i, by default of `judged`."""
    chosen = [one for one in judged if one.name in CHALLENGE and way in one.ways]
    spans = {one.name: ranges[one.name] if ranges else float(numpy.ptp(one.true)) for one in chosen}
    if len(chosen) < len(CHALLENGE) or min(spans.values()) <= 0:
        return math.nan
    rarity = [math.sqrt(1 / len(one.true)) for one in chosen]
    # K in the weights and 1/K before the sum are one another's inverse.
    return sum(weight * float(one.errors(way).mean()) / spans[one.name] for weight, one in zip(rarity, chosen, strict=True)) / sum(rarity)


def _inputs(labelled: Labelled, predictor: Predictor) -> numpy.ndarray:
    """[N, D + bits] as the networks see them."""
    counts = numpy.log1p(labelled.features.counts.astype(numpy.float32))
    return numpy.concatenate([predictor.scale.descriptors(labelled.features), counts], axis=1)
