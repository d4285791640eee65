"""Films of a Progressive GAN: how its pages grew, and walks through what it can draw.

    python -m training.progressive.walks                                                  # the stage: data/book_walks
    python -m training.progressive.walks --set methods=[spherical] --set keypoints=3 --set frames=10      # seconds on a CPU
    python -m training.progressive.walks --set gif=true --set png=true                    # also GIFs, and interpolation_00000.png …

training/gans/latent_walks.py says what the ways are. One film for each, several walks side by side; walks.png shows the first of them, way by way,
and training.mp4 and poster.png the training. A grey level means the same in every frame.
"""

import json
import math
import sys
from argparse import Namespace
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy
import torch
from torch import Tensor

from formats.video import VideoError
from stages.output_folder import OutputFolder
from stages.params import load_params
from stages.program import program
from stages.reporting import Reporter
from training.gans.drawing import DrawingError
from training.gans.grids import evenly, to_uint8
from training.gans.latent_walks import PATHS, segments, smooth_noise
from training.gans.report_pictures import draw_rows
from training.gans.seed_ranges import latents
from training.gans.video import FilmConfig, Walk, kimg_label, write_films
from training.loop.bounds import above, at_least
from training.loop.devices import open_devices
from training.progressive.generator import Generator, ProgressiveError, load_generator
from training.progressive.schedule import GrowthSchedule

STAGE = "book_walks"
MODEL = "pggan_pages"

Method = Literal["linear", "spherical", "origin", "smooth"]
# Moments of each way in walks.png.
_SHOWN = 12


@dataclass(frozen=True)
class BookWalksConfig(FilmConfig):
    """The section `book_walks`.

    methods: one film for each. keypoints: latents that each place of the grid passes; frames: from one to the next. loop: and back to the first.
    smooth_s: of `smooth`, which has no keypoints but as many frames and is always a loop: standard deviation of the smoothing in seconds.
    """

    methods: tuple[Method, ...] = ("linear", "spherical", "origin", "smooth")
    keypoints: int = 10
    frames: int = 100
    loop: bool = True
    psi: float = 1.0
    smooth_s: float = 1.0

    def __post_init__(self) -> None:
        at_least(self, 2, "keypoints")
        at_least(self, 1, "frames")
        above(self, 0, "smooth_s")
        if not self.methods or len(set(self.methods)) < len(self.methods):
            raise ValueError(f"methods must name ways to walk, each once, found {list(self.methods)}")
        super().__post_init__()

    @property
    def keys(self) -> int:
        return self.keypoints

    @property
    def frame_count(self) -> int:
        return self.frames * (self.keypoints if self.loop else self.keypoints - 1)


def walk(generator: Generator, method: Method, config: BookWalksConfig) -> Walk:
    """Through latents as the first layer wants them, so that all keys have one length where the network normalises."""
    z_dim, device = generator.config.z_dim, next(generator.parameters()).device
    path: Iterable[Tensor]
    if method == "smooth":
        sigma = config.smooth_s * config.fps
        path = smooth_noise(config.frame_count, config.places, z_dim, sigma_frames=sigma, seed=config.walk_seeds[0])
    else:
        keys = generator.latents(latents(config.walk_seeds, z_dim)).unflatten(0, (config.keypoints, config.places))
        path = segments(keys, config.frames, PATHS[method], loop=config.loop)

    @torch.inference_mode()
    def draw(points: Tensor) -> numpy.ndarray:
        points, psi = points.to(device), torch.full((len(points), 1), config.psi, device=device)
        # Through the origin lengths must tell, so what the network divides by is put back; at 0 itself its divisor is an epsilon and all stays 0.
        if method == "origin" and generator.config.normalize_latents:
            psi = psi * points.square().mean(dim=1, keepdim=True).sqrt()
        return to_uint8(generator(points, truncation_psi=psi)).cpu().numpy()

    return Walk(path, draw)


def moments(walk: Walk) -> numpy.ndarray:
    """uint8 [N, C, R, R]: moments of the first place's walk, evenly over its frames."""
    return walk.draw(torch.stack([points[0] for points in evenly(list(walk.path), _SHOWN)]))


def growth_label(model: Path, resolution: int) -> Callable[[int], str]:
    """From images seen to such as `40 kimg · 32 px · lod 1.25`: how far the network had grown. lod: doublings of the side that were still to come."""
    path = model / "training_options.json"
    try:
        options = json.loads(path.read_text(encoding="utf-8"))
        schedule = GrowthSchedule(resolution, *(round(options[name] * 1000) for name in ("stable_kimg", "fade_kimg")))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ProgressiveError(f"{path}: stable_kimg and fade_kimg cannot be read ({error!r}); train again, or set label: false") from None

    def label(images: int) -> str:
        growth = schedule.at(images)
        lod = math.log2(resolution / growth.px) + 1 - growth.alpha
        return f"{kimg_label(images)} · {growth.px} px · lod {lod:.2f}"

    return label


def _run(arguments: Namespace, reporter: Reporter) -> None:
    config = load_params(arguments.params, STAGE, BookWalksConfig, overrides=arguments.overrides)
    model = arguments.data / MODEL
    with open_devices() as devices, OutputFolder(arguments.data / STAGE) as output:
        generator = load_generator(model, device=devices.device)
        label = growth_label(model, generator.config.resolution) if config.label else kimg_label
        walks: dict[str, Walk] = {method: walk(generator, method, config) for method in config.methods}
        write_films(STAGE, model, walks, config, output=output, reporter=reporter, label=label)
        draw_rows([moments(walk(generator, method, config)) for method in config.methods], output.file("walks.png"))


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `book_walks`; see stages/program.py for flags and exit codes."""
    return program(__doc__, _run, argv, expected=(ProgressiveError, DrawingError, VideoError))


if __name__ == "__main__":
    sys.exit(main())
