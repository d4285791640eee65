"""The blur that configuration R needs at the beginning: D sees pictures out of focus first, or it would soon judge by frequencies G cannot make yet.

Source: Karras et al. 2021, section 3.2 and appendices: a Gaussian of 10 pixels over the first 200 thousand pictures at batch 32.
"""

import numpy as np
from torch import Tensor

from training.gans.banded import banded, filter_both_axes

_FIRST_SIGMA_PX = 10.0
_FADE_KIMG_AT_32 = 200.0
_REACH_SIGMAS = 3


def blur_sigma_px(images_seen: int, *, batch_size: int) -> float:
    """Standard deviation of the blur after `images_seen` pictures: linearly down to 0."""
    fade_images = _FADE_KIMG_AT_32 * 1000 * batch_size / 32
    return max(1 - images_seen / fade_images, 0.0) * _FIRST_SIGMA_PX


def gaussian_blur(images: Tensor, sigma_px: float) -> Tensor:
    """Pictures [B, C, S, S], blurred; beyond the border they continue as in a mirror. sigma 0 changes nothing. Differentiable twice."""
    reach = round(sigma_px * _REACH_SIGMAS)
    if reach == 0:
        return images
    return filter_both_axes(images, banded(_blur_matrix(images.shape[2], sigma_px, reach), images))


def _blur_matrix(side: int, sigma: float, reach: int) -> np.ndarray:
    offsets = np.arange(-reach, reach + 1)
    kernel = np.exp(-0.5 * (offsets / sigma) ** 2)
    kernel /= kernel.sum()
    source = (np.arange(side)[:, None] + offsets) % (2 * side)
    matrix = np.zeros((side, side))
    np.add.at(matrix, (np.arange(side)[:, None], np.where(source < side, source, 2 * side - 1 - source)), np.broadcast_to(kernel, source.shape))
    return matrix
