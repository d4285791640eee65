"""Generators and discriminators: their published sizes, outputs equal to the published layers', gradients, checkerboards, and files."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import plain_cyclegan
from training.cyclegan import CycleGANError, load_generators
from training.cyclegan.config import CycleGANConfig
from training.cyclegan.discriminator import make_discriminators
from training.cyclegan.generator import Generator, ResizeConvolution, make_generators, save_generators

SMALL = CycleGANConfig(net_g="resnet_2blocks", ngf=3, ndf=3)


def parameters(network: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def on_paper(config: CycleGANConfig):
    """Networks of full size without memory for their weights."""
    with torch.device("meta"):
        return make_generators(config), make_discriminators(config)


def test_networks_have_the_published_numbers_of_parameters():
    nine, judges = on_paper(CycleGANConfig())
    six, _ = on_paper(CycleGANConfig(net_g="resnet_6blocks"))
    assert parameters(nine.a_to_b) == parameters(nine.b_to_a) == 11_378_179
    assert parameters(six.a_to_b) == 7_837_699
    assert parameters(judges["D_A"]) == parameters(judges["D_B"]) == 2_764_737


@pytest.mark.parametrize(
    ("config", "plain"),
    [
        (SMALL, lambda: plain_cyclegan.residual(ngf=3, blocks=2)),
        (CycleGANConfig(net_g="resnet_1blocks", ngf=2, channels_a=1), lambda: plain_cyclegan.residual(1, 3, ngf=2, blocks=1)),
        (CycleGANConfig(net_g="unet_32", ngf=2), lambda: plain_cyclegan.unet(ngf=2, levels=5)),
    ],
)
def test_a_generator_is_the_published_layers_by_name_and_by_output(config, plain):
    ours, theirs = make_generators(config).a_to_b, plain()
    theirs.load_state_dict(ours.state_dict())
    pictures = torch.rand(2, config.channels_a, 32, 64) * 2 - 1
    torch.testing.assert_close(ours(pictures), theirs(pictures), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("config", "plain"),
    [
        (CycleGANConfig(ndf=3), lambda: plain_cyclegan.patch_judge(ndf=3)),
        (CycleGANConfig(ndf=2, n_layers_d=5), lambda: plain_cyclegan.patch_judge(ndf=2, layers=5)),
    ],
)
def test_a_discriminator_is_the_published_layers_by_name_and_by_output(config, plain):
    ours, theirs = make_discriminators(config)["D_B"], plain()
    theirs.load_state_dict(ours.state_dict())
    pictures = torch.rand(2, 3, 128, 128) * 2 - 1
    torch.testing.assert_close(ours(pictures), theirs(pictures), atol=1e-6, rtol=0)


def test_a_picture_of_256_px_is_judged_in_30_by_30_patches():
    judge = make_discriminators(CycleGANConfig(ndf=1))["D_A"]
    assert judge(torch.zeros(1, 3, 256, 256)).shape == (1, 1, 30, 30)


def test_the_seeds_discriminator_says_a_probability_and_mirrors_borders():
    judge = make_discriminators(CycleGANConfig(ndf=2, d_sigmoid=True, d_padding="reflect"))["D_A"]
    scores = judge(torch.rand(2, 3, 256, 256) * 2 - 1).detach()
    assert scores.shape == (2, 1, 30, 30) and float(scores.min()) > 0 and float(scores.max()) < 1
    assert {layer.padding_mode for layer in judge.modules() if isinstance(layer, torch.nn.Conv2d)} == {"reflect"}


@given(st.sampled_from(["resnet_1blocks", "unet_8"]), st.sampled_from(["transposed", "resize"]), st.integers(1, 4), st.integers(1, 4))
@settings(deadline=None, max_examples=15)
def test_pictures_keep_any_size_that_is_a_multiple_and_lie_between_minus_one_and_one(net_g, upsample, rows, columns):
    config = CycleGANConfig(net_g=net_g, ngf=1, upsample=upsample, channels_a=1)
    H, W = 8 * rows, 8 * columns
    made = make_generators(config).a_to_b(torch.rand(2, 1, H, W) * 2 - 1)
    assert made.shape == (2, 3, H, W) and float(made.detach().abs().max()) <= 1


def test_a_size_that_is_no_multiple_is_refused_with_the_remedy():
    with pytest.raises(ValueError, match=r"H and W multiples of 4, found \[1, 3, 30, 32\]; pad them"):
        make_generators(SMALL).a_to_b(torch.zeros(1, 3, 30, 32))
    with pytest.raises(ValueError, match=r"expected pictures \[B, 3, H, W\]"):
        make_generators(SMALL).a_to_b(torch.zeros(1, 1, 32, 32))


@pytest.mark.parametrize("config", [SMALL, CycleGANConfig(net_g="unet_16", ngf=2, upsample="resize")])
def test_a_gradient_reaches_every_weight(config):
    network = make_generators(config).a_to_b
    network(torch.rand(1, 3, 32, 32)).square().sum().backward()
    # Biases before a normalisation do nothing, which is as published.
    assert all(parameter.grad.abs().sum() > 0 for name, parameter in network.named_parameters() if name.endswith("weight"))


def unevenness(up: torch.nn.Module) -> float:
    """How much a constant picture comes out as a pattern of period two, away from the border."""
    out = up(torch.ones(1, 4, 12, 12)).detach()[:, :, 4:-4, 4:-4]
    phases = torch.stack([out[:, :, y::2, x::2].mean(dim=(2, 3)) for y in (0, 1) for x in (0, 1)])
    return float((phases - phases.mean(dim=0)).abs().mean() / out.std(dim=1).mean())


def test_resize_convolutions_leave_no_checkerboard_where_transposed_ones_do():
    torch.manual_seed(0)
    transposed = torch.nn.ConvTranspose2d(4, 8, 3, stride=2, padding=1, output_padding=1, bias=False)
    assert unevenness(transposed) > 0.1 and unevenness(ResizeConvolution(4, 8)) < 1e-5
    ups = [type(module) for module in make_generators(CycleGANConfig(upsample="resize", ngf=1)).a_to_b.modules()]
    assert ups.count(ResizeConvolution) == 2 and torch.nn.ConvTranspose2d not in ups


def test_fresh_weights_are_normal_with_a_spread_of_two_hundredths_and_biases_nothing():
    torch.manual_seed(0)
    network = Generator(CycleGANConfig(ngf=16, net_g="resnet_1blocks"), channels_in=3, channels_out=3)
    weights = torch.cat([value.detach().flatten() for name, value in network.named_parameters() if name.endswith("weight")])
    assert abs(float(weights.mean())) < 1e-3 and float(weights.std()) == pytest.approx(0.02, rel=0.02)
    assert all(not value.any() for name, value in network.named_parameters() if name.endswith("bias"))


def test_files_hold_both_ways_and_the_same_bytes_for_the_same_weights(tmp_path):
    made = make_generators(SMALL)
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        save_generators(tmp_path / folder, made)
    assert {path.name for path in (tmp_path / "one").iterdir()} == {"config.json", "G_A.safetensors", "G_B.safetensors"}
    assert all((tmp_path / "two" / path.name).read_bytes() == path.read_bytes() for path in (tmp_path / "one").iterdir())
    found = load_generators(tmp_path / "one")
    pictures = torch.rand(1, 3, 32, 32)
    assert torch.equal(found.a_to_b(pictures), made.a_to_b(pictures)) and torch.equal(found.b_to_a(pictures), made.b_to_a(pictures))
    assert found.config == SMALL and not found.a_to_b.training and not any(value.requires_grad for value in found.b_to_a.parameters())


def test_a_folder_that_is_no_cyclegan_says_what_it_is_not(tmp_path):
    with pytest.raises(CycleGANError, match="expected a trained CycleGAN: figment materialize cyclegan_paintings"):
        load_generators(tmp_path)
    save_generators(tmp_path, make_generators(SMALL))
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "ngf": 4}))
    with pytest.raises(CycleGANError, match="G_A.safetensors: not the weights of the config.json beside it"):
        load_generators(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**config, "net_g": "resnet"}))
    with pytest.raises(CycleGANError, match="net_g must be such as"):
        load_generators(tmp_path)
