"""From images to named numbers; real images are looked at once, whatever happens to the cache."""

import os
import re

import numpy
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra: model)")

from training.metrics import frechet
from training.metrics.frechet import frechet_distance
from training.metrics.images import feature_cache, open_extractor, score_images
from training.metrics.images.features import FeatureExtractorError
from training.metrics.images.kid import polynomial_mmd2
from training.metrics.images.scoring import METRICS, ScoreSettings, compute_features, real_halves
from training.metrics.images.sources import ArrayImages, ChosenImages, choose

from .drawn_images import CountingExtractor, discs, noise

SETTINGS = ScoreSettings(kid_subsets=5, swd_images=12, ms_ssim_pairs=10, batch_images=7)


@pytest.fixture(scope="module")
def extractor():
    return open_extractor("pixels")


def score(fakes, reals, extractor, **more):
    return score_images(fakes, reals, **{"metrics": METRICS, "extractor": extractor, "settings": SETTINGS, **more})


def test_every_number_made_with_an_extractor_carries_it():
    assert set(score(discs(10, seed=1), discs(12), open_extractor("random", seed=4))) == {
        *("fd_rand4", "mifd_rand4", "kid_rand4_x1000", "precision_rand4", "recall_rand4", "density_rand4", "coverage_rand4"),
        *("precision_k3_rand4", "recall_k3_rand4", "swd_x1000", "swd_x1000_32px", "swd_x1000_16px", "ms_ssim"),
    }


def test_the_distance_at_infinity_is_left_out_for_few_fakes_and_given_for_many(monkeypatch):
    fakes, reals, extractor = discs(40, seed=1), discs(30), open_extractor("random")
    assert score(fakes, reals, extractor, metrics=["fd_infinity"]) == {}
    monkeypatch.setattr(frechet, "SMALLEST_FOR_INFINITY", 10)
    found = score(fakes, reals, extractor, metrics=["fd", "fd_infinity"])
    assert found["fd_infinity_rand0"] < found["fd_rand0"]


def test_only_what_is_asked_for_is_made(extractor):
    counting = CountingExtractor(extractor)
    assert set(score(discs(10), discs(12), counting, metrics=["swd", "ms_ssim"])) == {"swd_x1000", "swd_x1000_32px", "swd_x1000_16px", "ms_ssim"}
    assert counting.seen == 0
    assert set(score(discs(10), discs(12), counting, metrics=["fd"])) == {"fd_pixels16"}
    assert set(score(discs(10), discs(12), counting, metrics=["mifid"])) == {"mifd_pixels16"}


def test_the_numbers_are_those_of_the_features(extractor):
    fakes, reals = discs(10, seed=1), discs(10)
    one, other = (extractor(torch.from_numpy(images)).numpy() for images in (fakes, reals))
    found = score(fakes, reals, extractor)
    assert found["fd_pixels16"] == pytest.approx(frechet_distance(one, other), rel=1e-5)
    assert found["kid_pixels16_x1000"] == pytest.approx(1e3 * polynomial_mmd2(one, other), rel=1e-5)


def test_numpy_torch_and_sources_are_one_and_the_same(extractor):
    fakes, reals = discs(9, seed=1), discs(12)
    expected = score(fakes, reals, extractor)
    assert score(torch.from_numpy(fakes), torch.from_numpy(reals), extractor) == expected
    assert score(ArrayImages(fakes), ArrayImages(reals), extractor) == expected


def test_images_like_the_reals_score_better_than_noise(extractor):
    reals = discs(60)
    good, bad = score(discs(40, seed=1), reals, extractor), score(noise(40), reals, extractor)
    for name in ("fd_pixels16", "kid_pixels16_x1000", "swd_x1000"):
        assert good[name] < bad[name], name
    for name in ("precision_pixels16", "recall_pixels16", "coverage_pixels16"):
        assert good[name] > bad[name], name


def test_with_kept_features_no_real_image_is_looked_at_again(tmp_path, extractor):
    fakes, reals = discs(10, seed=1), discs(300)
    counting = CountingExtractor(extractor)
    first = score(fakes, reals, counting, metrics=["fd", "kid", "prdc"], cache_dir=tmp_path, reals_id="a.dir")
    assert counting.seen == 310
    second = score(fakes, reals, counting, metrics=["fd", "kid", "prdc"], cache_dir=tmp_path, reals_id="a.dir")
    assert counting.seen == 320
    assert second == first


def test_with_more_images_than_features_the_kept_covariance_gives_the_same_number(tmp_path):
    class Seven(CountingExtractor):
        def __init__(self):
            super().__init__(open_extractor("pixels"))
            self.dim, self.name = 7, "seven"

        def __call__(self, images):
            return super().__call__(images)[:, :7].contiguous()

    fakes, reals, seven = noise(10, seed=1), noise(40), Seven()
    first = score(fakes, reals, seven, metrics=["fd"], cache_dir=tmp_path, reals_id="a.dir")
    assert score(fakes, reals, seven, metrics=["fd"], cache_dir=tmp_path, reals_id="a.dir") == first == score(fakes, reals, seven, metrics=["fd"])
    assert seven.seen == 10 + 40 + 10 + 10 + 40


