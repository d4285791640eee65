"""Sets of fakes beside the floor that real images set."""

import numpy
import pytest

pytest.importorskip("torch", reason="torch is not installed (extra: model)")

from training.metrics.frechet import frechet_distance
from training.metrics.images import open_extractor
from training.metrics.images.comparison import TooFewImagesError, compare_sets
from training.metrics.images.scoring import METRICS, ScoreSettings, compute_features, real_halves
from training.metrics.images.sources import ArrayImages

from .drawn_images import discs, noise

SETTINGS = ScoreSettings(kid_subsets=5, swd_images=6, ms_ssim_pairs=10)


def compare(sets, reals, **more):
    sources = {name: ArrayImages(images) for name, images in sets.items()}
    return compare_sets(sources, ArrayImages(reals), **{"metrics": METRICS, "extractor": open_extractor("pixels"), "settings": SETTINGS, **more})


def test_the_floor_is_one_half_of_the_reals_against_the_other_half():
    reals = discs(20)
    found = compare({"fakes": discs(30, seed=1)}, reals)
    one, other = real_halves(20, 30, seed=0)
    features = compute_features(ArrayImages(reals), open_extractor("pixels"))
    assert (found.floor.fakes, found.floor.reals) == (10, 10)
    assert found.floor.frechet == pytest.approx(frechet_distance(features[one], features[other]), rel=1e-9)


def test_fakes_that_are_the_first_half_itself_score_exactly_as_the_floor():
    """Same numbers of the same images: the two rows of the table are made in the same way."""
    reals = discs(20)
    one, _ = real_halves(20, 10, seed=0)
    found = compare({"copies": reals[one]}, reals)
    assert found.sets[0].same_n == found.floor


def test_the_smallest_set_decides_how_many_are_compared_with_the_floor():
    found = compare({"few": discs(8, seed=1), "many": discs(15, seed=2)}, discs(40))
    assert [(judged.name, judged.whole.fakes, judged.whole.reals, judged.same_n.fakes, judged.same_n.reals) for judged in found.sets] == [
        ("few", 8, 40, 8, 8),
        ("many", 15, 40, 8, 8),
    ]
    assert found.sets[0].same_n.swd.images == 6


def test_every_set_is_told_before_it_is_judged():
    told = []
    compare({"a": discs(8), "b": noise(8)}, discs(20), told=told.append, metrics=["fd"])
    assert told == ["a", "b"]


def test_a_copied_image_is_found_among_all_reals_not_only_in_a_half():
    reals = discs(20)
    found = compare({"copies": reals[::-1]}, reals, metrics=["fd"]).sets[0].memorisation
    assert found.nearest.tolist() == list(range(19, -1, -1))
    assert numpy.allclose(found.distances, 0, atol=0.05)


@pytest.mark.parametrize(
    ("fakes", "reals", "words"),
    [({"a": 1}, 9, "a: 1 images; a comparison needs two"), ({"a": 2}, 3, "1 sets of fakes and 3 reals"), ({}, 9, "0 sets of fakes and 9 reals")],
)
def test_too_few_images_are_said_to_be_too_few(fakes, reals, words):
    with pytest.raises(TooFewImagesError, match=words):
        compare({name: discs(count) for name, count in fakes.items()}, discs(reals))
