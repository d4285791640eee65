"""Distances in blocks against distances one by one."""

import numpy
import pytest

pytest.importorskip("torch", reason="torch is not installed (extra: model)")

from training.metrics.images import neighbours
from training.metrics.images.neighbours import distance_blocks, neighbour_distances


def one_by_one(one, other):
    return numpy.array([[numpy.sqrt(((a.astype(float) - b.astype(float)) ** 2).sum()) for b in other] for a in one])


def features(count, seed, offset=0.0):
    return (numpy.random.default_rng(seed).normal(size=(count, 7)) + offset).astype(numpy.float32)


@pytest.mark.parametrize("block_numbers", [1, 50, 16_000_000])
def test_blocks_are_the_rows_of_the_whole_in_order(monkeypatch, block_numbers):
    monkeypatch.setattr(neighbours, "_BLOCK_NUMBERS", block_numbers)
    one, other = features(11, 0), features(13, 1)
    blocks = list(distance_blocks(one, other))
    assert [start for start, _ in blocks] == list(numpy.cumsum([0] + [len(block) for _, block in blocks[:-1]]))
    assert numpy.allclose(numpy.concatenate([block for _, block in blocks]), one_by_one(one, other), atol=1e-5)


def test_features_far_from_the_origin_lose_no_digits():
    one, other = features(6, 0, offset=1000), features(6, 1, offset=1000)
    assert numpy.allclose(next(distance_blocks(one, other))[1], one_by_one(one, other), rtol=1e-4)


def test_neighbours_leave_out_oneself_but_not_one_s_twin():
    twins = numpy.array([[0.0, 0], [0, 0], [3, 4]], dtype=numpy.float32)
    assert neighbour_distances(twins, 2) == pytest.approx(numpy.array([[0, 5], [0, 5], [5, 5]]), abs=1e-3)


def test_where_there_are_too_few_neighbours_the_rest_is_infinite():
    assert numpy.isinf(neighbour_distances(features(2, 0), 3)).tolist() == [[False, True, True]] * 2