@pytest.mark.parametrize("change", ["dataset", "version", "sha256", "resize", "most_reals"])
def test_another_dataset_extractor_or_way_to_resize_is_looked_at_anew(tmp_path, extractor, change):
    counting = CountingExtractor(extractor)
    more = {"metrics": ["fd"], "cache_dir": tmp_path, "reals_id": "a.dir"}
    score(discs(10, seed=1), discs(20), counting, **more)
    if change == "dataset":
        more["reals_id"] = "b.dir"
    elif change == "most_reals":
        more["most_reals"] = 15
    elif change == "resize":
        counting.input = type(counting.input)(counting.input.side_px, counting.input.value_range, "nearest")
    else:
        setattr(counting, change, "other")
    before = counting.seen
    score(discs(10, seed=1), discs(20), counting, **more)
    assert counting.seen - before == 10 + (15 if change == "most_reals" else 20)


@pytest.mark.parametrize("damage", ["truncated", "bit", "text", "empty", "pickle"])
def test_a_damaged_file_is_made_again_and_said_so(tmp_path, extractor, damage):
    fakes, reals, counting, notes = discs(10, seed=1), discs(20), CountingExtractor(extractor), []
    more = {"metrics": ["fd"], "cache_dir": tmp_path, "reals_id": "a.dir", "note": notes.append}
    first = score(fakes, reals, counting, **more)
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    middle = len(whole) // 2
    if damage == "pickle":
        numpy.savez(path, key=numpy.array([{"a": 1}], dtype=object), features=numpy.zeros((20, extractor.dim), numpy.float32))
    else:
        flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
        path.write_bytes({"truncated": whole[:middle], "bit": flipped, "text": b"hello", "empty": b""}[damage])
    assert score(fakes, reals, counting, **more) == first
    assert counting.seen == 2 * 30
    assert len(notes) == 1 and re.search(rf"{re.escape(str(path))}: the kept features of real images cannot be used", notes[0])
    assert path.read_bytes() == whole
    assert sorted(tmp_path.iterdir()) == [path]


def test_what_was_not_used_for_longest_goes_and_so_does_what_a_killed_run_left(tmp_path, extractor, monkeypatch):
    monkeypatch.setattr(feature_cache, "_MOST_FILES", 2)

    def use(name):
        """Score against the dataset `name`; returns its file."""
        before = {path: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
        score(discs(3), discs(4), extractor, metrics=["fd"], cache_dir=tmp_path, reals_id=name)
        return next(path for path in tmp_path.iterdir() if before.get(path) != path.stat().st_mtime_ns)

    old, older = use("old.dir"), use("older.dir")
    os.utime(old, (2e9, 1e9 + 1))
    os.utime(older, (2e9, 1e9))
    assert use("older.dir") == older
    leftover = tmp_path / ".tmp-1-killed.npz"
    leftover.write_bytes(b"half")
    os.utime(leftover, (1e9, 1e9))
    new = use("new.dir")
    assert set(tmp_path.iterdir()) == {older, new}


def test_without_a_dataset_s_id_nothing_is_kept(tmp_path, extractor):
    score(discs(10, seed=1), discs(20), extractor, metrics=["fd"], cache_dir=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_too_few_images_leave_numbers_out_instead_of_inventing_them(extractor):
    assert set(score(discs(1), discs(20), extractor)) == {"swd_x1000", "swd_x1000_32px", "swd_x1000_16px"}
    assert not any(name.startswith(("precision", "recall")) for name in score(discs(4), discs(20), extractor))
    assert score(numpy.zeros((0, 3, 32, 32), numpy.uint8), discs(20), extractor) == {}


def test_an_unknown_metric_is_named(extractor):
    with pytest.raises(ValueError, match="unknown metrics fid; expected some of fd, fd_infinity, mifid, kid"):
        score(discs(10), discs(12), extractor, metrics=["fid"])


@pytest.mark.parametrize(
    ("gives", "words"), [("nan", "not finite for 2 of 10 images"), ("short", r"gave torch.float32 \(7, 5\), expected float32 \(7, 768\)")]
)
def test_features_that_are_none_are_refused(extractor, gives, words):
    class Broken(CountingExtractor):
        def __call__(self, images):
            found = super().__call__(images)
            found[0, 0] = float("nan")
            return found if gives == "nan" else found[:, :5]

    with pytest.raises(FeatureExtractorError, match=words):
        compute_features(ArrayImages(discs(10)), Broken(extractor), 7)


def test_chosen_images_are_the_same_each_time_and_in_order():
    source = ArrayImages(discs(30))
    chosen = choose(source, 10, 1, "purpose")
    assert isinstance(chosen, ChosenImages)
    assert chosen == choose(source, 10, 1, "purpose") != choose(source, 10, 2, "purpose")
    assert list(chosen.indices) == sorted(set(chosen.indices))
    assert numpy.array_equal(chosen.images([3]), source.images([chosen.indices[3]]))
    assert choose(source, 30, 1) is source


@pytest.mark.parametrize(("count", "at_most", "size"), [(20, 100, 10), (21, 100, 10), (100, 8, 8), (1, 5, 0)])
def test_real_halves_are_disjoint_and_of_one_size(count, at_most, size):
    one, other = real_halves(count, at_most, seed=0)
    assert (len(one), len(other)) == (size, size)
    assert not set(one) & set(other)
    assert set(one) | set(other) <= set(range(count))
