"""Property control: what R2 against the request rewards and punishes, and over which requests each number is taken."""

import math

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.metrics.regression import pearson_r_squared, property_control, r_squared


def control(requested, obtained):
    return property_control("mol_wt", numpy.array(requested, dtype=float), numpy.array(obtained, dtype=float), rounds=200, seed=0)


def test_obeying_every_request_scores_one_with_no_error():
    scores = control([1, 2, 3, 4], [1, 2, 3, 4])
    assert (scores.r2.value, scores.pearson_r2, scores.mae.value, scores.success.value) == pytest.approx((1, 1, 0, 1))


def test_answering_the_mean_of_the_requests_scores_zero():
    assert r_squared(numpy.array([1.0, 2, 3]), numpy.array([2.0, 2, 2])) == 0.0


def test_a_constant_offset_lowers_r2_but_not_the_squared_correlation():
    scores = control([1, 2, 3, 4], [3, 4, 5, 6])
    assert scores.pearson_r2 == pytest.approx(1)
    assert scores.r2.value == pytest.approx(1 - 16 / 5)


def test_a_doubled_answer_is_perfectly_correlated_and_still_wrong():
    requested = numpy.array([1.0, 2, 3])
    assert pearson_r_squared(requested, 2 * requested) == pytest.approx(1)
    assert r_squared(requested, 2 * requested) == pytest.approx(1 - 14 / 2)


def test_invalid_molecules_lower_coverage_and_success_but_are_no_part_of_the_errors():
    scores = control([10, 20, 30, 40], [10, math.nan, 30, math.nan])
    assert (scores.coverage.successes, scores.coverage.trials) == (2, 4)
    assert (scores.success.successes, scores.success.trials) == (2, 4)
    assert (scores.mae.value, scores.mae.n, scores.r2.n) == (0, 2, 2)


def test_success_means_within_ten_percent_and_exact_for_a_request_of_nothing():
    scores = control([100, 100, 0, 0], [109.9, 111, 0, 0.01])
    assert scores.success.successes == 2


def test_errors_are_scaled_by_the_spread_of_all_requests():
    scores = control([0, 10], [1, 9])
    assert (scores.mae.value, scores.mae_over_sigma) == pytest.approx((1, 0.2))


def test_the_shuffled_control_of_an_obedient_model_is_far_below_its_score():
    requested = numpy.random.default_rng(0).normal(size=300)
    scores = control(requested, requested + 0.1)
    assert scores.r2.value > 0.9
    assert scores.shuffled_r2 == pytest.approx(-1, abs=0.3)


def test_a_model_that_does_not_listen_is_no_better_than_its_shuffled_control():
    random = numpy.random.default_rng(1)
    scores = control(random.normal(size=500), random.normal(size=500))
    assert scores.r2.value == pytest.approx(scores.shuffled_r2, abs=0.4)


def test_without_a_valid_molecule_there_are_denominators_and_no_scores():
    scores = control([1, 2, 3], [math.nan] * 3)
    assert (scores.coverage.value, scores.success.value, scores.r2.n) == (0, 0, 0)
    assert math.isnan(scores.r2.value)
    assert math.isnan(scores.mae.value)


def test_without_a_request_nothing_is_a_number():
    scores = control([], [])
    assert math.isnan(scores.coverage.value)
    assert math.isnan(scores.mae_over_sigma)


def test_equal_requests_have_no_r2_but_an_error():
    scores = control([5, 5, 5], [4, 5, 6])
    assert math.isnan(scores.r2.value)
    assert scores.mae.value == pytest.approx(2 / 3)


def test_a_request_that_is_not_a_number_is_an_error_that_names_the_property():
    with pytest.raises(ValueError, match="mol_wt"):
        control([1, math.nan], [1, 2])


@given(st.lists(st.tuples(st.integers(-99, 99), st.integers(-99, 99)), min_size=3, max_size=20), st.randoms(use_true_random=False))
def test_the_order_of_the_requests_does_not_change_the_scores(pairs, random):
    shuffled = list(pairs)
    random.shuffle(shuffled)
    one, other = control(*zip(*pairs, strict=True)), control(*zip(*shuffled, strict=True))
    assert (one.r2.value, one.mae.value, one.success) == pytest.approx((other.r2.value, other.mae.value, other.success), nan_ok=True)


@given(st.lists(st.tuples(st.integers(-99, 99), st.integers(-99, 99)), min_size=2, max_size=20))
def test_r2_never_exceeds_one_and_its_interval_is_ordered(pairs):
    scores = control(*zip(*pairs, strict=True))
    assert math.isnan(scores.r2.value) or scores.r2.value <= 1
    assert math.isnan(scores.r2.low) or scores.r2.low <= scores.r2.high <= 1
