"""The discriminators of a CycleGAN: every number of their output judges one patch of the picture.

Names in the state dicts are those of junyanz' checkpoints. Source: Isola et al. 2017, "Image-to-Image Translation with Conditional Adversarial
Networks", section 3.2.2 and appendix 6.1 (PatchGAN); Zhu et al. 2017, appendix 7.2.
"""

from torch import Tensor, nn

from training.cyclegan.config import CycleGANConfig
from training.cyclegan.generator import initialise

_KERNEL = 4
_MOST_DOUBLINGS = 3


class PatchDiscriminator(nn.Module):
    """Pictures [B, channels, H, W] in [-1, 1] → [B, 1, h, w], high where a patch looks real: one number for each `config.receptive_field` px."""

    def __init__(self, config: CycleGANConfig, *, channels: int) -> None:
        super().__init__()
        widths = [channels, *(config.ndf * 2 ** min(index, _MOST_DOUBLINGS) for index in range(len(config.d_strides))), 1]
        layers: list[nn.Module] = []
        for index, stride in enumerate((*config.d_strides, 1)):
            layers.append(nn.Conv2d(widths[index], widths[index + 1], _KERNEL, stride=stride, padding=1, padding_mode=config.d_padding))
            # The first layer is not normalised, or contrast and colours could not be judged; the last one is what D says.
            if index < len(config.d_strides):
                layers += [*([nn.InstanceNorm2d(widths[index + 1])] if index else []), nn.LeakyReLU(0.2)]
        self.model = nn.Sequential(*layers, *([nn.Sigmoid()] if config.d_sigmoid else []))
        initialise(self)

    def forward(self, pictures: Tensor) -> Tensor:
        return self.model(pictures)


def make_discriminators(config: CycleGANConfig) -> dict[str, PatchDiscriminator]:
    """D_A, which judges pictures of B, and D_B, which judges those of A, with fresh weights."""
    return {"D_A": PatchDiscriminator(config, channels=config.channels_b), "D_B": PatchDiscriminator(config, channels=config.channels_a)}
