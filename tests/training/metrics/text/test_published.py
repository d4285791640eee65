"""The measures beside programs of others, and beside CIDEr-D written out once more from its definition."""

import itertools
import math
import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from training.metrics.text.bleu import corpus_bleu
from training.metrics.text.cider import cider_d
from training.metrics.text.meteor import meteor_exact_stem
from training.metrics.text.rouge import rouge

WORDS = ["gel", "gels", "film", "melts", "melting", "the", "a", "of", "blue"]
TEXT = st.lists(st.sampled_from(WORDS), min_size=1, max_size=7).map(" ".join)


def cider_d_of_the_definition(hypotheses: list[str], references: list[list[str]]) -> float:
    """Vedantam et al. 2015, equations 1 to 4 and 9, dense vectors; lengths as pycocoevalcap counts them, in pairs of words."""
    scores = []
    for hypothesis, own in zip(hypotheses, references, strict=True):
        of_references = []
        for reference in own:
            ours, theirs = hypothesis.split(), reference.split()
            cosines = []
            for n in (1, 2, 3, 4):
                grams = sorted({*itertools.chain(grams_of(ours, n), grams_of(theirs, n))})
                left, right = ([grams_of(side, n).count(gram) * weight(gram, references, n) for gram in grams] for side in (ours, theirs))
                norm = math.sqrt(sum(x * x for x in left)) * math.sqrt(sum(x * x for x in right))
                cosines.append(sum(min(x, y) * y for x, y in zip(left, right, strict=True)) / norm if norm else 0.0)
            penalty = math.exp(-((max(0, len(ours) - 1) - max(0, len(theirs) - 1)) ** 2) / (2 * 6.0**2))
            of_references.append(10 * penalty * sum(cosines) / 4)
        scores.append(sum(of_references) / len(own))
    return sum(scores) / len(scores)


def grams_of(tokens: list[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[start : start + n]) for start in range(len(tokens) - n + 1)]


def weight(gram: tuple[str, ...], references: list[list[str]], n: int) -> float:
    holding = sum(any(gram in grams_of(reference.split(), n) for reference in own) for own in references)
    return math.log(len(references)) - math.log(max(1, holding))


@given(st.lists(st.tuples(TEXT, st.lists(TEXT, min_size=1, max_size=3)), min_size=1, max_size=5))
@settings(max_examples=25)
def test_cider_is_that_of_the_definition(pairs):
    hypotheses, references = [ours for ours, _ in pairs], [theirs for _, theirs in pairs]
    assert cider_d(hypotheses, references) == pytest.approx(cider_d_of_the_definition(hypotheses, references), abs=1e-9)


@given(st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6))
@settings(max_examples=25)
def test_rouge_is_the_mean_of_f_over_multisets_and_the_longest_common_subsequence(pairs):
    stems = {"gels": "gel", "melting": "melt", "melts": "melt"}
    sums = Counter[str]()
    for pair in pairs:
        # The package stems words of more than three letters.
        ours, theirs = ([stems.get(word, word) for word in text.split()] for text in pair)
        for name, n in (("rouge1", 1), ("rouge2", 2)):
            left, right = Counter(grams_of(ours, n)), Counter(grams_of(theirs, n))
            sums[name] += f_measure((left & right).total(), left.total(), right.total())
        common = max(size for size in range(len(ours) + 1) if any(subsequence(part, theirs) for part in itertools.combinations(ours, size)))
        sums["rougeL"] += f_measure(common, len(ours), len(theirs))
    expected = {name: total / len(pairs) for name, total in sums.items()}
    assert rouge([ours for ours, _ in pairs], [theirs for _, theirs in pairs]) == pytest.approx(expected)


def f_measure(common: float, ours: int, theirs: int) -> float:
    return 2 * common / (ours + theirs) if common else 0.0


def subsequence(part: tuple[str, ...], whole: list[str]) -> bool:
    rest = iter(whole)
    return all(word in rest for word in part)


# nltk counts one n-gram in a text that is too short to have any.
LONGER = st.lists(st.sampled_from(WORDS), min_size=4, max_size=9).map(" ".join)


@given(st.lists(st.tuples(LONGER, st.lists(TEXT, min_size=1, max_size=3)), min_size=1, max_size=6))
@settings(max_examples=30)
def test_corpus_bleu_is_nltk_s_where_no_n_gram_is_without_a_match(pairs):
    from nltk.translate.bleu_score import corpus_bleu as nltk_corpus_bleu

    # A pair that is right makes every order match, so that neither program smooths.
    pairs = [*pairs, ("the blue gel melts", ["the blue gel melts"])]
    hypotheses, references = [ours for ours, _ in pairs], [theirs for _, theirs in pairs]
    expected = nltk_corpus_bleu([[text.split() for text in own] for own in references], [text.split() for text in hypotheses])
    assert corpus_bleu(hypotheses, references).value == pytest.approx(expected, abs=1e-9)


def test_meteor_is_nltk_s_where_no_synonym_is_known():
    from nltk.stem.snowball import SnowballStemmer
    from nltk.translate.meteor_score import single_meteor_score

    class NoSynonyms:
        """A WordNet that knows no word."""

        @staticmethod
        def synsets(_: str) -> list[object]:
            return []

    # Of words that stand once there is one alignment; endings differ between the sides.
    chance, same = random.Random(3), ["the", "a", "of", "blue", "film"]
    for _ in range(200):
        ours, theirs = (chance.sample([*same, *endings], chance.randint(1, 7)) for endings in (("gels", "melting"), ("gel", "melts")))
        expected = single_meteor_score(theirs, ours, stemmer=SnowballStemmer("english"), wordnet=NoSynonyms)
        assert meteor_exact_stem([" ".join(ours)], [" ".join(theirs)]) == pytest.approx(expected, abs=1e-9)
