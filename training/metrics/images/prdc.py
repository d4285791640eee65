"""Precision, recall, density and coverage: which fakes lie where reals are, and which reals where fakes are, by spheres to the k-th neighbour.

Sources: Kynkaanniemi et al. 2019, arXiv:1904.06991 (precision and recall, k = 3); Naeem et al. 2020, arXiv:2002.09797 (all four, k = 5).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy

from training.metrics.images.neighbours import distance_blocks, neighbour_distances
from training.metrics.intervals import Rate

DEFAULT_K = (5, 3)


@dataclass(frozen=True)
class Prdc:
    """precision: fakes inside some real's sphere. recall: reals inside some fake's sphere. coverage: reals whose own sphere holds a fake.

    density: spheres of reals around a fake, on average, over k; may exceed 1. The spheres reach to the k-th nearest neighbour of the same kind.
    """

    k: int
    precision: Rate
    recall: Rate
    density: float
    coverage: Rate


def prdc(fakes: numpy.ndarray, reals: numpy.ndarray, *, ks: Sequence[int] = DEFAULT_K) -> dict[int, Prdc]:
    """By k, for features fakes [N, D] and reals [M, D]; the pairwise distances are made once for all k."""
    if min(len(fakes), len(reals)) <= max(ks):
        raise ValueError(f"k = {max(ks)} needs more than {max(ks)} images on each side, found {len(fakes)} and {len(reals)}")
    # The sphere of an image reaches to its k-th nearest neighbour of the same kind (Kynkaanniemi et al. 2019, eq. 1).
    # Differs from paper: its rim is outside, which matters for ties alone.
    real_radii, fake_radii = (neighbour_distances(side, max(ks)) for side in (reals, fakes))
    is_precise = {k: numpy.zeros(len(fakes), dtype=bool) for k in ks}
    is_recalled = {k: numpy.zeros(len(reals), dtype=bool) for k in ks}
    is_covered = {k: numpy.zeros(len(reals), dtype=bool) for k in ks}
    spheres = dict.fromkeys(ks, 0)
    # One pass over distances real × fake, block by block. Precision and recall: Kynkaanniemi et al. 2019, eq. 2, fakes in real spheres and the other
    # way round. Density counts the spheres instead of asking for one, and coverage asks only for a real's own sphere: Naeem et al. 2020, section 3.
    for start, distances in distance_blocks(reals, fakes):
        rows = slice(start, start + len(distances))
        nearest = distances.min(axis=1)
        for k in ks:
            is_inside_real = distances < real_radii[rows, k - 1, None]
            is_precise[k] |= is_inside_real.any(axis=0)
            spheres[k] += int(is_inside_real.sum())
            is_covered[k][rows] = nearest < real_radii[rows, k - 1]
            is_recalled[k][rows] = (distances < fake_radii[:, k - 1]).any(axis=1)
    return {k: Prdc(k, _rate(is_precise[k]), _rate(is_recalled[k]), spheres[k] / (k * len(fakes)), _rate(is_covered[k])) for k in ks}


def _rate(flags: numpy.ndarray) -> Rate:
    return Rate(int(flags.sum()), len(flags))
