"""How well a generator's pictures follow when its input is moved: equivariance to translation, in decibels.

Source: Karras et al. 2021, section 3.1 and appendices (EQ-T). A model without aliasing reaches about 60 dB, one with texture sticking about 20.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from training.stylegan3.generator import Generator

_RANGE = 2.0  # From -1 to 1: I_max of the paper.


@dataclass(frozen=True)
class EquivarianceScore:
    """eq_t_db: peak signal-to-noise ratio between "moved input" and "moved output"; infinite if they never differ."""

    eq_t_db: float
    pictures: int


@torch.no_grad()
def measure_eq_t(
    generator: Generator, z: Tensor, c: Tensor | None = None, *, random: torch.Generator, max_shift: float = 0.125, batch: int = 8
) -> EquivarianceScore:
    """EQ-T over the latents z [N, z_dim], every `batch` of them with one translation by whole pixels, up to max_shift of the side along each axis.

    Each batch is drawn twice, unmoved and moved; pixels that came in from outside are not compared. The generator's transform is put back afterwards.
    """
    transform = generator.synthesis.input.transform
    saved = transform.clone()
    squares, count = 0.0, 0
    try:
        for start in range(0, len(z), batch):
            # t[g(z)] against g(t[z]): the still pictures shifted by whole pixels, and pictures made from a shifted input.
            labels = None if c is None else c[start : start + batch]
            ws = generator.mapping(z[start : start + batch], labels)
            side = generator.config.resolution
            reach = round(max_shift * side)
            right, down = torch.randint(-reach, reach + 1, (2,), generator=random, device=random.device).tolist()
            transform.copy_(saved)
            still = generator.synthesis(ws)
            transform.copy_(saved @ translation(right / side, down / side).to(saved))
            moved = generator.synthesis(ws)
            # Pixels that came into view on one side and left on the other have no counterpart.
            difference = _overlap(moved, right, down) - _overlap(still, -right, -down)
            squares += difference.double().square().sum().item()
            count += difference.numel()
    finally:
        transform.copy_(saved)
    # EQ-T = 10 log₁₀(I_max² / E[(g(t[z]) - t[g(z)])²]).
    mean_square = squares / count
    return EquivarianceScore(10 * math.log10(_RANGE**2 / mean_square) if mean_square else math.inf, len(z))


def translation(right: float, down: float) -> Tensor:
    """The `transform` [3, 3] that moves pictures by these parts of their side. It maps places of the output to places of the input: the inverse."""
    matrix = torch.eye(3)
    matrix[0, 2], matrix[1, 2] = -right, -down
    return matrix


def rotation(angle: float) -> Tensor:
    """The `transform` [3, 3] that turns pictures about their centre by `angle`, in radians, clockwise as seen (y points down)."""
    cos, sin = math.cos(angle), math.sin(angle)
    return torch.tensor([[cos, sin, 0.0], [-sin, cos, 0.0], [0.0, 0.0, 1.0]])


def _overlap(images: Tensor, right: int, down: int) -> Tensor:
    """The part of `images` that was in view before they moved by (right, down) pixels, and still is."""
    _, _, H, W = images.shape
    return images[:, :, max(down, 0) : H + min(down, 0), max(right, 0) : W + min(right, 0)]
