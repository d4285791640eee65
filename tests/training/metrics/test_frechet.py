"""The Frechet distance: closed forms, and both ways to the trace of the root against scipy's matrix root."""

import numpy
import pytest

from training.metrics import frechet
from training.metrics.frechet import frechet_distance


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


@pytest.mark.parametrize(("n", "m"), [(8, 40), (40, 8), (8, 8), (40, 40)])
def test_any_mixture_of_few_and_many_samples_agrees_with_the_matrix_root_of_scipy(n, m):
    linalg = pytest.importorskip("scipy.linalg", reason="scipy is not installed (extra: chem)")
    random = numpy.random.default_rng(4)
    one, other = random.normal(size=(n, 12)), random.normal(size=(m, 12)) @ random.normal(size=(12, 12)) + 1
    product = numpy.cov(one.T) @ numpy.cov(other.T)
    # A hair of noise on the diagonal lets scipy take the root of a singular product.
    root = linalg.sqrtm(product + 1e-12 * numpy.eye(12)).real
    expected = ((one.mean(0) - other.mean(0)) ** 2).sum() + numpy.trace(numpy.cov(one.T) + numpy.cov(other.T) - 2 * root)
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-4)


def test_two_known_gaussians_are_as_far_apart_as_the_formula_says():
    """Samples whose mean and covariance are exactly those asked for: diagonal covariances, so the root is that of the entries."""
    variances_one, variances_other = numpy.array([1.0, 4.0, 9.0]), numpy.array([4.0, 1.0, 0.25])
    whitened = numpy.random.default_rng(5).normal(size=(50, 3))
    whitened = (whitened - whitened.mean(0)) @ numpy.linalg.inv(numpy.linalg.cholesky(numpy.cov(whitened.T)).T)
    one, other = whitened * numpy.sqrt(variances_one), whitened[::-1] * numpy.sqrt(variances_other) + numpy.array([3.0, 0.0, 4.0])
    expected = 25 + ((numpy.sqrt(variances_one) - numpy.sqrt(variances_other)) ** 2).sum()
    assert frechet_distance(one, other) == pytest.approx(float(expected), rel=1e-9)


def test_a_singular_covariance_of_many_samples_is_no_obstacle():
    """Two columns are the same, as with images whose features never fire: there is no Cholesky factor."""
    random = numpy.random.default_rng(6)
    one, other = random.normal(size=(90, 4)), 2 * random.normal(size=(90, 4))
    doubled = frechet_distance(one[:, [0, 1, 2, 3, 3, 3]], other[:, [0, 1, 2, 3, 3, 3]])
    # Three equal columns are one column that is sqrt(3) times as long.
    assert doubled == pytest.approx(frechet_distance(one * [1, 1, 1, 3**0.5], other * [1, 1, 1, 3**0.5]), rel=1e-6)


def test_a_constant_set_is_as_far_as_its_mean_and_the_other_one_s_spread():
    features = numpy.random.default_rng(7).normal(size=(50, 4))
    expected = float((features.mean(0) ** 2).sum() + numpy.trace(numpy.cov(features.T)))
    assert frechet_distance(numpy.zeros((50, 4)), features) == pytest.approx(expected, rel=1e-9)


def test_statistics_alone_give_the_same_distance():
    random = numpy.random.default_rng(8)
    one, other = random.normal(size=(60, 5)), random.normal(size=(4, 5))
    parts = frechet.gaussian_statistics(one), frechet.gaussian_statistics(other)
    assert (parts[0].covariance is None, parts[1].centred is None) == (False, False)
    assert frechet.frechet_distance_of(*parts) == frechet_distance(one, other)


def test_one_sample_is_too_few():
    with pytest.raises(ValueError, match="at least 2 samples on each side, found 1"):
        frechet_distance(numpy.zeros((1, 3)), numpy.zeros((5, 3)))


def test_at_infinity_the_bias_of_few_samples_is_gone():
    """Both sides are the standard normal distribution: the true distance is 0, and the plain one lies above it by about D / N."""
    random = numpy.random.default_rng(9)
    other = frechet.GaussianStatistics(10**9, numpy.zeros(20), covariance=numpy.eye(20))
    plain, read = [], []
    for _ in range(10):
        one = random.normal(size=(800, 20))
        plain.append(frechet.frechet_distance_of(frechet.gaussian_statistics(one), other))
        read.append(frechet.frechet_distance_at_infinity(one, other, smallest=200))
    assert numpy.mean(plain) > 0.1
    assert abs(numpy.mean(read)) < 0.2 * numpy.mean(plain)


def test_infinity_is_not_read_from_a_short_range():
    other = frechet.GaussianStatistics(10**9, numpy.zeros(2), covariance=numpy.eye(2))
    with pytest.raises(ValueError, match="at least 10000 samples, found 9999"):
        frechet.frechet_distance_at_infinity(numpy.zeros((9999, 2)), other)


def test_statistics_hold_one_of_covariance_and_samples():
    with pytest.raises(ValueError, match="either a covariance or centred samples"):
        frechet.GaussianStatistics(3, numpy.zeros(2))
