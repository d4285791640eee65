"""How far apart two distributions of one number are: the Wasserstein distance, in the unit of the number."""

import math

import numpy

from training.metrics.intervals import JACKKNIFE_GROUPS, Estimate, jackknife_interval


def wasserstein_distance(one: numpy.ndarray, other: numpy.ndarray) -> float:
    """The 1-Wasserstein distance of two samples [N] and [M]: the area between their distribution functions; NaN when either is empty.

    Source: Ramdas et al. 2017, Entropy 19:47, section 4. The number is that of scipy.stats, whose import would cost more than all its calls here.
    """
    if not len(one) or not len(other):
        return math.nan
    places = numpy.sort(numpy.concatenate([one, other]))
    shares = [numpy.searchsorted(numpy.sort(sample), places[:-1], side="right") / len(sample) for sample in (one, other)]
    return float(numpy.abs(shares[0] - shares[1]) @ numpy.diff(places))


def wasserstein_estimate(values: numpy.ndarray, reference: numpy.ndarray) -> Estimate:
    """The distance from `values` [N] to `reference` [M]; what is not finite is left out.

    Interval: grouped jackknife over `values`, `reference` held fixed. A bootstrap would add the noise of its own draws to every distance.
    """
    values, reference = (numbers[numpy.isfinite(numbers)] for numbers in (values, reference))
    value, n = wasserstein_distance(values, reference), len(values)
    if n < 2 * JACKKNIFE_GROUPS or not math.isfinite(value):
        return Estimate(value, n)
    groups = numpy.arange(n) % JACKKNIFE_GROUPS
    without = numpy.array([wasserstein_distance(values[groups != group], reference) for group in range(JACKKNIFE_GROUPS)])
    low, high = jackknife_interval(value, without)
    return Estimate(value, n, max(0.0, low), high)
