"""Look at a trained StyleGAN3 in the browser: seeds, truncation, placement, style mixing, and what its layers hold.

    python -m training.stylegan3.view data/stylegan3_toc --open
    python -m training.stylegan3.view network-snapshot-005000.pkl       # NVIDIA's, read without running anything in it

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
from training.gans.viewer.controls import Control, Seed, Slider, Subset
from training.gans.viewer.model import ViewedLayer
from training.gans.viewer.program import view_program
from training.stylegan3.config import StyleGAN3Config
from training.stylegan3.generator import Generator, StyleGAN3Error
from training.stylegan3.nvidia_snapshots import open_generator
from training.stylegan3.sample import placement
from training.stylegan3.styles import seed_styles


class StyleGAN3View:
    """The `ViewedModel` of a generator."""

    def __init__(self, name: str, generator: Generator) -> None:
        config, synthesis = generator.config, generator.synthesis
        self.name, self.generator = name, generator
        parameters = sum(parameter.numel() for parameter in generator.parameters())
        self.facts: Sequence[str] = [config.cfg, f"{config.resolution} px", f"{parameters:,} parameters", generator.mapping.w_avg.device.type.upper()]
        specs = [layer.spec for layer in synthesis.layers()]
        self.layers: Sequence[ViewedLayer] = [
            ViewedLayer("input", synthesis.input.spec.channels, synthesis.input.spec.size),
            *(ViewedLayer(spec.name, spec.out_channels, spec.out_size) for spec in specs),
        ]
        self.controls: Sequence[Control] = _controls(config, [layer.name for layer in self.layers])

    @torch.no_grad()
    def draw(self, settings: Mapping[str, Any], /) -> numpy.ndarray:
        """uint8 [R, R, C]."""
        ws = self._prepared(settings)
        return to_uint8(self.generator.synthesis(ws))[0].permute(1, 2, 0).cpu().numpy()

    @torch.no_grad()
    def activations(self, settings: Mapping[str, Any], layer: int, /) -> numpy.ndarray:
        """float32 [C, H, W] of what leaves the Fourier features (0) or synthesis layer `layer` - 1; the last one is ToRGB."""
        first, *rest = self._prepared(settings).unbind(dim=1)
        x = self.generator.synthesis.input(first)
        for synthesis_layer, w in list(zip(self.generator.synthesis.layers(), rest, strict=True))[:layer]:
            x = synthesis_layer(x, w)
        return x[0].float().cpu().numpy()

    def _prepared(self, settings: Mapping[str, Any]) -> Tensor:
        """Style vectors [1, num_ws, w_dim]; the input is placed."""
        generator = self.generator
        transform = generator.synthesis.input.transform
        transform.copy_(placement((settings["x"], settings["y"]), settings["turn"]))
        seeds = [settings["seed"], settings["toward"], settings["mix_seed"]]
        start, end, other = seed_styles(generator, seeds, psi=settings["psi"], cutoff=settings["cutoff"], class_index=settings.get("class"))
        # Straight lines in W look straight (Karras et al. 2019, section 4.1); some layers may follow another latent (section 3.1, style mixing).
        ws = start.lerp(end, settings["blend"])
        mixed = list(settings["mix"])
        ws[mixed] = other[mixed]
        return ws[None]


def _controls(config: StyleGAN3Config, layers: Sequence[str]) -> list[Control]:
    controls: list[Control] = [
        Seed("seed", "Seed", "Latent", 0, hint="the latent vector NumPy's RandomState gives: the same picture as in any other StyleGAN program"),
        Seed("toward", "Towards seed", "Latent", 1),
        Slider("blend", "Blend", "Latent", 0, 1, 0.01, 0, hint="straight from the seed to the other one, through W"),
        Slider("psi", "Truncation ψ", "Truncation", -1, 2, 0.01, 1, hint="0 is the average picture, 1 the whole distribution"),
        Slider("cutoff", "First layers truncated", "Truncation", 0, config.num_ws, 1, config.num_ws, hint="the rest keep ψ = 1", is_whole=True),
        Slider("x", "Right", "Placement", -1, 1, 0.005, 0, hint="in sides of the picture; or drag the picture"),
        Slider("y", "Down", "Placement", -1, 1, 0.005, 0, hint="in sides of the picture; or drag the picture"),
        Slider("turn", "Turn", "Placement", -180, 180, 1, 0, unit="°", hint="anticlockwise; or drag with Shift"),
        Seed("mix_seed", "Style seed", "Style mixing", 2),
        Subset("mix", "Layers that follow it", "Style mixing", tuple(layers), hint="the first layers decide shapes, the last ones colours"),
    ]
    if config.label_dim:
        controls.insert(0, Slider("class", "Class", "Latent", 0, config.label_dim - 1, 1, 0, is_whole=True))
    return controls


def open_view(path: Path, *, device: torch.device | str = "cpu") -> StyleGAN3View:
    """The generator in a folder that a training wrote, or in a snapshot of NVIDIA's. Raises StyleGAN3Error."""
    return StyleGAN3View(path.stem if path.is_file() else path.resolve().name, open_generator(path, device=device))


def main(argv: Sequence[str] | None = None) -> int:
    """See training/gans/viewer/program.py for flags and exit codes."""
    what = "folder of a trained StyleGAN3, or a .pkl snapshot of NVIDIA's"
    return view_program(__doc__, lambda path, device: open_view(path, device=device), argv, expected=StyleGAN3Error, model_help=what)


if __name__ == "__main__":
    sys.exit(main())
