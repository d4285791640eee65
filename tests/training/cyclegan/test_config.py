"""Shapes of networks by arithmetic: what each number of a discriminator sees, which sides can be, and what there is no network for."""

import pytest
import torch

from training.cyclegan.config import CycleGANConfig
from training.cyclegan.discriminator import make_discriminators
from training.cyclegan.generator import make_generators

SMALL = {"ngf": 2, "ndf": 2}


def support(config: CycleGANConfig, side: int) -> int:
    """The side of the square of pixels that one number in the middle of the discriminator's output has a gradient to, without normalisation."""
    judge = make_discriminators(config)["D_A"].double()
    # Statistics of a whole layer reach everywhere; what the paper calls the receptive field is that of the convolutions.
    for module in judge.modules():
        if isinstance(module, torch.nn.Sequential):
            for index, layer in enumerate(module):
                if isinstance(layer, torch.nn.InstanceNorm2d):
                    module[index] = torch.nn.Identity()
                elif isinstance(layer, torch.nn.Conv2d):
                    torch.nn.init.constant_(layer.weight, 1 / layer.weight[0].numel())
    pictures = torch.rand(1, 3, side, side, dtype=torch.float64, requires_grad=True)
    scores = judge(pictures)
    scores[0, 0, scores.shape[2] // 2, scores.shape[3] // 2].backward()
    rows = pictures.grad[0].abs().sum(dim=(0, 2)).nonzero().flatten()
    return int(rows[-1] - rows[0]) + 1


@pytest.mark.parametrize(
    ("changes", "field"),
    [({}, 70), ({"d_last_stride": 2}, 94), ({"n_layers_d": 2}, 34), ({"n_layers_d": 1}, 16)],
)
def test_the_receptive_field_is_that_of_the_gradients(changes, field):
    config = CycleGANConfig(ndf=1, **changes)
    assert config.receptive_field == field == support(config, 256)


@pytest.mark.parametrize(
    ("changes", "least"),
    [({}, 24), ({"d_last_stride": 2}, 32), ({"n_layers_d": 1}, 8), ({"net_g": "unet_32", "n_layers_d": 1}, 32)],
)
def test_the_smallest_side_trains_and_the_one_below_is_refused_with_the_remedy(changes, least):
    config = CycleGANConfig(**SMALL, **changes)
    config.check_side(least)
    pictures = torch.rand(1, 3, least, least)
    made = make_generators(config).a_to_b(pictures)
    scores = make_discriminators(config)["D_A"](made)
    scores.mean().backward()
    assert made.shape == pictures.shape and scores.isfinite().all()
    with pytest.raises(ValueError, match=r"at least|multiples of"):
        config.check_side(least - config.multiple)


def test_sides_that_are_no_multiple_are_refused_with_the_remedy():
    with pytest.raises(ValueError, match="resnet_9blocks takes sides that are multiples of 4 px, found 66 px; choose another resolution or net_g"):
        CycleGANConfig().check_side(66)
    with pytest.raises(ValueError, match="unet_256 takes sides that are multiples of 256 px, found 128 px"):
        CycleGANConfig(net_g="unet_256").check_side(128)


@pytest.mark.parametrize("name", ["resnet", "resnet_0blocks", "resnet_-1blocks", "unet_100", "unet_2", "unet_", "vgg", "resnet_9blocks "])
def test_there_is_no_network_by_a_name_like(name):
    with pytest.raises(ValueError, match="net_g must be such as resnet_9blocks"):
        CycleGANConfig(net_g=name)


@pytest.mark.parametrize("changes", [{"upsample": "magic"}, {"d_padding": "wrap"}, {"d_last_stride": 3}, {"ngf": 0}, {"channels_a": 0}])
def test_what_cannot_be_is_refused_by_name(changes):
    (name,) = changes
    with pytest.raises(ValueError, match=name):
        CycleGANConfig(**changes)
