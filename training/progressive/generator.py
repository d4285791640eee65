"""The generator, and its files. Source: Karras et al. 2018, sections 2 and 4, table 2. B pictures, C channels."""

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from formats.weights import ModelFiles, write_weights
from training.progressive.config import SMALLEST_PX, ProgressiveConfig
from training.progressive.layers import GAIN, Equalised, Growing, larger, lrelu, pixel_norm


class ProgressiveError(Exception):
    """A Progressive GAN cannot be built, trained or loaded; the message says why and what helps."""


FILES = ModelFiles("progressive_gan", "Progressive GAN", "pggan_pages", ProgressiveConfig, ProgressiveError)


class Generator(Growing):
    """z [B, z_dim] → pictures [B, channels, resolution, resolution], about [-1, 1]."""

    def __init__(self, config: ProgressiveConfig) -> None:
        super().__init__(config)
        filters = config.filters
        befores = (filters[0], *filters)
        self.blocks = nn.ModuleList(
            FirstBlock(config.z_dim, filters[0]) if level == 0 else Block(befores[level], maps) for level, maps in enumerate(filters)
        )
        self.to_rgb = nn.ModuleList(Equalised(maps, config.channels, kernel=1, gain=1.0) for maps in filters)

    def forward(self, z: Tensor, c: Tensor | None = None, /, *, truncation_psi: float | Tensor = 1.0) -> Tensor:
        """What the network draws, made as large as the finished picture by repeating pixels if it has not grown so far.

        c: there are no labels. truncation_psi: z, normalised or not, is multiplied by it; a tensor [B, 1] gives each picture its own.
        """
        del c
        return larger(self.draw(self.latents(z) * truncation_psi), self.config.resolution // self.config.grown_px)

    def latents(self, z: Tensor) -> Tensor:
        """Z as the first layer wants it."""
        return pixel_norm(z) if self.config.normalize_latents else z

    def draw(self, latents: Tensor) -> Tensor:
        """Pictures [B, channels, grown_px, grown_px], in the precision of the weights, of latents as they are."""
        level = self.config.level
        x, before = latents, latents
        for block in self.blocks[: level + 1]:
            x, before = block(x), x
        new = self._rgb(level, x)
        return new if level == 0 or self.config.alpha == 1 else self.blended(larger(self._rgb(level - 1, before)), new)

    def _rgb(self, level: int, x: Tensor) -> Tensor:
        # In the precision of the weights: the sum of two pictures, and what D is to compare with reals, should not be rounded.
        to_rgb = cast(Equalised, self.to_rgb[level])
        with torch.autocast(x.device.type, enabled=False):
            return to_rgb(x.to(to_rgb.weight.dtype))


class FirstBlock(nn.Module):
    """Latents [B, z_dim] → [B, C, 4, 4]: a dense layer and a convolution."""

    def __init__(self, z_dim: int, maps: int) -> None:
        super().__init__()
        places = SMALLEST_PX**2
        # A quarter of the gain of all others, as published for the first layer.
        self.dense = Equalised(z_dim, maps * places, kernel=0, gain=GAIN / 4, bias_of=places)
        self.conv = Equalised(maps, maps, kernel=3)

    def forward(self, latents: Tensor) -> Tensor:
        x = self.dense(latents).unflatten(1, (-1, SMALLEST_PX, SMALLEST_PX))
        return pixel_norm(lrelu(self.conv(pixel_norm(lrelu(x)))))


class Block(nn.Module):
    """x [B, C, S, S] → [B, C', 2 S, 2 S]: nearest neighbours, then two convolutions."""

    def __init__(self, before: int, maps: int) -> None:
        super().__init__()
        self.conv0 = Equalised(before, maps, kernel=3)
        self.conv1 = Equalised(maps, maps, kernel=3)

    def forward(self, x: Tensor) -> Tensor:
        x = pixel_norm(lrelu(self.conv0(larger(x))))
        return pixel_norm(lrelu(self.conv1(x)))


def save_generator(folder: Path, generator: Generator) -> None:
    """Write generator.safetensors and config.json, which says how far it has grown, into `folder`: the same bytes for the same weights."""
    FILES.write_config(folder, generator.config)
    write_weights(folder / "generator.safetensors", generator)


def load_generator(folder: str | Path, *, device: str | torch.device = "cpu") -> Generator:
    """The generator of a `data/pggan_pages` folder as far as it has grown, in evaluation mode and without gradients. Raises ProgressiveError."""
    folder = Path(folder)
    generator = Generator(FILES.read_config(folder))
    FILES.read_weights(folder / "generator.safetensors", generator)
    return generator.to(device).eval().requires_grad_(False)
