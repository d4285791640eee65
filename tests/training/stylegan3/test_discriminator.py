from dataclasses import replace

import pytest
import torch

from training.gans.losses import r1_penalty
from training.stylegan3.config import StyleGAN3Config
from training.stylegan3.discriminator import Convolution, Discriminator

from .tiny import TINIEST, make_discriminator

COUNTS = {
    (128, 32768): 28_389_121,
    (128, 16384): 23_882_369,
    (256, 32768): 28_864_129,
    (256, 16384): 24_001_089,
    (512, 32768): 28_982_849,
    (512, 16384): 24_030_753,
}


@pytest.mark.parametrize(("resolution", "cbase"), COUNTS)
def test_parameter_counts_are_the_published_ones(resolution, cbase):
    with torch.device("meta"):
        discriminator = Discriminator(StyleGAN3Config(resolution=resolution, cbase=cbase))
    assert sum(parameter.numel() for parameter in discriminator.parameters()) == COUNTS[resolution, cbase]


def test_names_are_those_of_published_snapshots():
    names = set(make_discriminator().state_dict())
    blocks = [(16, "fromrgb"), *((side, layer) for side in (16, 8) for layer in ("conv0", "conv1", "skip")), (4, "conv")]
    expected = {f"b{side}.{layer}.{part}" for side, layer in blocks for part in ("weight", "bias", "resample_filter")}
    expected -= {"b16.skip.bias", "b8.skip.bias"}
    assert names == expected | {f"b4.{layer}.{part}" for layer in ("fc", "out") for part in ("weight", "bias")}


@pytest.mark.parametrize("label_dim", [0, 3])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_picture_gets_one_number_and_a_gradient_reaches_every_parameter(channels, label_dim):
    discriminator = make_discriminator(replace(TINIEST, channels=channels, label_dim=label_dim, discriminator_map_depth=2))
    logits = discriminator(torch.randn(4, channels, 16, 16), torch.eye(3)[[0, 1, 2, 0]] if label_dim else None)
    assert logits.shape == (4, 1)
    logits.square().sum().backward()
    still = [name for name, parameter in discriminator.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert still == []


def test_the_verdict_depends_on_the_label():
    discriminator = make_discriminator(replace(TINIEST, label_dim=3, discriminator_map_depth=2))
    images = torch.randn(1, 3, 16, 16).repeat(2, 1, 1, 1)
    first, second = discriminator(images, torch.eye(3)[:2])
    assert (first - second).abs() > 1e-4
    with pytest.raises(ValueError, match="takes 3 numbers of label"):
        discriminator(images)


def test_a_halved_picture_is_blurred_and_centred_on_pairs_of_pixels():
    # A ramp is its own blur; halving it keeps the middle of every pair.
    discriminator = make_discriminator()
    skip = discriminator.b16.skip
    with torch.no_grad():
        skip.weight.fill_(skip.weight[0].numel() ** -0.5)
    ramp = torch.arange(16.0).expand(1, skip.weight.shape[1], 16, 16)
    torch.testing.assert_close(skip(ramp)[0, 0, 4, 1:-1], torch.arange(2.5, 14, 2))
    # The same with a 3 x 3 convolution: each of its columns sees the ramp shifted by one.
    conv1 = discriminator.b16.conv1
    with torch.no_grad():
        conv1.weight.zero_()
        conv1.weight[:, 0, 1, 1] = conv1.weight[0].numel() ** 0.5
    torch.testing.assert_close(conv1(ramp, gain=2**-0.5)[0, 0, 4, 1:-1], torch.arange(2.5, 14, 2))


def test_freezing_stops_layers_from_the_picture_inwards():
    discriminator = make_discriminator()
    discriminator.freeze(5)
    frozen = {name.rpartition(".")[0] for name, parameter in discriminator.named_parameters() if not parameter.requires_grad}
    assert frozen == {"b16.fromrgb", "b16.conv0", "b16.conv1", "b16.skip", "b8.conv0"}
    discriminator.freeze(99)
    assert not any(parameter.requires_grad for parameter in discriminator.parameters())


def test_nothing_leaves_the_clamp():
    block = make_discriminator(replace(TINIEST, conv_clamp=0.1)).b16
    with torch.no_grad():
        block.skip.weight.zero_()
    assert block(None, torch.randn(1, 3, 16, 16) * 100).abs().max() <= 0.1 * 0.5**0.5 + 1e-6


def test_low_precision_stays_close_also_under_the_gradient_penalty(monkeypatch):
    discriminator = make_discriminator()
    images = torch.randn(4, 3, 16, 16, requires_grad=True)
    logits = discriminator(images)
    penalty = r1_penalty(logits, images).detach()
    monkeypatch.setattr(
        "training.stylegan3.discriminator.compute_dtype", lambda precision, **_: torch.float32 if precision == "float32" else torch.float16
    )
    low = discriminator(images)
    assert low.dtype is torch.float32
    torch.testing.assert_close(low, logits, atol=0.01, rtol=0.01)
    low_penalty = r1_penalty(low, images)
    torch.testing.assert_close(low_penalty.detach(), penalty, rtol=0.02, atol=0)
    low_penalty.sum().backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in discriminator.parameters())


@pytest.mark.parametrize("halve_side", [None, 8])
def test_gains_in_weights_and_bias_are_those_behind_the_leaky_relu(halve_side):
    """Values, gradients and gradients of the squared gradient, in float64, beside the order in which the paper has them."""
    torch.manual_seed(0)
    layer = Convolution(3, 4, kernel=3, halve_side=halve_side, clamp=1.0).double()
    layer.bias.data.normal_()
    images = torch.randn(2, 3, 8, 8, dtype=torch.float64, requires_grad=True)

    def in_order(x: torch.Tensor) -> torch.Tensor:
        weight = layer.weight / layer.weight[0].numel() ** 0.5
        if halve_side:
            x = torch.einsum("ih,bchw,jw->bcij", layer.blur_matrix, x, layer.blur_matrix)
        x = torch.nn.functional.conv2d(x, weight, stride=2 if halve_side else 1, padding=0 if halve_side else 1) + layer.bias[:, None, None]
        return (torch.nn.functional.leaky_relu(x, 0.2) * 2**0.5 * 0.5**0.5).clamp(-(0.5**0.5), 0.5**0.5)

    found = []
    for compute in (lambda x: layer(x, gain=0.5**0.5), in_order):
        made = compute(images)
        (gradient,) = torch.autograd.grad(made.square().sum(), images, create_graph=True)
        found.append([made, gradient, *torch.autograd.grad(gradient.square().sum(), [layer.weight, layer.bias])])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-9)
