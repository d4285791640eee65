"""How near the fakes are to single training images, beside how near these are to each other: a copy machine shows here and in no other number.

Source of AuthPct: Alaa et al. 2022, arXiv:2102.08921.
"""

from dataclasses import dataclass

import numpy

from training.metrics.images.neighbours import distance_blocks, neighbour_distances
from training.metrics.intervals import Rate

PERCENTILES = (1, 5, 50)


@dataclass(frozen=True)
class Memorisation:
    """distances: of each fake to its nearest training image, nearest: which. real_distances: of each training image to its nearest other one.

    authentic: fakes farther from their nearest training image than that one is from its own nearest.
    """

    distances: numpy.ndarray
    nearest: numpy.ndarray
    real_distances: numpy.ndarray
    authentic: Rate

    def percentiles(self) -> dict[int, tuple[float, float]]:
        """By percentile, the distance of the fakes and that of the training images: the first far below the second speaks of copies."""
        fakes, reals = (numpy.percentile(values, PERCENTILES) for values in (self.distances, self.real_distances))
        return {percentile: (float(fake), float(real)) for percentile, fake, real in zip(PERCENTILES, fakes, reals, strict=True)}

    def closest(self, count: int) -> list[int]:
        """The indices of the `count` fakes nearest to a training image, nearest first."""
        return [int(index) for index in numpy.argsort(self.distances, kind="stable")[:count]]


def memorisation(fakes: numpy.ndarray, training: numpy.ndarray) -> Memorisation:
    """For features fakes [N, D], N >= 1, and training [M, D], M >= 2."""
    if not len(fakes) or len(training) < 2:
        raise ValueError(f"nearest neighbours need a fake and two training images, found {len(fakes)} and {len(training)}")
    distances, nearest = numpy.empty(len(fakes), dtype=numpy.float32), numpy.empty(len(fakes), dtype=numpy.int64)
    for start, block in distance_blocks(fakes, training):
        rows = slice(start, start + len(block))
        nearest[rows] = block.argmin(axis=1)
        distances[rows] = block.min(axis=1)
    real_distances = neighbour_distances(training, 1)[:, 0]
    return Memorisation(distances, nearest, real_distances, Rate(int((distances > real_distances[nearest]).sum()), len(fakes)))
