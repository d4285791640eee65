"""Intervals: closed forms, and what must hold for any data."""

import math

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.metrics.intervals import JACKKNIFE_GROUPS, Rate, bootstrap_interval, jackknife_interval, mean_estimate, wilson_interval


def test_wilson_gives_the_textbook_interval_of_eight_in_ten():
    assert wilson_interval(8, 10) == pytest.approx((0.49016, 0.94332), abs=1e-5)


def test_wilson_of_no_success_begins_at_zero_and_does_not_end_there():
    low, high = wilson_interval(0, 20)
    assert low == 0.0
    assert high == pytest.approx(0.16113, abs=1e-5)


def test_wilson_of_nothing_tried_is_not_a_number():
    assert all(math.isnan(bound) for bound in wilson_interval(0, 0))


@given(st.integers(1, 500).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))))
def test_the_wilson_interval_holds_its_rate_and_stays_within_zero_and_one(case):
    rate = Rate(*case)
    assert 0 <= rate.low <= rate.value <= rate.high <= 1


@given(st.integers(1, 200).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))))
def test_the_wilson_interval_of_failures_mirrors_that_of_successes(case):
    successes, trials = case
    low, high = wilson_interval(successes, trials)
    assert wilson_interval(trials - successes, trials) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_a_rate_of_more_successes_than_trials_is_an_error_with_both_numbers():
    with pytest.raises(ValueError, match="found 3 of 2"):
        Rate(3, 2)


def test_the_bootstrap_interval_of_a_mean_is_about_two_standard_errors_wide():
    values = numpy.random.default_rng(1).normal(size=400)
    estimate = mean_estimate(values, rounds=2000, seed=0)
    standard_error = values.std() / 20
    assert estimate.high - estimate.low == pytest.approx(2 * 1.96 * standard_error, rel=0.1)
    assert estimate.low < estimate.value < estimate.high


def test_the_bootstrap_is_the_same_for_the_same_seed_and_another_for_another():
    values = numpy.arange(50.0)
    assert mean_estimate(values, rounds=200, seed=3) == mean_estimate(values, rounds=200, seed=3)
    assert mean_estimate(values, rounds=200, seed=3) != mean_estimate(values, rounds=200, seed=4)


@pytest.mark.parametrize(("n", "rounds"), [(0, 100), (1, 100), (5, 0)])
def test_a_bootstrap_without_samples_or_rounds_is_not_a_number(n, rounds):
    assert all(math.isnan(bound) for bound in bootstrap_interval(n, lambda picks: picks.mean(axis=1), rounds=rounds, seed=0))


def test_rounds_without_a_finite_value_are_left_out():
    low, high = bootstrap_interval(2, lambda picks: numpy.where(picks.sum(axis=1) == 1, 7.0, math.nan), rounds=100, seed=0)
    assert (low, high) == (7.0, 7.0)


def test_the_mean_of_nothing_is_not_a_number_of_zero_samples():
    estimate = mean_estimate(numpy.zeros(0), rounds=10, seed=0)
    assert estimate.n == 0
    assert math.isnan(estimate.value)


def test_the_jackknife_of_a_mean_gives_its_standard_error():
    values = numpy.random.default_rng(2).normal(size=JACKKNIFE_GROUPS)
    without = numpy.array([numpy.delete(values, index).mean() for index in range(JACKKNIFE_GROUPS)])
    low, high = jackknife_interval(values.mean(), without)
    standard_error = values.std(ddof=1) / math.sqrt(JACKKNIFE_GROUPS)
    assert (high - low) / 2 == pytest.approx(2.093 * standard_error, rel=1e-4)
