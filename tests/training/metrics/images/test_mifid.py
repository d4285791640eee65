"""The memorisation-informed Frechet distance: Kaggle's definition, its direction, and the ends of its range."""

import hashlib
import math
import warnings

import numpy
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="torch is not installed (extra: model)")

from training.metrics.frechet import frechet_distance
from training.metrics.images import features, mifid, open_extractor, score_images
from training.metrics.images.mifid import memorisation_distance, memorisation_informed

from .drawn_images import discs


def written_out(frechet, fakes, reals):
    """The definition, pair by pair."""
    fakes, reals = ([row for row in side.astype(float) if any(row != 0)] for side in (fakes, reals))
    nearest = [min(1 - abs(f @ r) / (numpy.linalg.norm(f) * numpy.linalg.norm(r)) for r in reals) for f in fakes]
    m = sum(nearest) / len(nearest)
    return frechet / ((m if m < 0.1 else 1) + 1e-14)


def drawn(count, *, seed, spread=1.0, dim=6):
    """Features about one direction, a few of them zero."""
    random = numpy.random.default_rng(seed)
    found = numpy.ones(dim) + spread * random.standard_normal((count, dim))
    found[:: max(2, count // 2)] = 0
    return found.astype(numpy.float32)


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 30), st.integers(2, 30), st.sampled_from([0.05, 0.3, 1.0, 3.0]), st.integers(0, 10**6))
def test_it_is_the_definition_pair_by_pair(count, others, spread, seed):
    fakes, reals = drawn(count, seed=seed, spread=spread), drawn(others, seed=seed + 1, spread=spread)
    assert memorisation_informed(12.5, fakes, reals) == pytest.approx(written_out(12.5, fakes, reals), rel=1e-6)


def test_blocks_change_nothing(monkeypatch):
    fakes, reals = drawn(50, seed=1, spread=0.1), drawn(40, seed=2, spread=0.1)
    whole = memorisation_distance(fakes, reals)
    monkeypatch.setattr(mifid, "_BLOCK_ROWS", 7)
    assert memorisation_distance(fakes, reals) == pytest.approx(whole, rel=1e-12)


def test_copies_of_the_reals_are_punished_and_the_reals_themselves_are_no_distance_away():
    reals = numpy.random.default_rng(0).standard_normal((30, 8)).astype(numpy.float32)
    assert memorisation_informed(max(frechet_distance(reals, reals), 0.0), reals, reals) == 0.0
    copies = reals[:10]
    frechet = frechet_distance(copies, reals)
    assert memorisation_informed(frechet, copies, reals) > 1e10 * frechet


def test_orthogonal_features_leave_the_distance_alone():
    fakes, reals = numpy.eye(8, dtype=numpy.float32)[:4], numpy.eye(8, dtype=numpy.float32)[4:]
    assert memorisation_distance(fakes, reals) == 1.0
    assert memorisation_informed(7.0, fakes, reals) == pytest.approx(7.0, rel=1e-12)


def test_the_threshold_is_on_the_mean_and_not_on_single_images():
    reals = numpy.array([[1.0, 0.0]], dtype=numpy.float32)
    angle = math.acos(1 - 0.15)
    one_far, one_near = [math.cos(angle), math.sin(angle)], [1.0, 0.0]
    together = memorisation_distance(numpy.array([one_far, one_near], dtype=numpy.float32), reals)
    assert together == pytest.approx(0.075, abs=1e-6)
    assert memorisation_informed(3.0, numpy.array([one_far, one_near], dtype=numpy.float32), reals) == pytest.approx(40.0, rel=1e-4)
    assert memorisation_informed(3.0, numpy.array([one_far, one_far], dtype=numpy.float32), reals) == pytest.approx(3.0)


def test_the_minimum_is_over_reals_for_each_fake():
    reals = numpy.eye(3, dtype=numpy.float32)
    fakes = reals[:1]
    # The one fake is a copy; of the three reals, two have no fake near them.
    assert memorisation_distance(fakes, reals) == 0.0
    assert memorisation_distance(reals, fakes) == pytest.approx(2 / 3)


def test_a_side_without_any_direction_has_no_number():
    nothing, something = numpy.zeros((3, 4), numpy.float32), numpy.ones((2, 4), numpy.float32)
    assert math.isnan(memorisation_informed(5.0, nothing, something))
    assert math.isnan(memorisation_informed(5.0, something, nothing))


def test_it_is_called_mifid_with_the_reference_network_only(tmp_path, monkeypatch):
    class Shades(torch.nn.Module):
        def forward(self, img: torch.Tensor, return_features: bool = False) -> torch.Tensor:
            assert return_features
            return torch.nn.functional.avg_pool2d(img.float().mean(1, keepdim=True), 4).flatten(1).repeat(1, 32)

    fakes, reals = discs(8, seed=1), discs(9)
    assert set(score_images(fakes, reals, metrics=["mifid"], extractor=open_extractor("pixels"))) == {"mifd_pixels16"}
    path = tmp_path / "network.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.save(torch.jit.script(Shades()), str(path))
    monkeypatch.setattr(features, "INCEPTION_SHA256", {hashlib.sha256(path.read_bytes()).hexdigest(): "inception-2015-12-05.pt"})
    found = score_images(fakes, reals, metrics=["fd", "mifid"], extractor=open_extractor(f"inception:{path}"))
    assert set(found) == {"fid", "mifid"}
    assert found["mifid"] > 10 * found["fid"]


def test_torchmetrics_agrees_when_its_arguments_are_swapped():
    found = pytest.importorskip("torchmetrics.image.mifid", reason="torchmetrics is not installed")
    fakes, reals = drawn(40, seed=1, spread=0.2), drawn(25, seed=2, spread=0.2)
    theirs = found._compute_cosine_distance(torch.from_numpy(fakes), torch.from_numpy(reals))
    ours = memorisation_distance(fakes, reals)
    assert (ours if ours < 0.1 else 1.0) == pytest.approx(float(theirs), rel=1e-4)
