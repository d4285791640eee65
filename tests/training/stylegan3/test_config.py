import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.stylegan3.config import (
    StyleGAN3Config,
    discriminator_channels,
    input_spec,
    layer_schedule,
    lowest_low_precision_side,
    magnitude_ema_beta,
)

SIZES = {
    (256, 32768): [36, 36, 36, 52, 52, 84, 84, 148, 148, 148, 276, 276, 276, 256, 256],
    (128, 32768): [36] * 3 + [52] * 3 + [84] * 3 + [148] * 4 + [128] * 2,
    (512, 16384): [36, 36, 52, 52, 84, 84, 148, 148, 276, 276, 532, 532, 532, 512, 512],
}
CHANNELS = {
    (256, 32768): [512] * 9 + [362, 256, 181, 128, 128, 3],
    (256, 16384): [512] * 7 + [362, 256, 181, 128, 91, 64, 64, 3],
    (128, 32768): [512] * 10 + [456, 342, 256, 256, 3],
    (128, 16384): [512] * 8 + [406, 304, 228, 171, 128, 128, 3],
    (512, 16384): [512] * 6 + [362, 242, 161, 108, 72, 48, 32, 32, 3],
}
PADDING = {2: (9, 8), 4: (-6, -9)}


@pytest.mark.parametrize(("resolution", "cbase"), SIZES)
def test_sizes_are_the_published_ones(resolution, cbase):
    assert [spec.out_size for spec in layer_schedule(StyleGAN3Config(resolution=resolution, cbase=cbase))] == SIZES[resolution, cbase]


@pytest.mark.parametrize(("resolution", "cbase"), CHANNELS)
def test_channels_are_the_published_ones(resolution, cbase):
    assert [spec.out_channels for spec in layer_schedule(StyleGAN3Config(resolution=resolution, cbase=cbase))] == CHANNELS[resolution, cbase]


def test_rates_and_paddings_at_256_pixels_are_the_published_ones():
    layers = layer_schedule(StyleGAN3Config(resolution=256))
    assert [spec.out_rate for spec in layers] == [16, 16, 16, 32, 32, 64, 64, 128, 128, 128, 256, 256, 256, 256, 256]
    assert [spec.up for spec in layers] == [2, 2, 2, 4, 2, 4, 2, 4, 2, 2, 4, 2, 2, 2, 1]
    assert [spec.down for spec in layers] == [2] * 14 + [1]
    assert [spec.padding for spec in layers] == [*(PADDING[spec.up] for spec in layers[:13]), (-11, -12), (0, 0)]


def test_names_are_those_of_published_snapshots():
    names = [spec.name for spec in layer_schedule(StyleGAN3Config(resolution=256, cbase=16384))]
    assert (names[0], names[11], names[14]) == ("L0_36_512", "L11_276_91", "L14_256_3")


def test_a_layer_takes_what_the_one_before_it_gives():
    layers = layer_schedule(StyleGAN3Config())
    for before, after in itertools.pairwise(layers):
        assert (before.out_size, before.out_rate, before.out_channels) == (after.in_size, after.in_rate, after.in_channels)
    assert input_spec(StyleGAN3Config()).size == layers[0].in_size


def test_configuration_r_doubles_channels_and_filters_radially_where_sampling_is_not_critical():
    t, r = layer_schedule(StyleGAN3Config()), layer_schedule(StyleGAN3Config(cfg="stylegan3-r"))
    assert [spec.out_channels for spec in r[:9]] == [2 * spec.out_channels for spec in t[:9]]
    assert r[-1].out_channels == 3
    assert {spec.kernel for spec in r} == {1}
    assert [spec.uses_radial_filter for spec in r] == [True] * 12 + [False] * 3
    assert not any(spec.uses_radial_filter for spec in t)


def test_only_layers_within_four_octaves_of_the_picture_compute_in_low_precision():
    assert [spec.is_low_precision for spec in layer_schedule(StyleGAN3Config(resolution=256))] == [False] * 3 + [True] * 12
    assert lowest_low_precision_side(StyleGAN3Config(resolution=256)) == 32
    assert lowest_low_precision_side(StyleGAN3Config(resolution=32)) == 8


def test_the_discriminator_doubles_its_channels_while_it_halves_the_side():
    assert discriminator_channels(StyleGAN3Config(resolution=256, cbase=16384)) == {256: 64, 128: 128, 64: 256, 32: 512, 16: 512, 8: 512, 4: 512}


def test_the_half_life_of_magnitudes_is_20000_images():
    assert magnitude_ema_beta(20_000) == 0.5
    assert math.isclose(magnitude_ema_beta(32) ** (20_000 / 32), 0.5)


@given(
    resolution=st.sampled_from([16, 32, 64, 128, 256, 512]),
    num_layers=st.integers(3, 16),
    num_critical=st.integers(1, 3),
    margin=st.integers(0, 12),
    is_r=st.booleans(),
)
def test_every_layer_has_exactly_the_padding_that_gives_its_size(resolution, num_layers, num_critical, margin, is_r):
    config = StyleGAN3Config(
        cfg="stylegan3-r" if is_r else "stylegan3-t",
        resolution=resolution,
        num_layers=num_layers,
        num_critical=min(num_critical, num_layers - 1),
        margin=margin,
    )
    for spec in layer_schedule(config):
        middle = (spec.in_size + spec.kernel - 1) * spec.up + sum(spec.padding) - spec.up_taps + 1
        assert (middle - spec.down_taps) // spec.down + 1 == spec.out_size
        assert 0 <= spec.padding[0] - spec.padding[1] <= spec.up


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"resolution": 100}, "power of two"),
        ({"channels": 4}, "grey"),
        ({"cfg": "stylegan2"}, "cfg must be one of stylegan3-t, stylegan3-r"),
        ({"precision": "fp16"}, "precision must be one of"),
        ({"cbase": 0}, "cbase must be at least 1"),
        ({"num_critical": 14}, "num_critical"),
        ({"label_dim": -1}, "label_dim must not be negative"),
        ({"w_avg_beta": 1.5}, "w_avg_beta"),
        ({"conv_clamp": 0}, "conv_clamp"),
    ],
)
def test_impossible_values_are_refused_by_name(change, words):
    with pytest.raises(ValueError, match=words):
        replace(StyleGAN3Config(), **change)
