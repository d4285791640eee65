"""Where the predictor knows its way: molecules of elements it was taught with, as near to a training molecule as held-out ones are to the rest.

Two measures of near, since either alone can be fooled: the Tanimoto similarity of sets of environments is 1 between chains of all lengths, and the
distance of descriptors is small between molecules of one size. A molecule is outside if either is beyond its edge. The edges are set on training
molecules in folds, each fold held against all others, so that both together let in 99 % of them.
"""

from dataclasses import dataclass

import numpy

from training.metrics.tanimoto import nearest_similarities
from training.polymers.predictor.features import STAR, Features

SHARE_INSIDE = 0.99
# Of the training molecules at most so many are held against the rest, over all folds.
_FOLDS, _MOST_HELD_OUT, _MOST_REFERENCES, _BLOCK_ROWS = 5, 2_000, 10_000, 256


@dataclass(frozen=True)
class Domain:
    """bits: [M, bits] uint8 of 0 and 1, descriptors: [M, D] float32 standardised, both of the training molecules. elements: symbols, `*` of polymers.

    similarity_at_least: Tanimoto, to the nearest. distance_at_most: root of the mean square over descriptors, to the nearest.
    """

    bits: numpy.ndarray
    descriptors: numpy.ndarray
    elements: frozenset[str]
    similarity_at_least: float
    distance_at_most: float

    def why_outside(self, features: Features, descriptors: numpy.ndarray) -> tuple[str, ...]:
        """For each molecule what puts it outside, "" if nothing does. descriptors: [N, D], standardised."""
        similarity = nearest_similarities(_presence(features.counts), self.bits)
        distance = nearest_distances(descriptors, self.descriptors)
        return tuple(map(self._why, features.problems, features.elements, similarity.tolist(), distance.tolist()))

    def _why(self, problem: str, elements: frozenset[str], similarity: float, distance: float) -> str:
        if problem:
            return problem
        if foreign := sorted(elements - self.elements):
            return f"has {', '.join(foreign)}, which no training molecule has"
        if STAR in self.elements and STAR not in elements:
            return "no repeat unit, and the predictor was taught by repeat units"
        if similarity < self.similarity_at_least:
            return f"similarity {similarity:.2f} to the nearest training molecule is below {self.similarity_at_least:.2f}"
        if distance > self.distance_at_most:
            return f"descriptors {distance:.2f} standard deviations from the nearest training molecule, above {self.distance_at_most:.2f}"
        return ""


def find_domain(features: Features, descriptors: numpy.ndarray, *, seed: int) -> Domain:
    """The domain of a predictor taught by these molecules, of which at most 10,000, drawn at random, say where it ends."""
    random = numpy.random.default_rng(seed)
    rows = numpy.sort(random.permutation(len(features.counts))[:_MOST_REFERENCES])
    bits, descriptors, fold = _presence(features.counts[rows]), descriptors[rows], random.permutation(len(rows)) % _FOLDS
    similarity, distance = [], []
    for number in range(_FOLDS):
        held_out, rest = numpy.flatnonzero(fold == number)[: _MOST_HELD_OUT // _FOLDS], fold != number
        similarity.append(nearest_similarities(bits[held_out], bits[rest]))
        distance.append(nearest_distances(descriptors[held_out], descriptors[rest]))
    # Half of what may be outside is so by either measure.
    outside = (1 - SHARE_INSIDE) / 2
    least = float(numpy.quantile(numpy.concatenate(similarity), outside, method="lower"))
    most = float(numpy.quantile(numpy.concatenate(distance), 1 - outside, method="higher"))
    # Elements of all training molecules, not only those drawn: none that was learnt is foreign.
    return Domain(bits, descriptors, frozenset().union(*features.elements), least, most)


def nearest_distances(rows: numpy.ndarray, reference: numpy.ndarray) -> numpy.ndarray:
    """[N]: root of the mean square difference of each row of [N, D] to the nearest of [M, D]; 0 where D is 0."""
    ours, theirs, nearest = rows.astype(numpy.float64), reference.astype(numpy.float64), numpy.zeros(len(rows))
    for start in range(0, len(ours), _BLOCK_ROWS):
        block = ours[start : start + _BLOCK_ROWS]
        squares = (block**2).sum(axis=1)[:, None] + (theirs**2).sum(axis=1) - 2 * block @ theirs.T
        nearest[start : start + _BLOCK_ROWS] = squares.min(axis=1, initial=numpy.inf)
    return numpy.sqrt(numpy.maximum(nearest, 0) / max(1, rows.shape[1]))


def _presence(counts: numpy.ndarray) -> numpy.ndarray:
    return (counts > 0).astype(numpy.uint8)
