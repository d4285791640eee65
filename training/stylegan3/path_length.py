"""Perceptual path length: how much a picture changes, as far as one sees, for a small step in W.

    python -m training.stylegan3.path_length data/stylegan3_toc --pictures 64
    python -m training.stylegan3.path_length data/stylegan3_toc --distance lpips:weights/lpips     # only this compares with published numbers

Source: Karras et al. 2019, arXiv:1812.04948, section 4.1: l_W = E[d(g(lerp(f(z₁), f(z₂); t)), g(lerp(f(z₁), f(z₂); t + ε))) / ε²], ε = 1e-4, over
100,000 pairs. `end`: t = 0, which Karras et al. 2020, arXiv:1912.04958, use; `full`: any t in [0, 1).
"""

import json
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, get_args

import numpy
import torch

from stages.derived_seed import derive_seed
from stages.params import ParamsError
from stages.program import program
from stages.reporting import Reporter
from training.loop.devices import open_devices
from training.loop.seeding import generator as seeded
from training.metrics.images.perceptual import PerceptualDistance, PerceptualDistanceError, open_distance
from training.metrics.intervals import Estimate, mean_estimate
from training.stylegan3.generator import Generator, StyleGAN3Error, load_generator
from training.stylegan3.styles import random_classes, random_styles

Where = Literal["end", "full"]

_EPSILON = 1e-4
# Pairs beyond these percentiles are left out, as all published numbers do (torch-fidelity's defaults).
_LOWEST, _HIGHEST = 1, 99
_BOOTSTRAP_ROUNDS = 1000


@torch.no_grad()
def measure_path_length(
    generator: Generator, distance: PerceptualDistance, *, pictures: int, where: Where = "end", batch: int = 8, seed: int = 0
) -> dict[str, Estimate]:
    """By `ppl_wend_<distance>` or `ppl_wfull_<distance>`: the mean over `pictures` pairs without its outermost percent on either side."""
    purpose = (seed, "path length")
    classes = random_classes(generator, pictures, *purpose)
    ends = (random_styles(generator, pictures, *purpose, side, batch=batch, classes=classes) for side in ("from", "to"))
    places = torch.zeros(pictures) if where == "end" else torch.rand(pictures, generator=seeded("places on paths", *purpose))
    lengths = []
    for first, second, t in zip(*ends, places.split(batch), strict=True):
        here, there = (generator.synthesis(first.lerp(second, at.to(first)[:, None, None])) for at in (t, t + _EPSILON))
        lengths.append(distance(here, there).double().cpu().numpy() / _EPSILON**2)
    values = numpy.concatenate(lengths)
    low, high = numpy.percentile(values, _LOWEST, method="lower"), numpy.percentile(values, _HIGHEST, method="higher")
    kept = values[(low <= values) & (values <= high)]
    return {f"ppl_w{where}_{distance.name}": mean_estimate(kept, rounds=_BOOTSTRAP_ROUNDS, seed=derive_seed(seed, "path length"))}


def _run(arguments: Namespace, reporter: Reporter) -> None:
    if arguments.pictures < 2 or arguments.batch < 1:
        raise ParamsError("--pictures must be at least 2 and --batch at least 1")
    with open_devices() as devices:
        generator = load_generator(arguments.network, device=devices.device)
        distance = open_distance(arguments.distance, seed=arguments.seed, device=devices.device)
        settings = {"pictures": arguments.pictures, "where": arguments.where, "batch": arguments.batch, "seed": arguments.seed}
        found = measure_path_length(generator, distance, **settings)
    for name, number in found.items():
        reporter.log(f"{name} {number.value:.4g} (95 %: {number.low:.4g} to {number.high:.4g}, {number.n:,} pairs)")
    print(json.dumps({name: number.value for name, number in found.items()}))


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("network", type=Path, metavar="FOLDER", help="a trained StyleGAN3, such as data/stylegan3_toc")
    parser.add_argument("--distance", default="random", metavar="NAME", help="random, or lpips:FOLDER with your weights (default: %(default)s)")
    parser.add_argument("--where", choices=get_args(Where), default="end", help="where on the paths (default: %(default)s)")
    parser.add_argument("--pictures", type=int, default=1000, metavar="N", help="pairs; published 100000 (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=8, metavar="N", help="pairs side by side (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of latents and random convolutions (default: %(default)s)")


def main(argv: Sequence[str] | None = None) -> int:
    """See stages/program.py for exit codes."""
    return program(__doc__, _run, argv, expected=(StyleGAN3Error, PerceptualDistanceError), configure=_configure)


if __name__ == "__main__":
    sys.exit(main())
