"""Precision, recall, density and coverage against their definitions, written out in loops."""

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch", reason="torch is not installed (extra: model)")

from training.metrics.images import neighbours
from training.metrics.images.prdc import prdc


def features(count, seed, shift=0.0, scale=1.0):
    return (numpy.random.default_rng(seed).normal(size=(count, 3)) * scale + shift).astype(numpy.float32)


def by_definition(fakes, reals, k):
    """Naeem et al. 2020, equations 1 to 4, in float64 and one by one."""

    def distance(a, b):
        return float(numpy.linalg.norm(a.astype(float) - b.astype(float)))

    def radius(side, index):
        return sorted(distance(side[index], other) for place, other in enumerate(side) if place != index)[k - 1]

    real_radii = [radius(reals, index) for index in range(len(reals))]
    fake_radii = [radius(fakes, index) for index in range(len(fakes))]
    inside = [[distance(fake, real) < r for real, r in zip(reals, real_radii, strict=True)] for fake in fakes]
    precision = sum(any(row) for row in inside) / len(fakes)
    density = sum(sum(row) for row in inside) / (k * len(fakes))
    recall = sum(any(distance(real, fake) < r for fake, r in zip(fakes, fake_radii, strict=True)) for real in reals) / len(reals)
    coverage = sum(any(row[index] for row in inside) for index in range(len(reals))) / len(reals)
    return precision, recall, density, coverage


@settings(max_examples=25)
@given(st.integers(7, 20), st.integers(7, 20), st.integers(0, 1000), st.sampled_from([0.0, 0.7, 3.0]), st.sampled_from([0.3, 1.0, 2.0]))
def test_all_four_are_what_their_definitions_say(n, m, seed, shift, scale):
    fakes, reals = features(n, seed, shift, scale), features(m, seed + 1)
    for k, found in prdc(fakes, reals, ks=(5, 3)).items():
        numbers = found.precision.value, found.recall.value, found.density, found.coverage.value
        assert numbers == pytest.approx(by_definition(fakes, reals, k))


def test_small_blocks_change_nothing(monkeypatch):
    fakes, reals = features(30, 0, 0.5), features(40, 1)
    whole = prdc(fakes, reals)
    monkeypatch.setattr(neighbours, "_BLOCK_NUMBERS", 100)
    assert prdc(fakes, reals) == whole


def test_reals_judged_as_fakes_are_all_precise_all_recalled_and_cover_everything():
    reals = features(50, 0)
    found = prdc(reals, reals)[5]
    assert (found.precision.value, found.recall.value, found.coverage.value) == (1, 1, 1)
    # Each lies in the sphere of itself and of those it is one of the four nearest of (the fifth lies on the rim).
    assert found.density == pytest.approx(1)


def test_fakes_of_one_kind_only_are_precise_but_recall_little():
    reals = numpy.concatenate([features(40, seed, shift=20 * seed) for seed in range(5)])
    found = prdc(features(100, 9, scale=0.5), reals)[3]
    assert found.precision.value > 0.95
    assert found.recall.value < 0.25
    assert found.coverage.value < 0.25


def test_fakes_far_away_have_nothing_in_common_with_the_reals():
    found = prdc(features(20, 0, shift=1000), features(20, 1))[5]
    assert (found.precision.value, found.recall.value, found.density, found.coverage.value) == (0, 0, 0, 0)


def test_the_denominators_are_those_who_are_judged():
    found = prdc(features(20, 0), features(30, 1))[5]
    assert (found.precision.n, found.recall.n, found.coverage.n) == (20, 30, 30)


def test_five_images_have_no_fifth_neighbour():
    with pytest.raises(ValueError, match="k = 5 needs more than 5 images on each side, found 5 and 30"):
        prdc(features(5, 0), features(30, 1))
