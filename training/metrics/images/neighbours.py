"""Euclidean distances between many feature vectors, in float32 blocks that fit into memory."""

from collections.abc import Iterator

import numpy

# Numbers in one block of distances (64 MiB of float32).
_BLOCK_NUMBERS = 16_000_000


def distance_blocks(one: numpy.ndarray, other: numpy.ndarray) -> Iterator[tuple[int, numpy.ndarray]]:
    """(first row, distances [rows, M]) over features one [N, D] and other [M, D], in order; a block may be written to."""
    # Distances do not change when both are moved, and the products below lose less when the vectors are short.
    centre = other.mean(axis=0, dtype=numpy.float64)
    one, other = ((side - centre).astype(numpy.float32) for side in (one, other))
    lengths = (other**2).sum(axis=1)
    rows = max(1, _BLOCK_NUMBERS // max(1, len(other)))
    for start in range(0, len(one), rows):
        block = one[start : start + rows]
        squared = (block**2).sum(axis=1)[:, None] + lengths - 2 * (block @ other.T)
        yield start, numpy.sqrt(numpy.maximum(squared, 0, out=squared), out=squared)


def neighbour_distances(features: numpy.ndarray, k: int) -> numpy.ndarray:
    """The distance of each of features [N, D] to its 1st … k-th nearest other one: [N, k], ascending; infinite where there are not so many."""
    nearest = numpy.full((len(features), k), numpy.inf, dtype=numpy.float32)
    found = min(k, len(features) - 1)
    for start, block in distance_blocks(features, features):
        rows = numpy.arange(len(block))
        block[rows, start + rows] = numpy.inf
        if found:
            nearest[start : start + len(block), :found] = numpy.sort(numpy.partition(block, found - 1, axis=1)[:, :found], axis=1)
    return nearest
