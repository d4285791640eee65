"""Multi-scale structural similarity, used between fakes: the mean over random pairs tells how alike they are (1 = all the same).

Source: Wang, Simoncelli and Bovik 2003, Asilomar; as a measure of diversity, Odena et al. 2017, arXiv:1610.09585.
"""

import numpy
import torch
from torch import Tensor
from torch.nn import functional as F

from training.metrics.images.sources import ImageSource, as_source
from training.metrics.intervals import Estimate, mean_estimate

# Exponents of the five scales, finest first.
WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
WINDOW_PX, WINDOW_SIGMA_PX = 11, 1.5
# (k L)² for L = 1.
_C1, _C2 = 0.01**2, 0.03**2
_BATCH_PAIRS = 64
_BOOTSTRAP_ROUNDS = 1000


def mean_pair_similarity(images: numpy.ndarray | ImageSource, *, pairs: int = 1000, seed: int = 0) -> Estimate:
    """The mean MS-SSIM of `pairs` random pairs of different ones of N >= 2 images, with its bootstrap interval; n = pairs."""
    if len(images) < 2:
        raise ValueError(f"pairs of images need two of them, found {len(images)}")
    source, random = as_source(images), numpy.random.default_rng(seed)
    left = random.integers(0, len(images), size=pairs)
    right = (left + random.integers(1, len(images), size=pairs)) % len(images)
    values = []
    for start in range(0, pairs, _BATCH_PAIRS):
        one, other = (torch.from_numpy(source.images(side[start : start + _BATCH_PAIRS].tolist())) for side in (left, right))
        values.append(ms_ssim(one, other))
    return mean_estimate(torch.cat(values).double().numpy(), rounds=_BOOTSTRAP_ROUNDS, seed=seed)


def ms_ssim(one: Tensor, other: Tensor) -> Tensor:
    """Of images [N, C, H, W] in [0, 255] with those at the same place in the other set: float32 [N], the mean over channels and windows inside.

    Between scales, means of 2 × 2 pixels. Where a scale is smaller than the window, the window shrinks with it, and its spread in proportion.
    A scale whose contrast term is negative counts as 0: its power would not be a real number.
    """
    # Wang et al. 2003, eq. 7: contrast and structure of every scale, luminance of the coarsest alone, each to its power.
    # Differs from paper: images of 32 px have scales smaller than the window, which then shrinks with them.
    x, y = one.float() / 255, other.float() / 255
    result = torch.ones(len(x), dtype=torch.float32, device=x.device)
    for scale, weight in enumerate(WEIGHTS):
        is_last = scale == len(WEIGHTS) - 1
        luminance, contrast = _similarity(x, y)
        term = (luminance * contrast if is_last else contrast).mean(dim=(1, 2, 3))
        result = result * term.clamp(min=0) ** weight
        if not is_last:
            x, y = _halved(x), _halved(y)
    return result


def _similarity(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """(luminance, contrast · structure) at each place where the window fits."""
    channels, size = x.shape[1], min(WINDOW_PX, *x.shape[2:])
    # A Gaussian window, applied along rows and columns one after the other.
    offsets = torch.arange(size, dtype=torch.float32, device=x.device) - (size - 1) / 2
    sigma = WINDOW_SIGMA_PX * size / WINDOW_PX
    window = torch.exp(-(offsets**2) / (2 * sigma**2))
    window = window / window.sum()
    rows, columns = (window.view(shape).expand(channels, -1, -1, -1) for shape in ((1, 1, size, 1), (1, 1, 1, size)))

    def blurred(images: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(images, rows, groups=channels), columns, groups=channels)

    # Moments within the window, then the two factors with their stabilising constants (Wang et al. 2003, eq. 1 to 3, with C3 = C2 / 2).
    mean_x, mean_y = blurred(x), blurred(y)
    variance_x, variance_y = blurred(x * x) - mean_x**2, blurred(y * y) - mean_y**2
    covariance = blurred(x * y) - mean_x * mean_y
    luminance = (2 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    return luminance, (2 * covariance + _C2) / (variance_x + variance_y + _C2)


def _halved(images: Tensor) -> Tensor:
    """Means of 2 × 2 pixels; an image that is one pixel wide or high stays so in that direction."""
    kernel = tuple(min(2, side) for side in images.shape[2:])
    return F.avg_pool2d(images, kernel)
