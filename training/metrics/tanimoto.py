"""Tanimoto similarities of many bit fingerprints at once: how alike the members of a set are, and how near they are to another set.

Fingerprints are matrices [N, bits] of 0 and 1, uint8. Similarities are computed block by block, so memory does not grow with N * N.
Common bits are counted by a float32 matrix product: exact, because counts stay far below 2**24, and faster than popcounts.
"""

import math
from collections.abc import Iterable, Iterator, Sequence

import numpy

from training.metrics.intervals import JACKKNIFE_GROUPS, Estimate, jackknife_interval, mean_estimate

_BLOCK_ROWS = 1000


def internal_diversity(fingerprints: numpy.ndarray, *, powers: Sequence[int] = (1, 2)) -> dict[int, Estimate]:
    """IntDiv_p of the set, in [0, 1], for each p: 1 - mean over x of (mean over y of T(x, y)^p)^(1/p), pairs of x with itself included.

    The diagonal and the mean of roots are what the code of MOSES computes (Polykovskiy et al. 2020, Front. Pharmacol. 11:565644);
    for p = 2 the paper's formula, the root of the overall mean, is another number. Intervals: grouped jackknife.
    All powers share one pass over the upper triangle of the matrix.
    """
    n = len(fingerprints)
    if n == 0:
        return {power: Estimate(math.nan, 0) for power in powers}
    groups = numpy.arange(n) % JACKKNIFE_GROUPS
    sums = _similarity_sums(fingerprints, groups, powers)
    return {power: _diversity_estimate(sums[power], groups, power) for power in powers}


def nearest_similarity(fingerprints: numpy.ndarray, reference: numpy.ndarray, *, rounds: int, seed: int) -> Estimate:
    """SNN: the mean over the set of the similarity to the nearest member of `reference`, in [0, 1]; NaN when either is empty.

    Source: MOSES. Interval: bootstrap over the set, the reference held fixed.
    """
    return mean_estimate(nearest_similarities(fingerprints, reference), rounds=rounds, seed=seed)


def nearest_similarities(fingerprints: numpy.ndarray, reference: numpy.ndarray) -> numpy.ndarray:
    """[N] float64: for each row the largest Tanimoto similarity to a row of `reference`; [0] when either is empty."""
    return nearest_rows(fingerprints, [reference])[0]


def nearest_rows(fingerprints: numpy.ndarray, reference: Iterable[numpy.ndarray]) -> tuple[numpy.ndarray, numpy.ndarray]:
    """For each row its largest similarity [N] float64 to a row of `reference`, and which row that is [N], the first of equal ones.

    reference: its rows in parts, each of which is held in memory by itself. Both results are [0] when either side is empty.
    """
    ours = list(_blocks(fingerprints))
    nearest = numpy.full(len(fingerprints), -1, dtype=numpy.float32)
    place = numpy.zeros(len(fingerprints), dtype=numpy.int64)
    passed = 0
    for part in reference:
        for their_start, their_rows, their_bits in _blocks(part):
            for start, rows, bits in ours:
                similarity = _similarities(rows, bits, their_rows, their_bits)
                best = similarity.argmax(axis=1)
                value = similarity[numpy.arange(len(rows)), best]
                is_nearer = value > nearest[start : start + len(rows)]
                nearest[start : start + len(rows)][is_nearer] = value[is_nearer]
                place[start : start + len(rows)][is_nearer] = passed + their_start + best[is_nearer]
        passed += len(part)
    if not passed:
        return numpy.zeros(0), place[:0]
    return nearest.astype(numpy.float64), place


def _similarity_sums(fingerprints: numpy.ndarray, groups: numpy.ndarray, powers: Sequence[int]) -> dict[int, numpy.ndarray]:
    """By power p: [N, G] float64, the sum of T(x, y)^p over the members y of each group."""
    n = len(fingerprints)
    membership = numpy.eye(JACKKNIFE_GROUPS, dtype=numpy.float32)[groups]
    sums = {power: numpy.zeros((n, JACKKNIFE_GROUPS)) for power in powers}
    blocks = list(_blocks(fingerprints))
    # The matrix is symmetric: each block above the diagonal serves its rows, and turned over those of the block below.
    for index, (row_start, rows, row_bits) in enumerate(blocks):
        row_slice = slice(row_start, row_start + len(rows))
        for column_start, columns, column_bits in blocks[index:]:
            column_slice = slice(column_start, column_start + len(columns))
            similarity = _similarities(rows, row_bits, columns, column_bits)
            for power in powers:
                raised = similarity if power == 1 else similarity**power
                sums[power][row_slice] += raised @ membership[column_slice]
                if column_start != row_start:
                    sums[power][column_slice] += raised.T @ membership[row_slice]
    return sums


def _diversity_estimate(sums: numpy.ndarray, groups: numpy.ndarray, power: int) -> Estimate:
    """IntDiv_p from the group sums [N, G], and again without each group for the interval."""
    n = len(sums)
    totals = sums.sum(axis=1)
    value = 1.0 - float(((totals / n) ** (1 / power)).mean())
    if n < 2 * JACKKNIFE_GROUPS:
        return Estimate(value, n)
    without = numpy.empty(JACKKNIFE_GROUPS)
    for group in range(JACKKNIFE_GROUPS):
        kept = groups != group
        without[group] = 1.0 - float((((totals - sums[:, group])[kept] / kept.sum()) ** (1 / power)).mean())
    return Estimate(value, n, *jackknife_interval(value, without))


def _similarities(rows: numpy.ndarray, row_bits: numpy.ndarray, columns: numpy.ndarray, column_bits: numpy.ndarray) -> numpy.ndarray:
    """[N, M] float32 Tanimoto similarities; 1 for two empty fingerprints, as in MOSES."""
    common = rows @ columns.T
    union = row_bits[:, None] + column_bits[None, :] - common
    both_empty = union == 0
    union[both_empty] = 1
    similarity = numpy.divide(common, union, out=common)
    similarity[both_empty] = 1
    return similarity


def _blocks(fingerprints: numpy.ndarray) -> Iterator[tuple[int, numpy.ndarray, numpy.ndarray]]:
    """(index of the first, fingerprints as float32, how many bits each has) of a few at a time."""
    for start in range(0, len(fingerprints), _BLOCK_ROWS):
        block = fingerprints[start : start + _BLOCK_ROWS]
        yield start, block.astype(numpy.float32), block.sum(axis=1, dtype=numpy.float32)
