"""The parameters of a CycleGAN training: its schedule by pairs seen, what variants decide, the networks that follow, and what is refused."""

import dataclasses
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.cyclegan.options import VARIANTS, CycleGANOptions

SHORT = {"kimg": 3.0, "constant_kimg": 2.0, "decay_kimg": 4.0}


def test_defaults_are_the_published_ones():
    options = CycleGANOptions()
    assert (options.lr, options.beta1, options.lambda_a, options.lambda_b, options.lambda_identity, options.pool) == (2e-4, 0.5, 10, 10, 0.5, 50)
    assert (options.batch, options.ngf, options.ndf, options.load_size, options.flip) == (1, 64, 64, 286, True)
    config = options.network_config(resolution=256, channels=3)
    assert (config.net_g, config.receptive_field, config.upsample, config.d_sigmoid) == ("resnet_9blocks", 70, "transposed", False)
    assert options.constant_kimg == options.decay_kimg


@pytest.mark.parametrize(("resolution", "name"), [(64, "resnet_6blocks"), (128, "resnet_6blocks"), (256, "resnet_9blocks"), (512, "resnet_9blocks")])
def test_small_pictures_have_six_blocks_and_large_ones_nine(resolution, name):
    assert CycleGANOptions(load_size=None).network_config(resolution=resolution, channels=1).net_g == name


def test_the_rate_is_constant_and_then_falls_to_nothing_in_a_straight_line():
    options = CycleGANOptions(**SHORT)
    assert [options.rate_factor(pairs) for pairs in (0, 1999, 2000, 3000, 5000, 6000, 7000)] == [1, 1, 1, 0.75, 0.25, 0, 0]
    forever = CycleGANOptions(kimg=1000, constant_kimg=2, decay_kimg=0)
    assert forever.rate_factor(10**9) == 1


@given(st.integers(0, 7000), st.integers(1, 50))
def test_no_step_changes_the_rate_by_more_than_the_slope(pairs, batch):
    """Where the decay begins nothing jumps (junyanz' #1699), and the rate asks for no number of epochs (#448, #1594, #1700)."""
    options = CycleGANOptions(**SHORT)
    before, after = options.rate_factor(pairs), options.rate_factor(pairs + batch)
    assert 0 <= before - after <= batch / 4000 + 1e-12


def test_a_training_may_end_exactly_where_its_rate_does():
    # Sums of decimals are not always what they look like: 0.7 + 0.1 is a little less than 0.8.
    assert CycleGANOptions(kimg=0.8, constant_kimg=0.7, decay_kimg=0.1).rate_factor(800) == pytest.approx(0, abs=1e-12)


def test_what_a_training_may_go_on_across_does_not_decide_it():
    one = CycleGANOptions(**SHORT)
    other = dataclasses.replace(one, kimg=6.0, snap=1.0, grid=(12, 2), resume_from=Path("elsewhere"))
    assert one.decisive() == other.decisive() != dataclasses.replace(one, decay_kimg=5.0).decisive()


@pytest.mark.parametrize("variant", [name for name in VARIANTS if name != "cyclegan"])
def test_a_variant_of_gan_with_jax_decides_what_its_author_did(variant):
    options = CycleGANOptions(variant=variant, lr=5.0, batch=1, pool=50, lambda_identity=0.5, net_g="unet_256", load_size=None)
    assert (options.lr, options.batch, options.pool, options.lambda_identity) == (1e-3, 3, 0, 0.0)
    config = options.network_config(resolution=256, channels=3)
    is_code = variant == "gan-with-jax"
    assert (config.net_g, config.receptive_field) == (("resnet_9blocks", 70) if is_code else ("resnet_6blocks", 94))
    assert config.d_sigmoid and config.d_padding == "reflect"
    # A copy is the same: what the variant decided stays decided.
    assert dataclasses.replace(options, kimg=2.0).lr == 1e-3


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kimg": 7.0}, r"kimg is 7, but the learning rate is 0 from constant_kimg \+ decay_kimg = 6 on; raise one of these, or set decay_kimg: 0"),
        ({"grid": (4, 2)}, "grid must have 6 columns or a multiple of it, found 4"),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"pool": -1}, "pool must be at least 0"),
        ({"lambda_identity": -0.1}, "lambda_identity must be at least 0"),
        ({"beta1": 1.0}, "beta1 must lie in"),
        ({"batch": 0}, "batch must be at least 1"),
        ({"batch": 3, "batch_gpu": 2}, "batch 3 is not a multiple of batch_gpu 2"),
        ({"n_layers_d": 0}, "n_layers_d must be at least 1"),
    ],
)
def test_values_that_cannot_be_are_refused_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        CycleGANOptions(**{**SHORT, **changes})


def test_pictures_no_network_fits_and_a_frame_smaller_than_its_cut_are_refused():
    with pytest.raises(ValueError, match="at least 24 px, found 16 px; raise the resolution, or lower n_layers_d"):
        CycleGANOptions(load_size=None).network_config(resolution=16, channels=3)
    with pytest.raises(ValueError, match="load_size is 100, smaller than the 128 px that are cut out of it; raise it, or null"):
        CycleGANOptions(load_size=100).network_config(resolution=128, channels=3)
