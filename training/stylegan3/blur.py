"""The blur that configuration R needs at the beginning: D sees pictures out of focus first, or it would soon judge by frequencies G cannot make yet.

Source: Karras et al. 2021, section 3.2 and appendices: a Gaussian of 10 pixels over the first 200 thousand pictures at batch 32.
"""

import functools

import numpy as np
import torch
from torch import Tensor

from training.gans.banded import BandedMatrix, Block, band_blocks, filter_both_axes

_FIRST_SIGMA_PX = 10.0
_FADE_KIMG_AT_32 = 200.0
_REACH_SIGMAS = 3


def blur_sigma_px(images_seen: int, *, batch_size: int) -> float:
    """Standard deviation of the blur after `images_seen` pictures: linearly down, and 0 as soon as it no longer reaches the next pixel."""
    fade_images = _FADE_KIMG_AT_32 * 1000 * batch_size / 32
    sigma = max(1 - images_seen / fade_images, 0.0) * _FIRST_SIGMA_PX
    return sigma if _reach(sigma) else 0.0


def blur_matrix(side: int, sigma_px: float) -> Tensor:
    """What blurs an axis of `side` pixels, [side, side] in float32; beyond the border pictures continue as in a mirror."""
    return torch.as_tensor(_blur_matrix(side, sigma_px), dtype=torch.float32)


def blurred(images: Tensor, matrix: Tensor) -> Tensor:
    """Pictures [B, C, S, S], blurred along both axes. Differentiable twice. The same operations whatever the width of the blur."""
    blocks, transposed_blocks = _widest_blocks(len(matrix))
    return filter_both_axes(images, BandedMatrix(matrix, blocks, transposed_blocks))


@functools.cache
def _widest_blocks(side: int) -> tuple[tuple[Block, ...], tuple[Block, ...]]:
    widest = _blur_matrix(side, _FIRST_SIGMA_PX)
    return band_blocks(widest), band_blocks(widest.T)


def _reach(sigma: float) -> int:
    return round(sigma * _REACH_SIGMAS)


def _blur_matrix(side: int, sigma: float) -> np.ndarray:
    reach = _reach(sigma)
    offsets = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel /= kernel.sum()
    source = (np.arange(side)[:, None] + offsets) % (2 * side)
    matrix = np.zeros((side, side))
    np.add.at(matrix, (np.arange(side)[:, None], np.where(source < side, source, 2 * side - 1 - source)), np.broadcast_to(kernel, source.shape))
    return matrix
