"""The property predictor: it learns what is there to be learnt, and says how much that is."""

import math

import numpy
import pytest

from training.metrics.surrogate import MINIMUM_VALUES, TooFewValuesError, fit_surrogate


def real(n, *, noise, seed):
    random = numpy.random.default_rng(seed)
    features = random.poisson(1.0, size=(n, 6)).astype(numpy.float32)
    return features, features @ numpy.array([1.0, -2, 3, 0, 0, 5]) + 7 + noise * random.normal(size=n)


def fit(training, held_out):
    return fit_surrogate("homo_gw", training, held_out, unit="eV", rounds=100, seed=0)


def test_a_property_that_adds_up_over_the_molecule_is_predicted_exactly():
    surrogate = fit(real(300, noise=0, seed=0), real(50, noise=0, seed=1))
    assert surrogate.r2.value == pytest.approx(1, abs=1e-6)
    features, values = real(5, noise=0, seed=2)
    assert surrogate.predict(features) == pytest.approx(values, abs=0.01)


def test_noise_has_a_quality_near_nothing_and_the_predictor_says_so():
    features, _ = real(300, noise=0, seed=0)
    noise = numpy.random.default_rng(5).normal(size=400)
    surrogate = fit((features, noise[:300]), (real(100, noise=0, seed=1)[0], noise[300:]))
    assert surrogate.r2.value < 0.1
    assert (surrogate.r2.n, surrogate.trained_on) == (100, 300)


def test_molecules_without_the_property_teach_nothing():
    features, values = real(200, noise=0, seed=0)
    values[::2] = math.nan
    assert fit((features, values), real(20, noise=0, seed=1)).trained_on == 100


def test_the_same_molecules_give_the_same_predictor():
    one, other = (fit(real(100, noise=1, seed=0), real(20, noise=1, seed=1)) for _ in range(2))
    assert numpy.array_equal(one.weights, other.weights)
    assert one.r2 == other.r2


@pytest.mark.parametrize(("n_training", "n_held_out"), [(MINIMUM_VALUES - 1, 20), (200, 1), (0, 0)])
def test_too_few_values_are_an_error_with_their_numbers(n_training, n_held_out):
    with pytest.raises(TooFewValuesError, match=f"{n_training} training and {n_held_out} held-out values of homo_gw"):
        fit(real(n_training, noise=0, seed=0), real(n_held_out, noise=0, seed=1))
