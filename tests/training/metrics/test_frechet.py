"""The Frechet distance: closed forms, and both ways to the trace of the root against scipy's matrix root."""

import numpy
import pytest

from training.metrics import frechet
from training.metrics.frechet import TooFewSamplesError, frechet_distance


def test_a_set_is_at_no_distance_from_itself():
    features = numpy.random.default_rng(0).normal(size=(40, 6))
    assert frechet_distance(features, features) == pytest.approx(0, abs=1e-9)


def test_a_shift_alone_costs_its_squared_length():
    features = numpy.random.default_rng(0).normal(size=(40, 3))
    assert frechet_distance(features, features + numpy.array([1.0, 2.0, 2.0])) == pytest.approx(9)


def test_a_scale_alone_costs_the_squared_difference_of_standard_deviations():
    features = numpy.random.default_rng(0).normal(size=(500, 1))
    assert frechet_distance(features, 3 * features) == pytest.approx(float((2 * features.std(ddof=1)) ** 2 + (2 * features.mean()) ** 2))


def test_it_does_not_matter_which_set_comes_first():
    random = numpy.random.default_rng(1)
    one, other = random.normal(size=(30, 5)), random.normal(size=(50, 5)) * 2
    assert frechet_distance(one, other) == pytest.approx(frechet_distance(other, one), rel=1e-9)


@pytest.mark.parametrize("samples", [20, 300])
def test_few_and_many_samples_agree_with_the_matrix_root_of_scipy(samples):
    linalg = pytest.importorskip("scipy.linalg", reason="scipy is not installed (extra: chem)")
    random = numpy.random.default_rng(2)
    one, other = random.normal(size=(samples, 12)), random.normal(size=(samples, 12)) @ random.normal(size=(12, 12)) + 1
    root = linalg.sqrtm(numpy.cov(one.T) @ numpy.cov(other.T)).real
    expected = ((one.mean(0) - other.mean(0)) ** 2).sum() + numpy.trace(numpy.cov(one.T) + numpy.cov(other.T) - 2 * root)
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-9)


def test_the_two_ways_to_the_trace_of_the_root_agree():
    random = numpy.random.default_rng(3)
    one, other = random.normal(size=(60, 10)), random.normal(size=(60, 10))
    assert frechet._trace_of_root_from_samples(one, other) == pytest.approx(frechet._trace_of_root_from_covariances(one, other), rel=1e-9)


def test_one_sample_is_too_few():
    with pytest.raises(TooFewSamplesError, match="found 1 and 5"):
        frechet_distance(numpy.zeros((1, 3)), numpy.zeros((5, 3)))
