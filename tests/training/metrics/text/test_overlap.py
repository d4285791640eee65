"""BLEU, ROUGE, CIDEr-D and METEOR: equal to the packages or to numbers worked out by hand."""

import math
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.metrics.text.bleu import corpus_bleu, self_bleu, sentence_set_bleu
from training.metrics.text.cider import cider_d
from training.metrics.text.meteor import meteor_exact_stem
from training.metrics.text.rouge import rouge

SENTENCES = st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=8), min_size=2, max_size=6)


def nltk_bleu(sample, references, order):
    from nltk.translate.bleu_score import SmoothingFunction, sentence_bleu

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return sentence_bleu(references, sample, weights=(1 / order,) * order, smoothing_function=SmoothingFunction().method1)


@given(SENTENCES, SENTENCES, st.integers(1, 5))
def test_bleu_against_a_set_is_the_mean_of_nltk_s_sentence_bleu(samples, references, order):
    expected = sum(nltk_bleu(sample, references, order) for sample in samples) / len(samples)
    assert sentence_set_bleu(samples, references, order) == pytest.approx(expected, abs=1e-12)


@given(SENTENCES, st.integers(1, 4))
def test_self_bleu_judges_each_sample_by_the_others(samples, order):
    others = [samples[:index] + samples[index + 1 :] for index in range(len(samples))]
    expected = sum(nltk_bleu(sample, rest, order) for sample, rest in zip(samples, others, strict=True)) / len(samples)
    assert self_bleu(samples, order) == pytest.approx(expected, abs=1e-12)


def test_self_bleu_is_of_a_subset_that_the_seed_decides():
    samples = [[*"the same words", str(index % 7), str(index % 11)] for index in range(60)]
    assert self_bleu(samples, 2, subset=10, seed=1) == self_bleu(samples, 2, subset=10, seed=1) != self_bleu(samples, 2, subset=10, seed=2)
    assert self_bleu([list("abcd")] * 5, 4) == pytest.approx(1)
    assert math.isnan(self_bleu([list("abcd")], 4))


def test_bleu_of_nothing_or_of_an_empty_sample():
    assert math.isnan(sentence_set_bleu([], [["a"]], 2))
    assert sentence_set_bleu([[]], [["a"]], 2) == 0
    assert math.isnan(corpus_bleu([], []).value)


def test_bleu_against_ten_thousand_captions_is_quick_and_below_that_of_their_copies(shared_captions):
    real, held_out = shared_captions[:-500], shared_captions[-500:]
    assert 0.4 < sentence_set_bleu(held_out, real, 3) < sentence_set_bleu(real[:500], real, 3) == pytest.approx(1)


def test_corpus_bleu_is_sacrebleu_s_and_says_which():
    found = corpus_bleu(["the cat sat on the mat", "a dog"], [["the cat sat on a mat", "the cat sat on the mat"], ["a dog"]])
    assert found.value == pytest.approx(1)
    assert "tok:13a" in found.signature
    assert "version:" in found.signature
    # Of 6 words 5, of 5 pairs 3, of 4 triples 2, of 3 quadruples 1.
    assert corpus_bleu(["the cat sat on the mat"], [["the cat sat on a mat"]]).value == pytest.approx((5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25)


def test_rouge_by_hand():
    found = rouge(["the cats sat"], ["the cat sat down"])
    # Three words of 3 and 4 match, the endings off; two pairs of 2 and 3; the longest common run has 3.
    assert found == pytest.approx({"rouge1": 6 / 7, "rouge2": 4 / 5, "rougeL": 6 / 7})
    assert math.isnan(rouge([], [])["rougeL"])


def test_cider_by_hand():
    # Two items, so a word of one has weight log 2 and one of both has 0. In the first, `a b` is right but for a word that weighs as much.
    a, weight = "a b", math.log(2)
    ours, theirs = {"a": weight, "c": weight}, {"a": weight, "b": weight}
    cosine = ours["a"] * theirs["a"] / (math.hypot(*ours.values()) * math.hypot(*theirs.values()))
    assert cider_d(["a c", "d"], [[a], ["e"]]) == pytest.approx(10 * (cosine + 0) / 4 / 2)
    # Said twice, a word is clipped to once, but its vector is longer; one pair more is worth exp(-1/72).
    expected = 10 * (1 * 1 / (2 * 1)) / 4 * math.exp(-1 / 72) / 2
    assert cider_d(["a a", "d"], [["a"], ["e"]]) == pytest.approx(expected)
    # A word of every item weighs nothing; with two references the mean of both is taken.
    assert cider_d(["the", "the"], [["the"], ["the"]]) == 0
    assert cider_d(["a", "e"], [["a", "b"], ["e"]]) == pytest.approx((10 / 4 / 2 + 10 / 4) / 2)


def test_cider_of_right_texts_is_ten_and_of_one_item_nothing():
    texts = ["a red bicycle by the wall", "two dogs run on a beach", "one small kitchen with a window"]
    assert cider_d(texts, [[text] for text in texts]) == pytest.approx(10)
    assert cider_d(texts[:1], [texts[:1]]) == 0
    assert cider_d(texts, [[text] for text in [*texts[1:], texts[0]]]) < 0.5


def test_meteor_by_hand():
    # All six words in one run: 1 - 0.5 (1/6)^3.
    assert meteor_exact_stem(["the cat sat on the mat"], ["the cat sat on the mat"]) == pytest.approx(1 - 0.5 / 216)
    # The same words in two runs of three.
    assert meteor_exact_stem(["on the mat sat the cat"], ["sat the cat on the mat"]) == pytest.approx(1 - 0.5 * (2 / 6) ** 3)
    # Two of three and two of four words match by stem, in one run: F = (2/3)(1/2) / (.9 * 2/3 + .1 * 1/2).
    mean = (2 / 3) * (1 / 2) / (0.9 * 2 / 3 + 0.1 / 2)
    assert meteor_exact_stem(["dogs running far"], ["dog runs very slowly"]) == pytest.approx(mean * (1 - 0.5 / 8))
    assert meteor_exact_stem(["a"], ["b"]) == meteor_exact_stem([""], ["b"]) == 0


@given(st.lists(st.sampled_from("abcde"), max_size=8), st.lists(st.sampled_from("abcde"), max_size=8))
def test_meteor_matches_as_many_words_as_can_be_matched(ours, theirs):
    from collections import Counter

    from training.metrics.text.meteor import _align

    matches, chunks = _align(ours, theirs)
    assert matches == (Counter(ours) & Counter(theirs)).total()
    assert min(matches, 1) <= chunks <= matches
