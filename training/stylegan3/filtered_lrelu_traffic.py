"""How many bytes the filtered leaky ReLUs of a generator move, by count, along the plain path and through the kernel.

    python -m training.stylegan3.filtered_lrelu_traffic        # the table of docs/stylegan3_speed.md

An operation is counted as reading its operands and writing its result once each, which is what is left when caches are too small to pass tensors from
one operation to the next. Filters, biases and factors are small and left out.
"""

import itertools
from argparse import ArgumentParser
from collections.abc import Sequence
from typing import NamedTuple, get_args

import torch

from training.stylegan3.config import Cfg, StyleGAN3Config
from training.stylegan3.generator import Generator, SynthesisLayer


class Traffic(NamedTuple):
    """Bytes a picture. forward: without gradients; forward_kept: when a backward pass follows, for which `kept` bytes stay in memory."""

    forward: int
    forward_kept: int
    backward: int
    kept: int

    def tb_a_kimg(self) -> float:
        """A thousand pictures of training, in units of 1e12 bytes: G draws once for D's turn, and once with a backward pass for its own."""
        return 1000 * (self.forward + self.forward_kept + self.backward) / 1e12


def traffic(config: StyleGAN3Config) -> tuple[Traffic, Traffic]:
    """Of all filtered leaky ReLUs of a generator on a GPU: (plain, kernel)."""
    with torch.device("meta"):
        layers = [layer for layer in Generator(config).synthesis.layers() if not layer.spec.is_torgb]
    paths = zip(*(layer_traffic(layer) for layer in layers), strict=True)
    plain, kernel = (Traffic(*(sum(column) for column in zip(*path, strict=True))) for path in paths)
    return plain, kernel


def layer_traffic(layer: SynthesisLayer) -> tuple[Traffic, Traffic]:
    """Of one layer other than ToRGB: (plain, kernel)."""
    spec, plan = layer.spec, layer.plan
    size = 4 if layer.precision == "float32" or not spec.is_low_precision else 2
    C, i, o = spec.out_channels, plan.in_size[0], spec.out_size
    # The plain path rounds the middle up to whole blocks, and does a radial filter as a sum of `rank` separable ones.
    m, rank = layer.up.shape[0], layer.down_vertical.shape[0] // o
    first, across, middle, along, last = (C * size * places for places in (i * i, i * m, m * m, rank * o * m, o * o))
    # Factor and bias; up along each axis; leaky ReLU; clamp; down along each axis.
    forward = 2 * first + (first + across) + (across + middle) + 2 * middle + 2 * middle + (middle + along) + (along + last)
    # The same axes backwards; both masks read two tensors.
    backward = (last + along) + (along + middle) + 3 * middle + 3 * middle + (middle + across) + (across + first)
    # Then the product with the factor, the bias' sum, and for the factor two products (torch.addcmul multiplies by 1, too) and a sum. The kernel only
    # loads what the factor was multiplied by.
    backward += 2 * first + first + (2 + 3 + 1) * first
    codes = -(-C // 4) * plan.middle_size[0] * plan.middle_size[1]
    return Traffic(forward, forward, backward, middle), Traffic(first + last, first + last + codes, last + codes + 2 * first, codes)


def main(argv: Sequence[str] | None = None) -> None:
    parser = ArgumentParser(description="Bytes that filtered leaky ReLUs move.")
    parser.add_argument("--resolutions", type=int, nargs="+", default=[128, 256, 512, 1024], metavar="N")
    resolutions = parser.parse_args(argv).resolutions
    print("| configuration | cbase | TB a kimg, plain | kernel | ratio | MB kept a picture, plain | kernel |\n|---|---|---|---|---|---|---|")
    configurations: tuple[Cfg, ...] = get_args(Cfg)
    for cfg, resolution, cbase in itertools.product(configurations, resolutions, (16384, 32768)):
        plain, kernel = traffic(StyleGAN3Config(cfg=cfg, resolution=resolution, cbase=cbase))
        moved, fused = plain.tb_a_kimg(), kernel.tb_a_kimg()
        kept = f"{plain.kept / 1e6:.0f} | {kernel.kept / 1e6:.0f}"
        print(f"| {cfg[-1].upper()} {resolution} | {cbase} | {moved:.2f} | {fused:.2f} | {moved / fused:.1f} | {kept} |")


if __name__ == "__main__":
    main()
