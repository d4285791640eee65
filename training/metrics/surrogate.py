"""A small property predictor, for properties that cannot be computed from a molecule (measured or quantum-mechanical ones).

Ridge regression on features of the molecules, fitted on real ones. A score that rests on it is never better than it is: its own R2 on held-out
real molecules goes wherever the score goes.
"""

from dataclasses import dataclass, field

import numpy

from training.metrics.intervals import Estimate
from training.metrics.regression import r_squared_estimate

# Of the training molecules, the share that chooses the strength of the ridge.
_CHOOSING_SHARE = 0.2
_STRENGTHS = tuple(10.0**power for power in range(-2, 5))
# Fewer real values teach nothing that could be trusted.
MINIMUM_VALUES = 50


class TooFewValuesError(ValueError):
    """There are too few real values of a property to fit a predictor or to say how good it is."""


@dataclass(frozen=True)
class Surrogate:
    """A fitted predictor. trained_on: real molecules it was fitted on. r2: on held-out real molecules, with how many they were."""

    name: str
    unit: str
    trained_on: int
    r2: Estimate
    weights: numpy.ndarray = field(repr=False)
    offset: float = field(repr=False)

    def predict(self, features: numpy.ndarray) -> numpy.ndarray:
        """[N] float64, in the unit of the property, from features [N, D]."""
        return features.astype(numpy.float64) @ self.weights + self.offset


def fit_surrogate(
    name: str,
    training: tuple[numpy.ndarray, numpy.ndarray],
    held_out: tuple[numpy.ndarray, numpy.ndarray],
    *,
    unit: str,
    rounds: int,
    seed: int,
) -> Surrogate:
    """Fit on (features [N, D], values [N]) and measure on such a pair that was not trained on; rows whose value is NaN are left out.

    Raises TooFewValuesError below MINIMUM_VALUES training values or two held-out ones.
    """
    features, values = _known(*training)
    test_features, test_values = _known(*held_out)
    if len(values) < MINIMUM_VALUES or len(test_values) < 2:
        raise TooFewValuesError(
            f"{len(values)} training and {len(test_values)} held-out values of {name} are too few, at least {MINIMUM_VALUES} and 2 are needed"
        )
    # Neighbours in a table are alike, so the fifth that chooses the strength is drawn from all of it.
    order = numpy.random.default_rng(seed).permutation(len(values))
    features, values = features[order], values[order]
    weights, offset = _Spectrum(features, values).solve(_choose_strength(features, values))
    # What the predictor is worth, on molecules it has not seen: every score that rests on it carries this.
    predicted = test_features @ weights + offset
    quality = r_squared_estimate(test_values, predicted, rounds=rounds, seed=seed)
    return Surrogate(name, unit, len(values), quality, weights, offset)


def _known(features: numpy.ndarray, values: numpy.ndarray) -> tuple[numpy.ndarray, numpy.ndarray]:
    is_known = numpy.isfinite(values)
    return features[is_known].astype(numpy.float64), values[is_known].astype(numpy.float64)


def _choose_strength(features: numpy.ndarray, values: numpy.ndarray) -> float:
    """The strength that predicts a fifth of the training molecules best from the others."""
    size = max(1, int(len(values) * _CHOOSING_SHARE))
    fitted = _Spectrum(features[size:], values[size:])
    errors = [((values[:size] - features[:size] @ weights - offset) ** 2).sum() for weights, offset in map(fitted.solve, _STRENGTHS)]
    return _STRENGTHS[int(numpy.argmin(errors))]


class _Spectrum:
    """The normal equations of centred data, taken apart once so that every strength costs a product only."""

    def __init__(self, features: numpy.ndarray, values: numpy.ndarray) -> None:
        self._feature_mean, self._value_mean = features.mean(axis=0), float(values.mean())
        centred = features - self._feature_mean
        self._eigenvalues, self._vectors = numpy.linalg.eigh(centred.T @ centred)
        self._target = self._vectors.T @ (centred.T @ (values - self._value_mean))

    def solve(self, strength: float) -> tuple[numpy.ndarray, float]:
        """Weights [D] and offset of the ridge regression with this strength."""
        weights = self._vectors @ (self._target / (numpy.clip(self._eigenvalues, 0, None) + strength))
        return weights, self._value_mean - float(self._feature_mean @ weights)
