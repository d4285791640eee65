"""BLEU of texts with references of their own (sacrebleu), and of samples against a whole set of sentences, as text GANs are judged.

Sources: Papineni et al. 2002, "BLEU"; smoothing 1 of Chen and Cherry 2014; a whole set or the other samples as references: Zhu et al. 2018, Texygen.
"""

import itertools
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy

from stages.derived_seed import derive_seed

Tokens = Sequence[str]


@dataclass(frozen=True)
class Bleu:
    """value: in [0, 1]. signature: sacrebleu's, which says tokenizer, smoothing and version."""

    value: float
    signature: str


def corpus_bleu(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> Bleu:
    """BLEU-4 of all hypotheses together. references: for each hypothesis one or more. NaN without a hypothesis."""
    from sacrebleu.metrics import BLEU

    if not hypotheses:
        return Bleu(math.nan, "")
    metric = BLEU()
    score = metric.corpus_score(hypotheses, [list(stream) for stream in itertools.zip_longest(*references)]).score
    return Bleu(score / 100, str(metric.get_signature()))


def sentence_set_bleu(samples: Sequence[Tokens], references: Sequence[Tokens], order: int) -> float:
    """BLEU-`order` of each sample against all references, smoothed, averaged; in [0, 1], NaN without samples or references."""
    known = _ReferenceSet(references, order)
    return float(numpy.mean([known.bleu(sample) for sample in samples])) if samples and references else math.nan


def self_bleu(samples: Sequence[Tokens], order: int, *, subset: int = 500, seed: int = 0) -> float:
    """BLEU-`order` of each sample against all others, of at most `subset` drawn by `seed`; the lower the more diverse. NaN of fewer than two."""
    order_of_draw = numpy.random.default_rng(derive_seed(seed, "self-bleu")).permutation(len(samples))
    chosen = [samples[index] for index in sorted(order_of_draw[:subset])]
    known = _ReferenceSet(chosen, order)
    return float(numpy.mean([known.bleu(sample, without=index) for index, sample in enumerate(chosen)])) if len(chosen) > 1 else math.nan


class _ReferenceSet:
    """By n-gram the most often it comes in one reference, in which, and the most often in any other: what clips counts of every sample."""

    def __init__(self, references: Sequence[Tokens], order: int) -> None:
        self.references, self.order, self.lengths = references, order, Counter(map(len, references))
        self.most: dict[Tokens, tuple[int, int, int]] = {}
        for owner, reference in enumerate(references):
            for gram, count in (found for n in range(1, order + 1) for found in _grams(reference, n).items()):
                first, by, second = self.most.get(gram, (0, -1, 0))
                self.most[gram] = (count, owner, first) if count > first else (first, by, max(second, count))

    def bleu(self, sample: Tokens, *, without: int | None = None) -> float:
        """BLEU of one sample; `without` one of the references."""
        logarithms = []
        for n in range(1, self.order + 1):
            counts = _grams(sample, n)
            found = ((count, *self.most.get(gram, (0, -1, 0))) for gram, count in counts.items())
            matches = sum(min(count, second if owner == without else first) for count, first, owner, second in found)
            if n == 1 and not matches:
                return 0.0
            # Smoothing 1: what has no match has a tenth of one.
            logarithms.append(math.log((matches or 0.1) / max(1, counts.total())))
        lengths = self.lengths - Counter([] if without is None else [len(self.references[without])])
        closest = min(lengths, key=lambda length: (abs(length - len(sample)), length))
        return math.exp(min(0.0, 1 - closest / len(sample)) + math.fsum(logarithms) / self.order)


def _grams(tokens: Tokens, n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[start:] for start in range(n)), strict=False))
