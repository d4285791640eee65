"""How well a generator's pictures follow when its input is moved or turned: EQ-T, EQ-T_frac and EQ-R, in decibels.

    python -m training.stylegan3.equivariance data/stylegan3_toc --metrics eqt,eqt_frac,eqr --pictures 64

Source: Karras et al. 2021, appendix E. Published for 256 px and 50,000 pictures: EQ-T 63.0 dB (config T) and 66.7 (R), EQ-T_frac 46.4 and 45.9;
StyleGAN2 with Fourier features 16.2 and 16.3. EQ-T has no upper end; the others stay below about 50 dB, because resampling is ambiguous.
"""

import json
import math
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy
import torch
from torch import Tensor

from stages.derived_seed import derive_seed
from stages.params import ParamsError
from stages.program import program
from stages.reporting import Reporter
from training.loop.devices import open_devices
from training.metrics.images.moving import filter_as_if_turned, shift, shift_by_pixels, turn
from training.metrics.intervals import Estimate, bootstrap_interval
from training.stylegan3.config import Precision
from training.stylegan3.generator import Generator, StyleGAN3Error
from training.stylegan3.nvidia_snapshots import open_generator
from training.stylegan3.styles import random_styles

EquivarianceMetric = Literal["eqt", "eqt_frac", "eqr"]
EQUIVARIANCE_METRICS: tuple[EquivarianceMetric, ...] = get_args(EquivarianceMetric)

_RANGE = 2.0  # From -1 to 1: I_max of the paper.
_MOST_SHIFT = 1 / 8  # of the side, along each axis
_BOOTSTRAP_ROUNDS = 1000

# A draw of how to move: the transform [3, 3] of the generator's input, and what makes the reference and the result comparable, each (image, valid).
_Move = tuple[Tensor, Callable[[Tensor], tuple[Tensor, Tensor]], Callable[[Tensor], tuple[Tensor, Tensor]]]


@torch.no_grad()
def measure_equivariance(
    generator: Generator, metrics: Sequence[EquivarianceMetric], *, pictures: int, batch: int = 8, seed: int = 0
) -> dict[str, Estimate]:
    """By `eqt_db`, `eqt_frac_db`, `eqr_db`: peak signal-to-noise ratio between "moved input" and "moved output", with its interval over pictures.

    Every picture has latents and a move of its own; the classes of a conditional model are drawn alike. Infinite if nothing ever differs.
    """
    source = generator.synthesis.input
    saved = source.transform
    # Sums of squares and counts of pixels, by metric and picture: the mean is over pixels, as in equation 19.
    sums = {metric: numpy.zeros((pictures, 2)) for metric in metrics}
    draws = {metric: numpy.random.default_rng(derive_seed(seed, "equivariance", metric)) for metric in metrics}
    try:
        for place, ws in enumerate(random_styles(generator, pictures, seed, "equivariance", batch=batch)):
            source.transform = torch.eye(3).to(saved)
            still = generator.synthesis(ws)
            for metric in metrics:
                moves = [_MOVES[metric](draws[metric], generator.config.resolution) for _ in ws]
                source.transform = torch.stack([transform for transform, _, _ in moves]).to(saved)
                moved = generator.synthesis(ws)
                for row, (_, reference, result) in enumerate(moves):
                    sums[metric][place * batch + row] = _squares(reference(still[row]), result(moved[row]))
    finally:
        source.transform = saved
    return {f"{metric}_db": _estimate(values, derive_seed(seed, "bootstrap", metric)) for metric, values in sums.items()}


def translation(right: float, down: float) -> Tensor:
    """The `transform` [3, 3] that moves pictures by these parts of their side. It maps places of the output to places of the input: the inverse."""
    matrix = torch.eye(3)
    matrix[0, 2], matrix[1, 2] = -right, -down
    return matrix


def rotation(angle: float) -> Tensor:
    """The `transform` [3, 3] that turns pictures about their centre by `angle`, in radians, clockwise as seen (y points down)."""
    cos, sin = math.cos(angle), math.sin(angle)
    return torch.tensor([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])


def _whole_shift(random: numpy.random.Generator, side: int) -> _Move:
    """E.1: whole pixels, up to an eighth of the side."""
    most = int(side * _MOST_SHIFT)
    right, down = (int(by) for by in random.integers(-most, most + 1, 2))
    return translation(right / side, down / side), lambda image: shift_by_pixels(image, right, down), _as_it_is


