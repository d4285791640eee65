"""Let a trained Progressive GAN draw pages.

    python -m training.progressive.sample                                                # the stage: data/book_fakes, by seeds
    python -m training.progressive.sample --set seeds=0-63                               # seconds on a CPU
    python -m training.progressive.sample --network data/pggan_pages --seeds 0,1,4-6 --outdir out         # PNG files seed0000.png …

The latent vector of seed s is NumPy's RandomState(s).randn(1, z_dim). A network that is still growing draws as far as it has grown. psi scales what
the first layer is given, and 1 is what it was trained with. Because a norm follows, only the biases of that layer see the difference: less of it
brings pages nearer to each other, but it is no truncation as StyleGAN has it.
"""

import sys
from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy

from formats.image_shards import ImageSetError
from stages.program import program
from stages.reporting import Reporter
from training.gans.drawing import DrawingError, class_label, draw_seeds
from training.gans.sample import FakesConfig, asked_for, configure, draw_files, make_fakes, with_gaps
from training.gans.seed_ranges import parse_seeds
from training.loop.devices import open_devices
from training.progressive.generator import ProgressiveError, load_generator

STAGE = "book_fakes"
MODEL = "pggan_pages"


@dataclass(frozen=True)
class BookFakesConfig(FakesConfig):
    """The section `book_fakes`."""

    psi: tuple[float, ...] = (1.0,)


def _run(arguments: Namespace, reporter: Reporter) -> None:
    by_hand = arguments.network is not None
    config = asked_for(arguments, STAGE, BookFakesConfig, by_hand=by_hand, psi=(arguments.trunc,))
    class_label(0, config.class_index)  # there are no classes to ask for
    model = arguments.network or arguments.data / MODEL
    with open_devices() as devices:
        generator = load_generator(model, device=devices.device)

        def draw_some(seeds: Sequence[int], psi: float) -> Iterator[tuple[int, numpy.ndarray]]:
            return draw_seeds(generator, seeds, z_dim=generator.config.z_dim, label=None, psi=psi, batch_size=config.batch_size)

        if by_hand:
            draw_files(draw_some, parse_seeds(config.seeds), arguments.trunc, arguments.outdir, reporter)
            return
        places = {"model": model, "data": arguments.data, "state": arguments.state}
        make_fakes(STAGE, draw_some, config, **places, module="training.progressive.sample", reporter=reporter, draw_gallery=with_gaps)


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `book_fakes`; see stages/program.py for flags and exit codes."""
    return program(__doc__, _run, argv, expected=(ProgressiveError, DrawingError, ImageSetError), configure=configure)


if __name__ == "__main__":
    sys.exit(main())
