"""The kernel distance: against sums written out pair by pair, and what unbiased means."""

import math

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("torch", reason="torch is not installed (extra: model)")

from training.metrics.images import kid
from training.metrics.images.kid import kernel_distance, polynomial_mmd2


def features(count, dimension, seed, shift=0.0):
    return numpy.random.default_rng(seed).normal(size=(count, dimension)).astype(numpy.float32) + numpy.float32(shift)


def pair_by_pair(one, other):
    def kernel(x, y):
        return (math.fsum(float(a) * float(b) for a, b in zip(x, y, strict=True)) / len(x) + 1) ** 3

    def within(side):
        return math.fsum(kernel(x, y) for i, x in enumerate(side) for j, y in enumerate(side) if i != j) / (len(side) * (len(side) - 1))

    across = math.fsum(kernel(x, y) for x in one for y in other) / (len(one) * len(other))
    return within(one) + within(other) - 2 * across


@given(st.integers(2, 9), st.integers(2, 9), st.integers(1, 6), st.integers(0, 1000))
def test_it_is_the_sum_over_all_pairs_of_different_ones(n, m, dimension, seed):
    one, other = features(n, dimension, seed), features(m, dimension, seed + 1, shift=0.5)
    assert polynomial_mmd2(one, other) == pytest.approx(pair_by_pair(one, other), rel=1e-9, abs=1e-9)


def test_it_agrees_with_scikit_learn_s_kernel():
    metrics = pytest.importorskip("sklearn.metrics.pairwise", reason="scikit-learn is not installed")
    one, other = features(40, 16, 0).astype(float), features(60, 16, 1, shift=0.3).astype(float)
    within = [metrics.polynomial_kernel(side, degree=3, gamma=1 / 16, coef0=1) for side in (one, other)]
    expected = sum((gram.sum() - numpy.trace(gram)) / (len(gram) * (len(gram) - 1)) for gram in within)
    expected -= 2 * metrics.polynomial_kernel(one, other, degree=3, gamma=1 / 16, coef0=1).mean()
    assert polynomial_mmd2(one, other) == pytest.approx(float(expected), rel=1e-9)


def test_between_two_samples_of_one_distribution_it_is_zero_on_average_and_below_zero_at_times():
    estimates = [polynomial_mmd2(features(30, 4, 2 * seed), features(30, 4, 2 * seed + 1)) for seed in range(300)]
    assert abs(numpy.mean(estimates)) < 3 * numpy.std(estimates) / len(estimates) ** 0.5
    assert min(estimates) < 0


def test_blocks_of_rows_add_up_to_the_whole(monkeypatch):
    one, other = features(23, 5, 0), features(17, 5, 1)
    whole = polynomial_mmd2(one, other)
    monkeypatch.setattr(kid, "_BLOCK_ROWS", 4)
    assert polynomial_mmd2(one, other) == pytest.approx(whole, rel=1e-12)


def test_subsets_are_clipped_to_the_smaller_side_and_drawn_by_the_seed():
    one, other = features(50, 4, 0), features(80, 4, 1, shift=1)
    found = kernel_distance(one, other, subsets=10, subset_size=1000, seed=3)
    assert (found.subset_size, found.subsets) == (50, 10)
    assert found == kernel_distance(one, other, subsets=10, subset_size=1000, seed=3)
    assert found != kernel_distance(one, other, subsets=10, subset_size=1000, seed=4)
    assert found.spread > 0


@pytest.mark.parametrize("block_rows", [7, 2048])
def test_one_gram_matrix_for_all_subsets_gives_the_numbers_of_each_by_itself(monkeypatch, block_rows):
    monkeypatch.setattr(kid, "_BLOCK_ROWS", block_rows)
    one, other = features(30, 4, 0), features(45, 4, 1, shift=1)
    random = numpy.random.default_rng(0)
    picks = [(random.choice(30, 12, replace=False), random.choice(45, 12, replace=False)) for _ in range(9)]
    assert kid._from_whole(one, other, picks) == pytest.approx(kid._one_by_one(one, other, picks), rel=1e-9)


@pytest.mark.parametrize(("subset_size", "way"), [(10, "_from_whole"), (4, "_one_by_one")])
def test_the_way_with_less_work_is_taken(monkeypatch, subset_size, way):
    taken = []
    monkeypatch.setattr(kid, way, lambda *arguments: taken.append(way) or [0.0, 0.0])
    kernel_distance(features(30, 4, 0), features(40, 4, 1), subsets=16, subset_size=subset_size)
    assert taken == [way]


def test_when_a_subset_is_all_there_is_it_is_taken_once():
    one, other = features(50, 4, 0), features(50, 4, 1, shift=1)
    found = kernel_distance(one, other, subsets=10)
    assert found.subsets == 1
    assert math.isnan(found.spread)
    assert found.value == pytest.approx(polynomial_mmd2(one, other), rel=1e-9)


def test_subsets_scatter_around_the_whole():
    one, other = features(400, 4, 0), features(400, 4, 1, shift=0.5)
    found = kernel_distance(one, other, subsets=60, subset_size=100)
    assert abs(found.value - polynomial_mmd2(one, other)) < 4 * found.spread / 60**0.5


def test_one_sample_makes_no_pair():
    with pytest.raises(ValueError, match="found 1 and 5"):
        polynomial_mmd2(features(1, 3, 0), features(5, 3, 1))
