"""The generators of a CycleGAN, residual or U-Net, and the files of a trained one.

Names in the state dicts are those of junyanz' checkpoints, so that converted ones load as they are. Sources: Zhu et al. 2017, appendix 7.2; Johnson
et al. 2016 (residual); Isola et al. 2017, appendix 6.1 (U-Net). Shapes: B pictures, C channels, H rows and W columns.
"""

import itertools
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from formats.weights import ModelFiles, write_weights
from training.cyclegan.config import CycleGANConfig

_SPREAD = 0.02  # of fresh weights; Zhu et al. 2017, appendix 7.1
_MOST_DOUBLINGS = 3  # of a U-Net's channels


class CycleGANError(Exception):
    """A folder holds no CycleGAN, its weights and configuration do not belong together, or pictures cannot be what it is trained on."""


FILES = ModelFiles("cyclegan", "CycleGAN", "cyclegan_paintings", CycleGANConfig, CycleGANError)


class ResizeConvolution(nn.Conv2d):
    """Twice the side by nearest neighbours, then a convolution. Source: Odena et al. 2016, "Deconvolution and Checkerboard Artifacts"."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1, padding_mode="reflect")

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(functional.interpolate(x, scale_factor=2.0, mode="nearest"))


class ResidualBlock(nn.Module):
    """x + what two convolutions make of it; C and size stay."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        first, second = ((nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels)) for _ in range(2))
        self.conv_block = nn.Sequential(*first, nn.ReLU(inplace=True), *second)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.conv_block(x)


class UnetLevel(nn.Module):
    """Half the side, whatever lies deeper, and back; all but the outermost level give what they were given beside it."""

    def __init__(self, *layers: nn.Module, outermost: bool = False) -> None:
        super().__init__()
        self.model, self.outermost = nn.Sequential(*layers), outermost

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x) if self.outermost else torch.cat([x, self.model(x)], dim=1)


class Generator(nn.Module):
    """Pictures [B, channels_in, H, W] in [-1, 1] → pictures [B, channels_out, H, W] of the other domain, in (-1, 1).

    H and W: multiples of `config.multiple`, otherwise ValueError. Fresh weights come from torch's global generator.
    """

    def __init__(self, config: CycleGANConfig, *, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.config, self.channels_in, self.channels_out = config, channels_in, channels_out
        make = _residual if config.blocks is not None else _unet
        self.model = make(config, channels_in, channels_out)
        initialise(self)

    def forward(self, pictures: Tensor) -> Tensor:
        B, C, H, W = pictures.shape
        multiple = self.config.multiple
        if self.channels_in != C or H % multiple or W % multiple:
            raise ValueError(
                f"expected pictures [B, {self.channels_in}, H, W] with H and W multiples of {multiple}, found {[B, C, H, W]}; pad them, and cut the "
                "result"
            )
        return self.model(pictures)


def _residual(config: CycleGANConfig, channels_in: int, channels_out: int) -> nn.Sequential:
    """7×7, twice half the side, residual blocks, twice the side twice, 7×7; borders mirrored, each layer but the last normalised."""

    def normalised(convolution: nn.Module, channels: int) -> list[nn.Module]:
        return [convolution, nn.InstanceNorm2d(channels), nn.ReLU(inplace=True)]

    ngf = config.ngf
    layers = [nn.ReflectionPad2d(3), *normalised(nn.Conv2d(channels_in, ngf, 7), ngf)]
    for width in (ngf, 2 * ngf):
        layers += normalised(nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), 2 * width)
    layers += [ResidualBlock(4 * ngf) for _ in range(config.blocks or 0)]
    for width in (4 * ngf, 2 * ngf):
        layers += normalised(_up(config, width, width // 2, kernel=3), width // 2)
    return nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(ngf, channels_out, 7), nn.Tanh())


def _unet(config: CycleGANConfig, channels_in: int, channels_out: int) -> UnetLevel:
    widths = [config.ngf * 2 ** min(level, _MOST_DOUBLINGS) for level in range(config.levels)]
    deeper: list[nn.Module] = []
    for outside, inside in reversed([*itertools.pairwise(widths)]):
        # The deepest level has nothing in it, and nothing to normalise: it may be a single pixel.
        between, up = ([nn.InstanceNorm2d(inside), *deeper], 2 * inside) if deeper else ([], inside)
        down = nn.Conv2d(outside, inside, 4, stride=2, padding=1)
        deeper = [UnetLevel(nn.LeakyReLU(0.2), down, *between, nn.ReLU(), _up(config, up, outside, kernel=4), nn.InstanceNorm2d(outside))]
    first, last = nn.Conv2d(channels_in, widths[0], 4, stride=2, padding=1), _up(config, 2 * widths[0], channels_out, kernel=4)
    return UnetLevel(first, *deeper, nn.ReLU(), last, nn.Tanh(), outermost=True)


def _up(config: CycleGANConfig, in_channels: int, out_channels: int, *, kernel: int) -> nn.Module:
    if config.upsample == "resize":
        return ResizeConvolution(in_channels, out_channels)
    return nn.ConvTranspose2d(in_channels, out_channels, kernel, stride=2, padding=1, output_padding=kernel % 2)


def initialise(network: nn.Module) -> None:
    """Weights from N(0, 0.02), biases 0. Source: Zhu et al. 2017, appendix 7.1."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d) and not module.weight.is_meta:
            nn.init.normal_(module.weight, 0.0, _SPREAD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)


@dataclass(frozen=True)
class Generators:
    """Both ways. a_to_b: makes pictures of `config.domain_b` from those of `config.domain_a`; b_to_a: the other way round."""

    a_to_b: Generator
    b_to_a: Generator
    config: CycleGANConfig

    @property
    def ways(self) -> dict[str, Generator]:
        return {"a2b": self.a_to_b, "b2a": self.b_to_a}


def make_generators(config: CycleGANConfig) -> Generators:
    """With fresh weights."""
    a, b = config.channels_a, config.channels_b
    return Generators(Generator(config, channels_in=a, channels_out=b), Generator(config, channels_in=b, channels_out=a), config)


def save_generators(folder: Path, generators: Generators) -> None:
    """Write G_A.safetensors (A to B), G_B.safetensors (B to A) and config.json into `folder`, with the same bytes for the same weights."""
    FILES.write_config(folder, generators.config)
    write_weights(folder / "G_A.safetensors", generators.a_to_b)
    write_weights(folder / "G_B.safetensors", generators.b_to_a)


def load_generators(folder: str | Path, *, device: str | torch.device = "cpu") -> Generators:
    """The generators of a `data/cyclegan_paintings` folder, in evaluation mode and without gradients. Raises CycleGANError."""
    folder = Path(folder)
    generators = make_generators(FILES.read_config(folder))
    for name, network in (("G_A", generators.a_to_b), ("G_B", generators.b_to_a)):
        FILES.read_weights(folder / f"{name}.safetensors", network)
        network.to(device).eval().requires_grad_(False)
    return generators
