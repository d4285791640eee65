"""Look at a trained Progressive GAN in the browser: seeds, walks from one to another, the scale of latents, and what its layers hold.

    python -m training.progressive.view data/pggan_pages --open

The page is served on 127.0.0.1 until Ctrl-C.
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from training.gans.grids import to_uint8
from training.gans.latent_walks import spherical
from training.gans.seed_ranges import latents
from training.gans.viewer.controls import Control, Seed, Slider
from training.gans.viewer.model import ViewedLayer
from training.gans.viewer.program import view_program
from training.progressive.config import sides
from training.progressive.generator import Generator, ProgressiveError, load_generator

_CONTROLS: tuple[Control, ...] = (
    Seed("seed", "Seed", "Latent", 0, hint="the latent vector NumPy's RandomState gives"),
    Seed("toward", "Towards seed", "Latent", 1),
    Slider("blend", "Blend", "Latent", 0, 1, 0.01, 0, hint="along the arc from the seed to the other one"),
    Slider("psi", "Scale ψ", "Latent", 0, 2, 0.01, 1, hint="of the latent vector; 1 is what the network was trained with"),
)


class ProgressiveView:
    """The `ViewedModel` of a generator, as far as it has grown."""

    def __init__(self, name: str, generator: Generator) -> None:
        config = generator.config
        self.name, self.generator = name, generator
        parameters = sum(parameter.numel() for parameter in generator.parameters())
        grown = f"grown to {config.grown_px} of {config.resolution} px" if config.grown_px < config.resolution else f"{config.resolution} px"
        fade = [f"newest layers count {config.alpha:.2f}"] if config.alpha < 1 else []
        self.facts: Sequence[str] = ["Progressive GAN", grown, *fade, f"{parameters:,} parameters", next(generator.parameters()).device.type.upper()]
        blocks = zip(sides(config.grown_px), config.filters, strict=False)
        self.layers: Sequence[ViewedLayer] = [
            *(ViewedLayer(f"{side} px", maps, side) for side, maps in blocks),
            ViewedLayer("picture", config.channels, config.grown_px),
        ]
        self.controls: Sequence[Control] = _CONTROLS

    @torch.no_grad()
    def draw(self, settings: Mapping[str, Any], /) -> numpy.ndarray:
        """uint8 [R, R, C]."""
        return to_uint8(self.generator(self._z(settings), truncation_psi=settings["psi"]))[0].permute(1, 2, 0).cpu().numpy()

    @torch.no_grad()
    def activations(self, settings: Mapping[str, Any], layer: int, /) -> numpy.ndarray:
        """float32 [C, H, W] of what leaves a block; the last one is the picture."""
        x = self.generator.latents(self._z(settings)) * settings["psi"]
        if layer == len(self.layers) - 1:
            x = self.generator.draw(x)
        else:
            for block in self.generator.blocks[: layer + 1]:
                x = block(x)
        return x[0].float().cpu().numpy()

    def _z(self, settings: Mapping[str, Any]) -> Tensor:
        """[1, z_dim]."""
        start, end = latents([settings["seed"], settings["toward"]], self.generator.config.z_dim)
        return spherical(start, end, settings["blend"])[None].to(next(self.generator.parameters()).device)


def open_view(path: Path, *, device: torch.device | str = "cpu") -> ProgressiveView:
    """The generator in a folder that a training wrote. Raises ProgressiveError."""
    return ProgressiveView(path.resolve().name, load_generator(path, device=device))


def main(argv: Sequence[str] | None = None) -> int:
    """See training/gans/viewer/program.py for flags and exit codes."""
    what = "folder of a trained Progressive GAN"
    return view_program(__doc__, lambda path, device: open_view(path, device=device), argv, expected=ProgressiveError, model_help=what)


if __name__ == "__main__":
    sys.exit(main())
