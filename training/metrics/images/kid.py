"""Kernel Inception Distance and its kin: the squared maximum mean discrepancy of two sets of features under a cubic polynomial kernel.

Unbiased at any number of images, so it is the headline where there are few. Source: Binkowski et al. 2018, arXiv:1801.01401.
"""

import math
from dataclasses import dataclass

import numpy

SUBSETS, SUBSET_SIZE = 100, 1000
# Rows of the Gram matrix made at a time.
_BLOCK_ROWS = 2048

# For each subset, the indices of its fakes and of its reals.
Picks = list[tuple[numpy.ndarray, ...]]


@dataclass(frozen=True)
class KernelDistance:
    """The mean of the unbiased estimates over `subsets` draws of `subset_size` on each side, and their standard deviation (NaN of one)."""

    value: float
    spread: float
    subsets: int
    subset_size: int


def kernel_distance(
    fakes: numpy.ndarray, reals: numpy.ndarray, *, subsets: int = SUBSETS, subset_size: int = SUBSET_SIZE, seed: int = 0
) -> KernelDistance:
    """Over seeded subsets without replacement of features fakes [N, D] and reals [M, D]; the size is clipped to the smaller side.

    Where a subset is all there is on both sides, it is taken once: every draw would be the same.
    """
    size = min(subset_size, len(fakes), len(reals))
    if size == len(fakes) == len(reals):
        subsets = 1
    random = numpy.random.default_rng(seed)
    picks = [tuple(random.choice(len(side), size, replace=False) for side in (fakes, reals)) for _ in range(subsets)]
    # One Gram matrix of everything serves all subsets, and is less work than theirs unless they are a small part of it.
    is_whole_less_work = max(len(fakes), len(reals)) <= size * subsets**0.5
    estimates = (_from_whole if is_whole_less_work else _one_by_one)(fakes, reals, picks)
    spread = float(numpy.std(estimates, ddof=1)) if len(estimates) > 1 else math.nan
    return KernelDistance(float(numpy.mean(estimates)), spread, len(estimates), size)


def _one_by_one(fakes: numpy.ndarray, reals: numpy.ndarray, picks: Picks) -> list[float]:
    return [polynomial_mmd2(fakes[some_fakes], reals[some_reals]) for some_fakes, some_reals in picks]


def _from_whole(fakes: numpy.ndarray, reals: numpy.ndarray, picks: Picks) -> list[float]:
    """The same numbers up to rounding: with a subset as a vector m of zeros and ones, the sum of its kernels is m^T K m."""
    size = len(picks[0][0])
    if size < 2:
        raise ValueError(f"the kernel distance needs at least 2 samples on each side, found {len(fakes)} and {len(reals)}")
    sides = [side.astype(numpy.float64) for side in (fakes, reals)]
    masks = [numpy.zeros((len(picks), len(side))) for side in sides]
    for row, pick in enumerate(picks):
        for mask, chosen in zip(masks, pick, strict=True):
            mask[row, chosen] = 1
    # The three sums of the unbiased estimate (Gretton et al. 2012, eq. 3): across, and within each side without pairs of an image with itself.
    estimates = -2 / size**2 * _masked_sums(*sides, *masks)
    for side, mask in zip(sides, masks, strict=True):
        with_oneself = mask @ _kernel((side**2).sum(axis=1), side.shape[1])
        estimates += (_masked_sums(side, side, mask, mask) - with_oneself) / (size * (size - 1))
    return [float(estimate) for estimate in estimates]


def _masked_sums(one: numpy.ndarray, other: numpy.ndarray, one_masks: numpy.ndarray, other_masks: numpy.ndarray) -> numpy.ndarray:
    """[subsets]: for each, the sum of the kernel over the chosen of `one` and the chosen of `other`."""
    sums = numpy.zeros(len(one_masks))
    for start in range(0, len(one), _BLOCK_ROWS):
        rows = slice(start, start + _BLOCK_ROWS)
        sums += ((one_masks[:, rows] @ _kernel(one[rows] @ other.T, one.shape[1])) * other_masks).sum(axis=1)
    return sums


def polynomial_mmd2(one: numpy.ndarray, other: numpy.ndarray) -> float:
    """The unbiased estimate over all pairs of one [N, D] and other [M, D], with k(x, y) = (x·y / D + 1)³; may be below zero."""
    if len(one) < 2 or len(other) < 2:
        raise ValueError(f"the kernel distance needs at least 2 samples on each side, found {len(one)} and {len(other)}")
    one, other = one.astype(numpy.float64), other.astype(numpy.float64)
    within = sum(
        (_kernel_sum(side, side) - float(_kernel((side**2).sum(axis=1), side.shape[1]).sum())) / (len(side) * (len(side) - 1))
        for side in (one, other)
    )
    return within - 2 * _kernel_sum(one, other) / (len(one) * len(other))


def _kernel_sum(one: numpy.ndarray, other: numpy.ndarray) -> float:
    blocks = (one[start : start + _BLOCK_ROWS] @ other.T for start in range(0, len(one), _BLOCK_ROWS))
    return math.fsum(float(_kernel(block, one.shape[1]).sum()) for block in blocks)


def _kernel(products: numpy.ndarray, dimension: int) -> numpy.ndarray:
    return (products / dimension + 1) ** 3