def _shift(random: numpy.random.Generator, side: int) -> _Move:
    """E.2: the same without being whole."""
    right, down = (float(by) for by in random.uniform(-side * _MOST_SHIFT, side * _MOST_SHIFT, 2))
    return translation(right / side, down / side), lambda image: shift(image, right, down), _as_it_is


def _turn(random: numpy.random.Generator, side: int) -> _Move:
    """E.3: any angle; the result lacks what the turned reference lacks."""
    del side
    angle = float(random.uniform(0, 2 * math.pi))
    return rotation(angle), lambda image: turn(image, angle), lambda image: filter_as_if_turned(image, angle)


_MOVES: dict[EquivarianceMetric, Callable[[numpy.random.Generator, int], _Move]] = {"eqt": _whole_shift, "eqt_frac": _shift, "eqr": _turn}


def _as_it_is(image: Tensor) -> tuple[Tensor, Tensor]:
    return image, torch.ones(image.shape[1:], dtype=torch.bool, device=image.device)


def _squares(reference: tuple[Tensor, Tensor], result: tuple[Tensor, Tensor]) -> tuple[float, int]:
    """(sum of squared differences, how many) over the pixels that are valid in both."""
    valid = reference[1] & result[1]
    difference = (reference[0] - result[0])[:, valid].double()
    return difference.square().sum().item(), difference.numel()


def _estimate(sums: numpy.ndarray, seed: int) -> Estimate:
    """PSNR of equation 18 from sums [N, 2] of squares and counts, and its bootstrap interval over the N pictures."""

    def psnr(picks: numpy.ndarray) -> numpy.ndarray:
        squares, counts = numpy.moveaxis(sums[picks].sum(axis=1), -1, 0)
        with numpy.errstate(divide="ignore", invalid="ignore"):
            return 10 * numpy.log10(_RANGE**2 * counts / squares)

    value = float(psnr(numpy.arange(len(sums))[None])[0])
    low, high = bootstrap_interval(len(sums), psnr, rounds=_BOOTSTRAP_ROUNDS, seed=seed)
    return Estimate(value, len(sums), low, high)


def _run(arguments: Namespace, reporter: Reporter) -> None:
    metrics = tuple(arguments.metrics.split(","))
    if unknown := sorted(set(metrics) - set(EQUIVARIANCE_METRICS)):
        raise ParamsError(f"--metrics: {', '.join(unknown)} is not known; expected some of {', '.join(EQUIVARIANCE_METRICS)}")
    if arguments.pictures < 1 or arguments.batch < 1:
        raise ParamsError("--pictures and --batch must be at least 1")
    with open_devices() as devices:
        generator = open_generator(arguments.network, device=devices.device)
        if arguments.precision != "auto":
            generator.synthesis.compute_in(getattr(torch, arguments.precision))
        found = measure_equivariance(generator, metrics, pictures=arguments.pictures, batch=arguments.batch, seed=arguments.seed)
    for name, number in found.items():
        reporter.log(f"{name} {number.value:.2f} (95 %: {number.low:.2f} to {number.high:.2f}, {number.n:,} pictures)")
    # For programs: one line of JSON; JSON has no infinity.
    print(json.dumps({name: number.value if math.isfinite(number.value) else None for name, number in found.items()}))


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("network", type=Path, metavar="FOLDER", help="a trained StyleGAN3, such as data/stylegan3_toc")
    parser.add_argument("--metrics", default=",".join(EQUIVARIANCE_METRICS), metavar="NAMES", help="which (default: %(default)s)")
    parser.add_argument("--pictures", type=int, default=1000, metavar="N", help="published 50000 (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="pictures side by side (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of latents and moves (default: %(default)s)")
    parser.add_argument(
        "--precision",
        choices=get_args(Precision),
        default="auto",
        help="of layers that may compute in a low one, here on a CPU too (default: the model's)",
    )


def main(argv: Sequence[str] | None = None) -> int:
    """See stages/program.py for exit codes."""
    return program(__doc__, _run, argv, expected=(StyleGAN3Error,), configure=_configure)


if __name__ == "__main__":
    sys.exit(main())
