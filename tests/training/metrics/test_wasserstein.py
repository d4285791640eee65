"""The Wasserstein distance of one number in two sets: the laws of it, and the number of scipy."""

import math

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

scipy_stats = pytest.importorskip("scipy.stats", reason="scipy is not installed (extra: chem)")

from training.metrics.wasserstein import wasserstein_distance, wasserstein_estimate

SAMPLES = st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=30).map(numpy.array)


@given(SAMPLES, SAMPLES)
def test_the_distance_is_that_of_scipy(one, other):
    assert wasserstein_distance(one, other) == pytest.approx(scipy_stats.wasserstein_distance(one, other), rel=1e-12, abs=1e-9)


@given(SAMPLES, st.floats(-100, 100))
def test_a_set_that_was_moved_is_as_far_away_as_it_was_moved(sample, step):
    assert wasserstein_distance(sample, sample + step) == pytest.approx(abs(step), abs=1e-9)


@given(SAMPLES)
def test_a_set_is_at_no_distance_from_itself_however_often_it_is_repeated(sample):
    assert wasserstein_distance(sample, numpy.repeat(sample, 3)) == pytest.approx(0, abs=1e-9)


def test_nothing_is_at_no_known_distance():
    assert math.isnan(wasserstein_distance(numpy.zeros(0), numpy.ones(3)))


def test_what_is_not_a_number_is_left_out_and_the_denominator_says_so():
    estimate = wasserstein_estimate(numpy.array([1.0, math.nan, 3.0]), numpy.array([0.0, math.nan]))
    assert (estimate.value, estimate.n) == (2.0, 2)
    assert math.isnan(estimate.low)


def test_the_interval_holds_the_distance_of_the_whole_and_is_never_negative():
    draw = numpy.random.default_rng(0)
    near = wasserstein_estimate(draw.normal(size=400), draw.normal(size=4_000))
    far = wasserstein_estimate(draw.normal(1.0, size=400), draw.normal(size=4_000))
    assert near.low >= 0
    assert far.low < 1.0 < far.high
    assert far.low > near.high
