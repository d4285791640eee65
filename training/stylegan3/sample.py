"""Let a trained StyleGAN3 draw pictures.

    python -m training.stylegan3.sample                                                # the stage: data/toc_fakes, by seeds and truncations
    python -m training.stylegan3.sample --set seeds=0-63 --set psi=[0.8]               # seconds on a CPU
    python -m training.stylegan3.sample --network data/stylegan3_toc --seeds 0,1,4-6 --trunc 0.7 --outdir out         # PNG files seed0000.png …
    python -m training.stylegan3.sample --network data/stylegan3_toc --projected-w out/projected_w.npz --outdir out   # proj00.png …
    python -m training.stylegan3.sample --network network-snapshot-005000.pkl --outdir out                            # of NVIDIA's, read and not run

The latent vector of seed s is NumPy's RandomState(s).randn(1, z_dim), so a seed is one picture at any batch size. Finished shards are kept in
.figment until the stage has ended: killed and started again, it goes on with the next one.
"""

import math
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch
from torch import Tensor

from formats.image_shards import ImageSetError
from stages.program import program
from stages.reporting import Reporter
from training.gans.drawing import DrawingError, class_label, draw_seeds
from training.gans.grids import save_picture, tile
from training.gans.sample import FakesConfig, asked_for, configure, draw_files, make_fakes
from training.gans.seed_ranges import parse_seeds
from training.loop.devices import open_devices
from training.stylegan3.generator import Generator, StyleGAN3Error
from training.stylegan3.nvidia_snapshots import open_generator
from training.stylegan3.styles import draw_styles, read_styles

STAGE = "toc_fakes"
MODEL = "stylegan3_toc"


@dataclass(frozen=True)
class ToCFakesConfig(FakesConfig):
    """The section `toc_fakes`. translate: (right, down) in sides of the picture. rotate: degrees, anticlockwise."""

    translate: tuple[float, ...] = (0.0, 0.0)
    rotate: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.translate) != 2:
            raise ValueError(f"translate must be [right, down], found {list(self.translate)}")


def draw(generator: Generator, seeds: Sequence[int], config: ToCFakesConfig, *, psi: float = 1.0) -> Iterator[tuple[int, numpy.ndarray]]:
    """(seed, uint8 [C, R, R]) for each seed, in order. Raises DrawingError when the class does not fit the model."""
    label = class_label(generator.config.label_dim, config.class_index)
    generator.synthesis.input.transform.copy_(placement(config.translate, config.rotate))
    yield from draw_seeds(generator, seeds, z_dim=generator.config.z_dim, label=label, psi=psi, batch_size=config.batch_size)


def placement(translate: Sequence[float], rotate: float) -> Tensor:
    """[3, 3], the transform of the generator's input for a picture turned anticlockwise by `rotate` degrees about its middle and then moved."""
    cos, sin = math.cos(math.radians(rotate)), math.sin(math.radians(rotate))
    # Places count right and down from the middle.
    moved = torch.tensor([[cos, sin, translate[0]], [-sin, cos, translate[1]], [0.0, 0.0, 1.0]], dtype=torch.float64)
    return torch.linalg.inv(moved).float()


def _run(arguments: Namespace, reporter: Reporter) -> None:
    by_hand = arguments.network is not None or arguments.projected_w is not None
    placed = {"translate": tuple(arguments.translate), "rotate": arguments.rotate}
    config = asked_for(arguments, STAGE, ToCFakesConfig, by_hand=by_hand, **placed)
    model = arguments.network or arguments.data / MODEL
    with open_devices() as devices:
        generator = open_generator(model, device=devices.device)
        if arguments.projected_w is not None:
            _draw_projected(generator, arguments, config, reporter)
            return

        def draw_some(seeds: Sequence[int], psi: float) -> Iterator[tuple[int, numpy.ndarray]]:
            return draw(generator, seeds, config, psi=psi)

        if by_hand:
            draw_files(draw_some, parse_seeds(config.seeds), arguments.trunc, arguments.outdir, reporter)
            return
        places = {"model": model, "data": arguments.data, "state": arguments.state}
        make_fakes(STAGE, draw_some, config, **places, module="training.stylegan3.sample", reporter=reporter)


def _draw_projected(generator: Generator, arguments: Namespace, config: ToCFakesConfig, reporter: Reporter) -> None:
    ws = read_styles(arguments.projected_w, generator)
    generator.synthesis.input.transform.copy_(placement(config.translate, config.rotate))
    for number, picture in enumerate(draw_styles(generator, ws, batch=config.batch_size)):
        save_picture(arguments.outdir / f"proj{number:02d}.png", tile(picture[None], 1))
    reporter.log(f"{len(ws):,} pictures in {arguments.outdir}")


def _configure(parser: ArgumentParser) -> None:
    configure(parser)
    parser.add_argument("--projected-w", type=Path, metavar="FILE", help="draw the style vectors of this npz into --outdir, and no seeds")
    parser.add_argument("--translate", type=_pair, default=(0.0, 0.0), metavar="X,Y", help="move right and down, in sides of the picture")
    parser.add_argument("--rotate", type=float, default=0.0, metavar="DEGREES", help="turn anticlockwise")


def _pair(text: str) -> tuple[float, float]:
    x, _, y = text.partition(",")
    return float(x), float(y)


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `toc_fakes`; see stages/program.py for flags and exit codes."""
    return program(__doc__, _run, argv, expected=(StyleGAN3Error, DrawingError, ImageSetError), configure=_configure)


if __name__ == "__main__":
    sys.exit(main())
