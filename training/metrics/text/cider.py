"""CIDEr-D: n-grams shared with references, those that are rare among all references weighing more.

Source: Vedantam et al. 2015, "CIDEr: Consensus-based Image Description Evaluation", with the numbers that pycocoevalcap made usual.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from training.metrics.text.words import words

_ORDER, _SIGMA = 4, 6.0
_Grams = Mapping[tuple[str, ...], float]


def cider_d(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """The mean over hypotheses, each against its own references; 10 where every hypothesis is its one reference, 0 where nothing is shared.

    How rare an n-gram is comes from `references`, so numbers of other sets are not comparable, and one item alone has 0. NaN without hypotheses.
    Differs from paper: words are those of `words`, not of the Penn treebank.
    """
    grams = [[_grams(reference) for reference in own] for own in references]
    frequency = Counter(gram for own in grams for gram in set().union(*own))
    pairs = zip(map(_grams, hypotheses), grams, strict=True)
    scores = [sum(_similarity(ours, theirs, frequency, len(references)) for theirs in own) / max(1, len(own)) for ours, own in pairs]
    return math.fsum(scores) / len(scores) if scores else math.nan


def _similarity(ours: _Grams, theirs: _Grams, frequency: Mapping[tuple[str, ...], int], documents: int) -> float:
    """Ten times the mean over n of clipped cosines, less for another length, which is counted in pairs of words as pycocoevalcap does."""
    cosines, lengths = [], []
    for n in range(1, _ORDER + 1):
        sides = [{gram: count for gram, count in side.items() if len(gram) == n} for side in (ours, theirs)]
        lengths.append([sum(side.values()) for side in sides])
        left, right = ({gram: count * math.log(documents / max(1, frequency[gram])) for gram, count in side.items()} for side in sides)
        norms = math.hypot(*left.values()) * math.hypot(*right.values())
        cosines.append(sum(min(value, right[gram]) * right[gram] for gram, value in left.items() if gram in right) / norms if norms else 0.0)
    return 10 * sum(cosines) / _ORDER * math.exp(-((lengths[1][0] - lengths[1][1]) ** 2) / (2 * _SIGMA**2))


def _grams(text: str) -> Counter[tuple[str, ...]]:
    tokens = words(text)
    return Counter(tuple(tokens[start : start + n]) for n in range(1, _ORDER + 1) for start in range(len(tokens) - n + 1))
