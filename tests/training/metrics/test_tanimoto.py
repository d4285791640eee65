"""Similarities of fingerprints: closed forms, laws, and a pair-by-pair computation written separately."""

import math

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from training.metrics import tanimoto
from training.metrics.tanimoto import internal_diversity, nearest_similarities, nearest_similarity

FINGERPRINTS = st.integers(1, 12).flatmap(lambda n: arrays(numpy.uint8, (n, 16), elements=st.integers(0, 1)))


def similarity_of_pair(one, other):
    union = int(numpy.logical_or(one, other).sum())
    return int(numpy.logical_and(one, other).sum()) / union if union else 1.0


def similarity_matrix(rows, columns):
    return numpy.array([[similarity_of_pair(row, column) for column in columns] for row in rows])


def test_a_set_of_copies_has_no_diversity():
    copies = numpy.ones((30, 8), dtype=numpy.uint8)
    assert [estimate.value for estimate in internal_diversity(copies).values()] == [0.0, 0.0]


def test_two_molecules_without_a_common_bit_are_half_diverse_because_the_diagonal_counts():
    apart = numpy.eye(2, dtype=numpy.uint8)
    diversity = internal_diversity(apart)
    assert diversity[1].value == pytest.approx(0.5)
    assert diversity[2].value == pytest.approx(1 - math.sqrt(0.5))


@given(FINGERPRINTS)
def test_internal_diversity_is_the_mean_over_rows_of_a_matrix_made_pair_by_pair(fingerprints):
    matrix = similarity_matrix(fingerprints, fingerprints)
    for power, estimate in internal_diversity(fingerprints).items():
        assert estimate.value == pytest.approx(1 - ((matrix**power).mean(axis=1) ** (1 / power)).mean(), abs=1e-6)


@given(FINGERPRINTS, FINGERPRINTS)
def test_the_nearest_similarity_is_the_largest_of_a_row_made_pair_by_pair(fingerprints, reference):
    assert nearest_similarities(fingerprints, reference) == pytest.approx(similarity_matrix(fingerprints, reference).max(axis=1), abs=1e-6)


@given(FINGERPRINTS)
def test_every_molecule_is_its_own_nearest_neighbour(fingerprints):
    assert nearest_similarity(fingerprints, fingerprints, rounds=0, seed=0).value == 1.0


@given(FINGERPRINTS, st.randoms(use_true_random=False))
def test_the_order_of_the_molecules_does_not_change_their_diversity(fingerprints, random):
    order = list(range(len(fingerprints)))
    random.shuffle(order)
    assert internal_diversity(fingerprints[order])[2].value == pytest.approx(internal_diversity(fingerprints)[2].value, abs=1e-6)


def test_the_size_of_the_blocks_does_not_change_the_numbers(monkeypatch):
    fingerprints = numpy.random.default_rng(0).integers(0, 2, size=(50, 32), dtype=numpy.uint8)
    whole = internal_diversity(fingerprints), nearest_similarities(fingerprints, fingerprints[:20])
    monkeypatch.setattr(tanimoto, "_BLOCK_ROWS", 7)
    blocked = internal_diversity(fingerprints), nearest_similarities(fingerprints, fingerprints[:20])
    assert blocked[0][1].value == pytest.approx(whole[0][1].value, abs=1e-7)
    assert blocked[0][2].low == pytest.approx(whole[0][2].low, abs=1e-6)
    assert blocked[1] == pytest.approx(whole[1])


def test_the_interval_of_diversity_covers_what_other_draws_of_the_same_source_give():
    random = numpy.random.default_rng(5)
    values = [internal_diversity((random.random((200, 64)) < random.random((200, 1))).astype(numpy.uint8)) for _ in range(30)]
    truth = numpy.mean([value[1].value for value in values])
    covered = sum(value[1].low <= truth <= value[1].high for value in values)
    assert covered >= 25


def test_an_empty_set_has_a_diversity_and_a_nearest_similarity_that_are_not_numbers():
    empty, some = numpy.zeros((0, 8), dtype=numpy.uint8), numpy.ones((3, 8), dtype=numpy.uint8)
    assert math.isnan(internal_diversity(empty)[1].value)
    assert math.isnan(nearest_similarity(empty, some, rounds=10, seed=0).value)
    assert math.isnan(nearest_similarity(some, empty, rounds=10, seed=0).value)
