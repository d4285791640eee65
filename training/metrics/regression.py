"""How well generated molecules obey a requested property: R2 against the request, errors, hits and coverage, each with its denominator.

Works on arrays of requested and obtained values and knows no chemistry; an invalid molecule is a NaN among the obtained values.
"""

import math
from dataclasses import dataclass

import numpy

from training.metrics.intervals import Estimate, Rate, bootstrap_interval

# success@10 %: the obtained value lies within this share of the requested one.
SUCCESS_TOLERANCE = 0.10


@dataclass(frozen=True)
class PropertyControl:
    """One property over all requests. Unless said otherwise a number is over the requests whose molecule is valid (`coverage.successes`).

    coverage: valid of all requests. r2: 1 - SS_res / SS_tot against the requested value, in (-inf, 1].
    pearson_r2: squared correlation, in [0, 1]; blind to offset and scale, printed only beside r2.
    mae: in the property's unit. mae_over_sigma: mae over the standard deviation of the requests.
    success: within 10 % of the requested value (exact for a request of 0), of all requests: invalid molecules are misses.
    shuffled_r2: r2 after the requests were dealt out at random; a model that listens is far above it.
    """

    name: str
    coverage: Rate
    r2: Estimate
    pearson_r2: float
    mae: Estimate
    mae_over_sigma: float
    success: Rate
    shuffled_r2: float


def property_control(name: str, requested: numpy.ndarray, obtained: numpy.ndarray, *, rounds: int, seed: int) -> PropertyControl:
    """Score one property.

    requested: [N] finite. obtained: [N], NaN where the molecule is invalid or has no such value. rounds, seed: of the bootstrap and the shuffle.
    """
    requested, obtained = numpy.asarray(requested, dtype=numpy.float64), numpy.asarray(obtained, dtype=numpy.float64)
    if requested.shape != obtained.shape or requested.ndim != 1 or not numpy.isfinite(requested).all():
        raise ValueError(f"{name}: needs as many finite requests as obtained values, found shapes {requested.shape} and {obtained.shape}")
    # Errors are over valid molecules; success and coverage count an invalid one as a miss, so that refusing hard requests pays nothing.
    is_valid = numpy.isfinite(obtained)
    asked, got = requested[is_valid], obtained[is_valid]
    errors = numpy.abs(got - asked)
    sigma = float(requested.std()) if len(requested) else math.nan
    mae = float(errors.mean()) if len(errors) else math.nan
    # The control: the same answers to the same requests dealt out at random.
    shuffled = numpy.random.default_rng(seed).permutation(asked)
    return PropertyControl(
        name=name,
        coverage=Rate(int(is_valid.sum()), len(requested)),
        r2=r_squared_estimate(asked, got, rounds=rounds, seed=seed),
        pearson_r2=pearson_r_squared(asked, got),
        mae=Estimate(mae, len(asked), *bootstrap_interval(len(errors), lambda picks: errors[picks].mean(axis=1), rounds=rounds, seed=seed)),
        mae_over_sigma=mae / sigma if sigma > 0 else math.nan,
        success=Rate(int((errors <= SUCCESS_TOLERANCE * numpy.abs(asked)).sum()), len(requested)),
        shuffled_r2=r_squared(shuffled, got),
    )


def r_squared(requested: numpy.ndarray, obtained: numpy.ndarray) -> float:
    """1 - SS_res / SS_tot with the requested values as the truth; NaN for fewer than two values or requests that are all equal."""
    return float(_r_squared_rows(requested[None], obtained[None])[0]) if len(requested) > 1 else math.nan


def pearson_r_squared(requested: numpy.ndarray, obtained: numpy.ndarray) -> float:
    """The squared Pearson correlation; NaN for fewer than two values or where one side is constant."""
    if len(requested) < 2 or requested.std() == 0 or obtained.std() == 0:
        return math.nan
    return float(numpy.corrcoef(requested, obtained)[0, 1] ** 2)


def r_squared_estimate(requested: numpy.ndarray, obtained: numpy.ndarray, *, rounds: int, seed: int) -> Estimate:
    """`r_squared` with its bootstrap interval over the pairs."""
    low, high = bootstrap_interval(len(requested), lambda picks: _r_squared_rows(requested[picks], obtained[picks]), rounds=rounds, seed=seed)
    return Estimate(r_squared(requested, obtained), len(requested), low, high)


def _r_squared_rows(requested: numpy.ndarray, obtained: numpy.ndarray) -> numpy.ndarray:
    """[R] from two [R, n]; NaN where the requests of a row are all equal."""
    residual = ((requested - obtained) ** 2).sum(axis=1)
    total = ((requested - requested.mean(axis=1, keepdims=True)) ** 2).sum(axis=1)
    return numpy.where(total > 0, 1 - residual / numpy.where(total > 0, total, 1), math.nan)
