"""Memorisation-informed Frechet distance: a Frechet distance that grows when generated images repeat real ones, as Kaggle defines it.

With f and r the features of fakes and reals, each divided by its length, d_ij = 1 - |f_i . r_j| and m = mean over i of min over j of d_ij. The
distance is divided by m where m is below 0.1, and left alone otherwise: the threshold is on the mean, not on single images.
Source: Bai et al. 2021, "On Training Sample Memorization: Lessons from Benchmarking Generative Modeling with a Large-scale Competition",
arXiv:2106.03062; numbers as in Kaggle's "I'm Something of a Painter Myself".

The minimum is over the reals for each fake. Other programs take it over the fakes for each real (torchmetrics' `MemorizationInformed…`), which gives
another number unless both sides are equally many and alike.
"""

import math

import numpy

THRESHOLD = 0.1
# Added to m, so that it may be zero.
_EPSILON = 1e-14
# A Frechet distance up to it is that of equal images but for rounding, and stays zero instead of being divided by nearly nothing.
_NO_DISTANCE = 1e-8
_BLOCK_ROWS = 1024


def memorisation_informed(frechet: float, fakes: numpy.ndarray, reals: numpy.ndarray) -> float:
    """The Frechet distance `frechet` of features fakes [N, D] and reals [M, D], divided by what `memorisation_distance` says; NaN without it."""
    if frechet <= _NO_DISTANCE:
        return 0.0
    m = memorisation_distance(fakes, reals)
    return frechet / ((m if m < THRESHOLD else 1.0) + _EPSILON) if math.isfinite(m) else math.nan


def memorisation_distance(fakes: numpy.ndarray, reals: numpy.ndarray) -> float:
    """How far a fake is from its nearest real on average, by the angle between features: m in [0, 1]. NaN when a side has nothing but zeros."""
    fakes, reals = _directions(fakes), _directions(reals)
    if not len(fakes) or not len(reals):
        return math.nan
    # Block by block: 10,000 by 10,000 distances would take 800 MB.
    blocks = (fakes[start : start + _BLOCK_ROWS] @ reals.T for start in range(0, len(fakes), _BLOCK_ROWS))
    nearest = numpy.concatenate([1 - numpy.abs(block).max(axis=1) for block in blocks])
    return float(nearest.clip(0).mean())


def _directions(features: numpy.ndarray) -> numpy.ndarray:
    """Rows of length one, in float64; rows of zeros have no direction and are dropped."""
    features = features[(features != 0).any(axis=1)].astype(numpy.float64)
    return features / numpy.linalg.norm(features, axis=1, keepdims=True)
