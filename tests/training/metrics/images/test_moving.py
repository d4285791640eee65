"""Images as samples of continuous signals, moved and turned; signals here are sums of waves, so that what should come out is known."""

import math

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from training.metrics.images.moving import _octagon_transform, _rotation_filter, filter_as_if_turned, shift, shift_by_pixels, turn

SIDE = 32


class Waves:
    """A sum of plane waves of at most `share` of the Nyquist frequency; `at` samples it where the transform [3, 3] says."""

    def __init__(self, share: float, seed: int = 0, waves: int = 24) -> None:
        random = numpy.random.default_rng(seed)
        radius, angle = share * SIDE / 2 * random.uniform(0, 1, waves) ** 0.5, random.uniform(0, 2 * math.pi, waves)
        self.frequencies = numpy.stack([radius * numpy.cos(angle), radius * numpy.sin(angle)], axis=1)
        self.phases, self.sizes = random.uniform(0, 1, waves), random.normal(0, 0.6 / waves**0.5, waves)

    def at(self, right: float = 0.0, down: float = 0.0, angle: float = 0.0) -> torch.Tensor:
        """float64 [1, S, S] of the signal moved by pixels, or turned clockwise."""
        x, y = numpy.meshgrid(*2 * [(numpy.arange(SIDE) + 0.5 - SIDE / 2) / SIDE])
        cos, sin = math.cos(angle), math.sin(angle)
        x, y = x - right / SIDE, y - down / SIDE
        places = numpy.stack([cos * x + sin * y, cos * y - sin * x], axis=-1)
        return torch.from_numpy((self.sizes * numpy.sin(2 * math.pi * (places @ self.frequencies.T + self.phases))).sum(-1))[None]


def decibels(reference, result) -> float:
    valid = reference[1] & result[1]
    assert valid.any()
    mean_square = (reference[0] - result[0])[:, valid].square().mean().item()
    return 10 * math.log10(4 / mean_square) if mean_square else math.inf


def everywhere(image):
    return image, torch.ones(image.shape[1:], dtype=torch.bool)


def test_whole_pixels_are_moved_without_any_loss():
    waves = Waves(1.0)
    moved, valid = shift_by_pixels(waves.at(), 3, -2)
    assert torch.allclose(moved[:, valid], waves.at(3, -2)[:, valid], atol=1e-12)
    # Equation 24: columns 3 to 31 and rows 0 to 29.
    assert valid.nonzero().min(0).values.tolist() == [0, 3] and valid.nonzero().max(0).values.tolist() == [29, 31]


@settings(max_examples=30)
@given(right=st.floats(-4, 4), down=st.floats(-4, 4))
def test_parts_of_pixels_are_moved_as_well_as_lanczos_can(right, down):
    waves = Waves(0.25)
    assert decibels(shift(waves.at(), right, down), everywhere(waves.at(right, down))) > 55


def test_the_valid_region_of_a_shift_leaves_room_for_the_filter():
    _, valid = shift(torch.zeros(1, SIDE, SIDE), 2.5, 0.0)
    rows, columns = (valid.any(axis).nonzero() for axis in (1, 0))
    # Equation 25 with a = 3.
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (3, 29, 6, 31)


@settings(max_examples=10)
@given(angle=st.floats(0, 2 * math.pi))
def test_a_turned_signal_is_what_the_turned_image_says(angle):
    waves = Waves(0.25)
    assert decibels(turn(waves.at(), angle), filter_as_if_turned(waves.at(angle=angle), angle)) > 60


def test_turning_the_other_way_is_another_image():
    waves = Waves(0.25)
    assert decibels(turn(waves.at(), -0.5), filter_as_if_turned(waves.at(angle=0.5), 0.5)) < 25


def test_quarter_turns_lose_nothing():
    image = torch.rand(3, SIDE, SIDE, dtype=torch.float64)
    turned, valid = turn(image, math.pi / 2)
    assert torch.allclose(turned[:, valid], torch.rot90(image, -1, (1, 2))[:, valid], atol=1e-9)
    filtered, _ = filter_as_if_turned(image, math.pi / 2)
    assert torch.allclose(filtered[:, valid], image[:, valid], atol=1e-9)


def test_what_a_turned_image_cannot_hold_is_left_out_of_both():
    """A wave in the corner of the spectrum has no place there any more at 45 degrees."""
    diagonal = torch.from_numpy(numpy.indices((64, 64)).sum(0) % 2 * 2.0 - 1)[None]
    for filtered, valid in (turn(diagonal, math.pi / 4), filter_as_if_turned(diagonal, math.pi / 4)):
        assert valid.sum() > 500 and filtered[:, valid].abs().max() < 0.05


@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 4])
def test_a_flat_image_stays_flat(angle):
    flat = torch.full((1, SIDE, SIDE), 0.7, dtype=torch.float64)
    for moved, valid in (shift(flat, 0.3, -1.6), turn(flat, angle), filter_as_if_turned(flat, angle)):
        assert torch.allclose(moved[:, valid], flat[:, valid], atol=1e-12)


@pytest.mark.parametrize("angle", [0.0, 0.3, 1.1])
def test_the_ideal_filter_is_the_transform_of_both_squares_common_part(angle):
    x, y = numpy.meshgrid(numpy.linspace(-3, 3, 7), numpy.linspace(-3, 3, 7))
    across, down = numpy.meshgrid(*2 * [(numpy.arange(200) + 0.5) / 200 - 0.5])
    cos, sin = math.cos(angle), math.sin(angle)
    inside = (abs(cos * across + sin * down) < 0.5) & (abs(cos * down - sin * across) < 0.5)
    waves = numpy.cos(2 * math.pi * (x[..., None, None] * across + y[..., None, None] * down))
    assert numpy.abs((waves * inside).mean((2, 3)) - _octagon_transform(x, y, angle)).max() < 1e-3


def test_a_rotation_s_filter_ends_within_its_grid_and_turns_with_the_angle():
    kernel = _rotation_filter(math.pi / 4, 4)
    assert numpy.abs(kernel[[0, -1]]).max() < 1e-9 * kernel.max() and numpy.allclose(kernel, kernel[::-1, ::-1])
    assert numpy.allclose(_rotation_filter(0.3, 4), _rotation_filter(-0.3, 4)[:, ::-1])
