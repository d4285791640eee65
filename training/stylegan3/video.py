"""Videos of a StyleGAN3: how it came to draw what it draws, and a walk through what it can draw.

    python -m training.stylegan3.video                                          # the stage: data/toc_training_video
    python -m training.stylegan3.video --set keyframes=3 --set w_frames=10      # seconds on a CPU

training/gans/video.py says what the videos show; the walk goes through W.
"""

import sys
from argparse import Namespace
from collections.abc import Sequence

import numpy
import torch
from torch import Tensor

from formats.video import VideoError
from stages.output_folder import OutputFolder
from stages.params import load_params
from stages.program import program
from stages.reporting import Reporter
from training.gans.drawing import DrawingError
from training.gans.grids import to_uint8
from training.gans.video import VideoConfig, Walk, closed_walk, write_films
from training.loop.devices import open_devices
from training.stylegan3.generator import Generator, StyleGAN3Error, load_generator
from training.stylegan3.styles import seed_styles

STAGE = "toc_training_video"
MODEL = "stylegan3_toc"


@torch.inference_mode()
def walk_in_w(generator: Generator, config: VideoConfig) -> Walk:
    """A walk through W, where straight lines look straight (Karras et al. 2019, section 4.1). Raises DrawingError."""
    ws = seed_styles(generator, config.walk_seeds, psi=config.psi, class_index=config.class_index)
    # Place p of the grid passes the keys p, p + places, … [keyframes, places, …]
    keys = ws.cpu().unflatten(0, (config.keyframes, config.places))

    @torch.inference_mode()
    def draw(points: Tensor) -> numpy.ndarray:
        return to_uint8(generator.synthesis(points.to(ws.device))).cpu().numpy()

    return Walk(closed_walk(keys, config.w_frames), draw)


def _run(arguments: Namespace, reporter: Reporter) -> None:
    config = load_params(arguments.params, STAGE, VideoConfig, overrides=arguments.overrides)
    model = arguments.data / MODEL
    with open_devices() as devices, OutputFolder(arguments.data / STAGE) as output:
        walks = {"interpolation": walk_in_w(load_generator(model, device=devices.device), config)}
        write_films(STAGE, model, walks, config, output=output, reporter=reporter)


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `toc_training_video`; see stages/program.py for flags and exit codes."""
    return program(__doc__, _run, argv, expected=(StyleGAN3Error, DrawingError, VideoError))


if __name__ == "__main__":
    sys.exit(main())
