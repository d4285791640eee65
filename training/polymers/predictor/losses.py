"""What the members learn by, and how wide an interval must be to hold what it promises."""

import math

import numpy
import torch
from torch import Tensor

COVERAGE = 0.9
# The two-sided 90 % point of the normal distribution: intervals are mean ± Z_90 standard deviations.
Z_90 = 1.6448536269514722


def gaussian_losses(mean: Tensor, log_variance: Tensor, target: Tensor, *, beta: float = 0.0) -> Tensor:
    """-log N(target; mean, variance) without its constant, of each value; 0 where `target` is NaN. Shapes: all alike, or broadcast to that of `mean`.

    beta: each is weighted by variance^beta, through which no gradient flows, so that what is hard is not given up by widening its spread: 0 is
    the likelihood (Lakshminarayanan et al. 2017, eq. 1), 1 has the squared error's gradient. Source: Seitzer et al. 2022, arXiv 2203.09168, eq. 5.
    """
    is_known = ~target.isnan()
    # NaN * 0 is NaN, also in a gradient.
    error = torch.where(is_known, target - mean, 0.0)
    losses = 0.5 * (log_variance + error.square() * torch.exp(-log_variance)) * torch.exp(beta * log_variance.detach())
    return torch.where(is_known, losses, 0.0)


def conformal_factor(errors: numpy.ndarray, deviations: numpy.ndarray) -> float:
    """What predicted standard deviations [N] are multiplied by, so that mean ± Z_90 of them holds a new value in at least 90 % of cases.

    errors: [N] true minus predicted; pairs with a NaN are left out. The ceil((n + 1) 0.9)-th smallest of |error| / deviation, over Z_90; the largest
    where there are too few. Source: Lei et al. 2018, J. Am. Stat. Assoc. 113:1094, section 5.2 (split conformal, locally weighted). The held-out
    molecules also chose the best weights, so the promise is kept only nearly. Raises ValueError without a pair.
    """
    scores = numpy.sort((numpy.abs(errors) / deviations)[numpy.isfinite(errors)])
    if not len(scores):
        raise ValueError("no held-out value to calibrate with")
    return max(float(scores[min(len(scores), math.ceil((len(scores) + 1) * COVERAGE)) - 1]) / Z_90, 1e-6)
