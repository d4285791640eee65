"""Ways through latent space: their lengths, their ends, the middle of the way through 0, and the seam of a loop."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.gans.latent_walks import PATHS, linear, origin, segments, smooth_noise, spherical

SEEDS, PLACES = st.integers(0, 10_000), st.floats(0, 1)


def two(seed: int, dim: int = 6) -> tuple[torch.Tensor, torch.Tensor]:
    a, b = torch.randn(2, 3, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return a, b


@given(SEEDS, PLACES)
def test_a_spherical_path_between_unit_vectors_stays_on_the_sphere(seed: int, t: float):
    a, b = (vector / vector.norm(dim=-1, keepdim=True) for vector in two(seed))
    assert torch.allclose(spherical(a, b, t).norm(dim=-1), torch.ones(3, dtype=torch.float64), atol=1e-9)


@given(SEEDS, PLACES)
def test_a_spherical_path_turns_evenly(seed: int, t: float):
    a, b = (vector / vector.norm(dim=-1, keepdim=True) for vector in two(seed))
    whole, part = (torch.arccos((a * other).sum(dim=-1).clamp(-1, 1)) for other in (b, spherical(a, b, t)))
    assert torch.allclose(part, t * whole, atol=1e-6)


@given(SEEDS, st.sampled_from(sorted(PATHS)))
def test_every_path_begins_at_the_one_and_ends_at_the_other_with_their_own_lengths(seed: int, name: str):
    a, b = two(seed)
    assert torch.allclose(PATHS[name](a, b, 0.0), a) and torch.allclose(PATHS[name](a, b, 1.0), b)


@pytest.mark.parametrize("scale", [2.0, -2.0])
def test_where_there_is_no_arc_a_spherical_path_is_straight(scale: float):
    a = two(1)[0]
    for t in (0.0, 0.25, 0.5, 1.0):
        assert torch.allclose(spherical(a, scale * a, t), linear(a, scale * a, t)), t
    assert spherical(a, torch.zeros_like(a), 0.5).isfinite().all()


@given(SEEDS)
def test_the_way_through_the_origin_passes_zero_and_never_leaves_the_two_rays(seed: int):
    a, b = two(seed)
    assert (origin(a, b, 0.5) == 0).all()
    assert torch.allclose(origin(a, b, 0.25), a / 2) and torch.allclose(origin(a, b, 0.75), b / 2)


@given(st.integers(2, 6), st.integers(1, 7), st.booleans(), st.sampled_from(sorted(PATHS)))
def test_a_walk_has_segments_times_frames_points_and_passes_every_key(keys: int, frames: int, loop: bool, name: str):
    latents = torch.randn(keys, 2, 4, generator=torch.Generator().manual_seed(keys))
    points = torch.stack(list(segments(latents, frames, PATHS[name], loop=loop)))
    ways = keys if loop else keys - 1
    assert points.shape == (ways * frames, 2, 4) and torch.allclose(points[::frames], latents[:ways], atol=1e-5)


@given(st.integers(2, 5), st.integers(2, 20), st.sampled_from(["linear", "origin"]))
def test_a_loop_closes_the_step_over_the_seam_is_one_of_its_steps(keys: int, frames: int, name: str):
    latents = torch.randn(keys, 1, 4, generator=torch.Generator().manual_seed(frames), dtype=torch.float64)
    points = torch.stack(list(segments(latents, frames, PATHS[name], loop=True)))
    assert torch.allclose(PATHS[name](latents[-1], latents[0], 1.0), points[0])
    last = PATHS[name](latents[-1], latents[0], (frames - 1) / frames)
    assert torch.allclose(points[-1], last) and (points[0] - points[-1]).norm() <= 2 * (latents.norm(dim=-1).max() * 2) / frames + 1e-9


def test_smooth_noise_is_a_loop_of_normal_latents_without_a_seam():
    points = smooth_noise(120, 2, 64, sigma_frames=5.0, seed=3)
    assert points.shape == (120, 2, 64) and math.isclose(float(points.square().mean()), 1.0, rel_tol=1e-5)
    steps = (points.roll(-1, 0) - points).flatten(1).norm(dim=1)
    # The step from the last frame to the first is like any other, and all are short.
    assert steps[-1] <= 1.3 * steps[:-1].max() and steps.max() < 0.5 * points.flatten(1).norm(dim=1).min()
    assert torch.equal(points, smooth_noise(120, 2, 64, sigma_frames=5.0, seed=3))
