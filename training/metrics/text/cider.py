"""CIDEr-D: n-grams shared with references, those that are rare among all references weighing more.

Source: Vedantam et al. 2015, "CIDEr: Consensus-based Image Description Evaluation", with the numbers that pycocoevalcap made usual.
"""

import math
from collections import Counter
from collections.abc import Sequence

from training.metrics.text.words import words

_ORDER, _SIGMA = 4, 6.0
_Vector = dict[tuple[str, ...], float]


def cider_d(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """The mean over hypotheses, each against its own references; 10 where every hypothesis is its one reference, 0 where nothing is shared.

    How rare an n-gram is comes from `references`, so numbers of other sets are not comparable, and one item alone has 0. NaN without hypotheses.
    Differs from paper: words are those of `words`, not of the Penn treebank.
    """
    grams = [[_grams(reference) for reference in own] for own in references]
    frequency = Counter(gram for own in grams for gram in set().union(*own))
    weight = {gram: math.log(len(references)) - math.log(count) for gram, count in frequency.items()}
    rarest = math.log(len(references)) if references else 0.0
    pairs = zip(map(_grams, hypotheses), grams, strict=True)
    scores = [sum(_similarity(hypothesis, reference, weight, rarest) for reference in own) / max(1, len(own)) for hypothesis, own in pairs]
    return sum(scores) / len(scores) if scores else math.nan


def _similarity(hypothesis: Counter[tuple[str, ...]], reference: Counter[tuple[str, ...]], weight: _Vector, rarest: float) -> float:
    """Ten times the mean over n of clipped cosines, less for another length."""
    scores = []
    for n in range(1, _ORDER + 1):
        ours, theirs = (
            {gram: count * weight.get(gram, rarest) for gram, count in side.items() if len(gram) == n} for side in (hypothesis, reference)
        )
        shared = sum(min(value, theirs[gram]) * theirs[gram] for gram, value in ours.items() if gram in theirs)
        norms = math.hypot(*ours.values()) * math.hypot(*theirs.values())
        scores.append(shared / norms if norms else 0.0)
    # Lengths are counted in pairs of words, as pycocoevalcap does.
    apart = sum(count * (1 if side is hypothesis else -1) for side in (hypothesis, reference) for gram, count in side.items() if len(gram) == 2)
    return 10 * sum(scores) / _ORDER * math.exp(-(apart**2) / (2 * _SIGMA**2))


def _grams(text: str) -> Counter[tuple[str, ...]]:
    tokens = words(text)
    return Counter(tuple(tokens[start : start + n]) for n in range(1, _ORDER + 1) for start in range(len(tokens) - n + 1))
