"""How varied texts are: distinct n-grams, n-grams said again, and long passages of the training texts."""

import math
from collections.abc import Iterable, Iterator, Sequence

from training.metrics.intervals import Rate
from training.metrics.text.words import words


def distinct_n(token_lists: Sequence[Sequence[str]], n: int) -> float:
    """Distinct n-grams over all n-grams of all texts together; NaN where there is none. Fewer texts have more: compare equal numbers of them.

    Source: Li et al. 2016, "A Diversity-Promoting Objective Function for Neural Conversation Models", arXiv 1510.03055.
    """
    grams = [gram for tokens in token_lists for gram in _grams(tokens, n)]
    return len(set(grams)) / len(grams) if grams else math.nan


def repetition_rate(token_lists: Sequence[Sequence[str]], n: int) -> float:
    """The share of n-grams that came before in the same text, over all texts; NaN where there is no n-gram."""
    counts = [(len(grams), len(set(grams))) for tokens in token_lists if (grams := list(_grams(tokens, n)))]
    total = sum(count for count, _ in counts)
    return (total - sum(distinct for _, distinct in counts)) / total if total else math.nan


def verbatim_copies(hypotheses: Sequence[str], training: Iterable[str], min_words: int = 8) -> Rate:
    """The texts with `min_words` or more words in a row that some training text has in a row; case and punctuation do not matter."""
    asked = [set(_grams(words(text), min_words)) for text in hypotheses]
    wanted = set().union(*asked)
    found = {gram for text in training for gram in _grams(words(text), min_words) if gram in wanted}
    return Rate(sum(not grams.isdisjoint(found) for grams in asked), len(asked))


def _grams(tokens: Sequence[str], n: int) -> Iterator[tuple[str, ...]]:
    return zip(*(tokens[start:] for start in range(n)), strict=False)
