import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.gans.banded import band_blocks, downsample_matrix
from training.stylegan3.config import StyleGAN3Config, layer_schedule
from training.stylegan3.filters import (
    filtering_matrices,
    kaiser_sinc,
    radial_kaiser_jinc,
    separable_terms,
)

signal = pytest.importorskip("scipy.signal")

PUBLISHED = [0.000792, 0.010018, 0.03895, 0.092413, 0.156526, 0.201302]


def test_the_published_filter_comes_out():
    kernel = kaiser_sinc(12, cutoff=2, width=12, rate=32)
    np.testing.assert_allclose(kernel, PUBLISHED + PUBLISHED[::-1], atol=1e-6)


@given(taps=st.integers(2, 48), cutoff=st.floats(0.01, 0.49), width=st.floats(0.001, 1.0))
def test_filters_equal_those_of_scipy(taps, cutoff, width):
    np.testing.assert_allclose(kaiser_sinc(taps, cutoff=cutoff, width=width, rate=1), signal.firwin(taps, cutoff, width=width, fs=1), atol=1e-12)


@pytest.mark.parametrize("config", [StyleGAN3Config(resolution=256), StyleGAN3Config(resolution=512, cfg="stylegan3-r")])
def test_every_filter_of_a_network_lets_the_mean_through_and_is_symmetric(config):
    for spec in layer_schedule(config)[:-1]:
        up = kaiser_sinc(spec.up_taps, cutoff=spec.in_cutoff, width=2 * spec.in_half_width, rate=spec.middle_rate)
        down = kaiser_sinc(spec.down_taps, cutoff=spec.out_cutoff, width=2 * spec.out_half_width, rate=spec.middle_rate)
        for kernel in (up, down):
            assert kernel.sum() == pytest.approx(1)
            np.testing.assert_allclose(kernel, kernel[::-1])


def test_a_radial_filter_looks_the_same_from_all_sides():
    kernel = radial_kaiser_jinc(12, cutoff=2, width=12, rate=32)
    assert kernel.sum() == pytest.approx(1)
    for other in (kernel.T, kernel[::-1], kernel[:, ::-1], np.rot90(kernel)):
        np.testing.assert_allclose(other, kernel, atol=1e-15)


def test_a_radial_filter_is_rounder_than_a_separable_one():
    def response(kernel, angle, frequency=3.0, rate=16):
        time = (np.arange(len(kernel)) - (len(kernel) - 1) / 2) / rate
        x, y = np.meshgrid(time, time)
        return (kernel * np.cos(2 * np.pi * frequency * (x * np.cos(angle) + y * np.sin(angle)))).sum()

    settings = {"cutoff": 2.5, "width": 5, "rate": 16}
    radial, line = radial_kaiser_jinc(12, **settings), kaiser_sinc(12, **settings)
    unevenness = [abs(response(kernel, 0) - response(kernel, np.pi / 4)) for kernel in (radial, np.outer(line, line))]
    assert unevenness[0] < unevenness[1] / 5


@pytest.mark.parametrize("cutoff", [0, -1, 16, 20])
def test_a_cutoff_beyond_half_the_rate_is_refused(cutoff):
    for design in (kaiser_sinc, radial_kaiser_jinc):
        with pytest.raises(ValueError, match="half the sampling rate"):
            design(12, cutoff=cutoff, width=1, rate=32)


@given(taps=st.integers(2, 12), seed=st.integers(0, 99))
def test_any_filter_is_a_sum_of_outer_products(taps, seed):
    kernel = np.random.default_rng(seed).normal(size=(taps, taps))
    vertical, horizontal = separable_terms(kernel, tolerance=1e-15)
    np.testing.assert_allclose(vertical.T @ horizontal, kernel, atol=1e-12)


def test_lengths_inside_a_layer_are_multiples_of_eight():
    kernel = kaiser_sinc(12, cutoff=2, width=12, rate=32)
    matrices = filtering_matrices(kernel, kernel, in_size=38, up=2, down=2, padding=(9, 8))
    assert matrices.up.shape == (88, 38)
    assert (matrices.down_vertical.shape, matrices.down_horizontal.shape) == ((36, 88), (36, 88))


def test_blocks_save_most_of_the_work_on_large_pictures_and_are_left_out_on_small_ones():
    kernel = kaiser_sinc(12, cutoff=2, width=12, rate=32)
    large, small = (downsample_matrix(kernel, length=length, down=2) for length in (562, 88))
    blocks = band_blocks(large)
    assert sum(np.diff(block.rows)[0] * np.diff(block.columns)[0] for block in blocks) < large.size / 3
    assert len(band_blocks(small)) == 1
