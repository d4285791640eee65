"""A sheet of mixed styles: each row's pictures with some layers' style vectors taken from each column's.

    python -m training.stylegan3.mixing --row-seeds 85,100,75 --col-seeds 55,821 --col-styles 0-6 --out out/mixing.png

The top row shows the columns' own pictures, the left column the rows'. Low layers carry pose and layout, high ones texture and colour.
Source: Karras et al. 2019, arXiv:1812.04948, section 3.1 (style mixing).
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

import numpy
import torch
from torch import Tensor

from stages.params import ParamsError
from stages.program import program
from stages.reporting import Reporter
from training.gans.drawing import DrawingError
from training.gans.grids import save_picture, tile
from training.gans.seed_ranges import SeedRangeError, parse_seeds
from training.loop.devices import open_devices
from training.stylegan3.generator import Generator, StyleGAN3Error, load_generator
from training.stylegan3.styles import draw_styles, seed_styles

MODEL = "stylegan3_toc"


def mixing_sheet(generator: Generator, rows: Tensor, columns: Tensor, styles: Sequence[int], *, batch: int = 16) -> numpy.ndarray:
    """uint8 [(R + 1) · S, (C + 1) · S, 3] for rows [R, num_ws, w_dim] and columns [C, num_ws, w_dim]. styles: which of num_ws a column gives.

    Raises DrawingError for a style that the generator has not.
    """
    num_ws = generator.config.num_ws
    if not styles or min(styles) < 0 or max(styles) >= num_ws:
        raise DrawingError(f"the styles of a picture are 0 to {num_ws - 1}; expected some of them, found {', '.join(map(str, styles)) or 'none'}")
    mixed = rows[:, None].repeat(1, len(columns), 1, 1)
    mixed[:, :, list(styles)] = columns[None, :, list(styles)]
    drawn = iter(draw_styles(generator, torch.cat([columns, torch.cat([rows[:, None], mixed], dim=1).flatten(0, 1)]), batch=batch))
    first = next(drawn)
    # The corner above the rows and left of the columns stays white.
    return tile(numpy.stack([numpy.full_like(first, 255), first, *drawn]), len(columns) + 1)


def _run(arguments: Namespace, reporter: Reporter) -> None:
    try:
        chosen = {name: parse_seeds(getattr(arguments, name)) for name in ("row_seeds", "col_seeds", "col_styles")}
    except SeedRangeError as error:
        raise ParamsError(str(error)) from None
    with open_devices() as devices:
        generator = load_generator(arguments.network or arguments.data / MODEL, device=devices.device)
        rows, columns = (
            seed_styles(generator, chosen[name], psi=arguments.psi, class_index=arguments.class_index) for name in ("row_seeds", "col_seeds")
        )
        sheet = mixing_sheet(generator, rows, columns, chosen["col_styles"], batch=arguments.batch)
    save_picture(arguments.out, sheet)
    reporter.log(f"{len(rows)} rows and {len(columns)} columns, styles {arguments.col_styles} of {generator.config.num_ws}: {arguments.out}")


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("--network", type=Path, metavar="DIR", help=f"a trained StyleGAN3 (default: {MODEL} below --data)")
    parser.add_argument("--row-seeds", default="85,100,75,458", metavar="RANGES", help="such as 0,1,4-6 (default: %(default)s)")
    parser.add_argument("--col-seeds", default="55,821,1789,293", metavar="RANGES", help="whose styles are mixed in (default: %(default)s)")
    parser.add_argument("--col-styles", default="0-6", metavar="RANGES", help="layers that take the column's style (default: %(default)s)")
    parser.add_argument("--psi", "--trunc", type=float, default=1.0, dest="psi", metavar="PSI", help="truncation (default: %(default)s)")
    parser.add_argument("--class", type=int, dest="class_index", metavar="N", help="class of a conditional model")
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="pictures side by side (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("out/mixing.png"), metavar="FILE", help="the PNG (default: %(default)s)")


def main(argv: Sequence[str] | None = None) -> int:
    """See stages/program.py for exit codes."""
    return program(__doc__, _run, argv, expected=(StyleGAN3Error, DrawingError), configure=_configure)


if __name__ == "__main__":
    sys.exit(main())
