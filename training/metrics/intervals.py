"""How sure a number is: Wilson intervals for rates, seeded bootstrap intervals for everything that is an average over samples."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy

# The two-sided 95 % point of the normal distribution.
Z_95 = 1.959963984540054

# One bootstrap block of resampled indices stays below this many numbers (32 MiB of int64).
_BLOCK_NUMBERS = 4_000_000

# Of a grouped jackknife: enough groups for a stable variance, few enough to be cheap.
JACKKNIFE_GROUPS = 20
# The two-sided 95 % point of Student's t with JACKKNIFE_GROUPS - 1 degrees of freedom.
_T_95 = 2.093024054408263


@dataclass(frozen=True)
class Rate:
    """A share of trials that succeeded, e.g. valid molecules of all generated ones. NaN without a trial."""

    successes: int
    trials: int

    def __post_init__(self) -> None:
        if not 0 <= self.successes <= self.trials:
            raise ValueError(f"a rate needs 0 <= successes <= trials, found {self.successes} of {self.trials}")

    @property
    def value(self) -> float:
        return self.successes / self.trials if self.trials else math.nan

    @property
    def n(self) -> int:
        return self.trials

    @property
    def low(self) -> float:
        return wilson_interval(self.successes, self.trials)[0]

    @property
    def high(self) -> float:
        return wilson_interval(self.successes, self.trials)[1]


@dataclass(frozen=True)
class Estimate:
    """A number made from `n` samples with its 95 % interval; value, low and high are NaN where they cannot be known."""

    value: float
    n: int
    low: float = math.nan
    high: float = math.nan


@dataclass(frozen=True)
class Spread:
    """The mean of a number over several draws of the same samples, and its standard deviation over them (NaN of one)."""

    value: float
    sd: float


Number = float | Rate | Estimate | Spread


def value_of(number: Number) -> float:
    """The number without what qualifies it."""
    return number if isinstance(number, int | float) else number.value


def wilson_interval(successes: int, trials: int, *, z: float = Z_95) -> tuple[float, float]:
    """The Wilson score interval of a rate, in [0, 1]; (NaN, NaN) without a trial. Source: Wilson 1927, J. Am. Stat. Assoc. 22:209."""
    if trials == 0:
        return math.nan, math.nan
    rate = successes / trials
    centre = rate + z * z / (2 * trials)
    half_width = z * math.sqrt(rate * (1 - rate) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    # At the ends the exact bound is 0 or 1; the formula misses it by a rounding error.
    low = 0.0 if successes == 0 else (centre - half_width) / scale
    high = 1.0 if successes == trials else (centre + half_width) / scale
    return low, high


def bootstrap_interval(n: int, statistic: Callable[[numpy.ndarray], numpy.ndarray], *, rounds: int, seed: int) -> tuple[float, float]:
    """The 95 % percentile interval of a statistic over `n` samples drawn again with replacement.

    statistic: takes indices [R, n] into the samples and gives [R] values; rounds whose value is not finite are left out.
    Returns (NaN, NaN) for fewer than two samples, no rounds, or no finite value. Source: Efron 1979, Ann. Stat. 7:1.
    """
    if n < 2 or rounds < 1:
        return math.nan, math.nan
    # Many rounds at a time, as few as memory asks for; the numbers drawn are the same however they are cut.
    random = numpy.random.default_rng(seed)
    block_rounds = max(1, _BLOCK_NUMBERS // n)
    values = numpy.concatenate(
        [statistic(random.integers(0, n, size=(min(block_rounds, rounds - start), n))) for start in range(0, rounds, block_rounds)]
    )
    values = values[numpy.isfinite(values)]
    if not len(values):
        return math.nan, math.nan
    # The percentile interval: the middle 95 % of what the statistic was.
    low, high = numpy.percentile(values, [2.5, 97.5])
    return float(low), float(high)


def mean_estimate(values: numpy.ndarray, *, rounds: int, seed: int) -> Estimate:
    """The mean of `values` [N] with its bootstrap interval; NaN of none."""
    if not len(values):
        return Estimate(math.nan, 0)
    low, high = bootstrap_interval(len(values), lambda picks: values[picks].mean(axis=1), rounds=rounds, seed=seed)
    return Estimate(float(values.mean()), len(values), low, high)


def jackknife_interval(value: float, without_group: numpy.ndarray) -> tuple[float, float]:
    """The 95 % interval of a statistic from its values with each of G groups of samples left out.

    without_group: [G] with G = JACKKNIFE_GROUPS. For statistics over pairs, where resampling a molecule twice would add false twins.
    Source: Shao and Tu 1995, "The Jackknife and Bootstrap", the grouped (delete-d) jackknife.
    """
    groups = len(without_group)
    if groups != JACKKNIFE_GROUPS or not numpy.isfinite(without_group).all():
        return math.nan, math.nan
    # The variance of the jackknife with G groups left out in turn, and Student's t with G - 1 degrees of freedom.
    variance = (groups - 1) / groups * float(((without_group - without_group.mean()) ** 2).sum())
    half_width = _T_95 * math.sqrt(variance)
    return value - half_width, value + half_width
