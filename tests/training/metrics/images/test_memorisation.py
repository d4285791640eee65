"""Copies of training images are told from new ones."""

import numpy
import pytest

pytest.importorskip("torch", reason="torch is not installed (extra: model)")

from training.metrics.images.memorisation import memorisation


def features(count, seed):
    return numpy.random.default_rng(seed).normal(size=(count, 8)).astype(numpy.float32)


def test_copies_are_found_with_whom_they_copied_and_are_not_authentic():
    training = features(60, 0)
    copied = [7, 3, 50]
    found = memorisation(training[copied] + numpy.float32(1e-3), training)
    assert found.nearest.tolist() == copied
    assert found.authentic.successes == 0
    assert found.distances.max() < 0.05 * found.real_distances.min()


def test_new_ones_from_the_same_source_are_authentic_about_half_of_the_time():
    found = memorisation(features(400, 1), features(400, 0))
    assert 0.35 < found.authentic.value < 0.75
    fake_median, real_median = found.percentiles()[50]
    assert fake_median == pytest.approx(real_median, rel=0.1)


def test_the_closest_come_first_and_ties_keep_their_order():
    training = numpy.array([[0.0, 0], [10, 0]], dtype=numpy.float32)
    fakes = numpy.array([[0.0, 3], [10, 1], [0, 2], [10, 2]], dtype=numpy.float32)
    found = memorisation(fakes, training)
    assert found.closest(3) == [1, 2, 3]
    assert found.distances == pytest.approx([3, 1, 2, 2])


def test_percentiles_are_of_both_sides():
    training = numpy.arange(5, dtype=numpy.float32)[:, None] * [[1.0, 0]]
    fakes = training + numpy.array([0, 2.0])
    assert memorisation(fakes.astype(numpy.float32), training.astype(numpy.float32)).percentiles()[50] == pytest.approx((2, 1))


def test_one_training_image_has_no_neighbour():
    with pytest.raises(ValueError, match="found 3 and 1"):
        memorisation(features(3, 0), features(1, 1))
