"""Distinct n-grams, repetitions, copies and keywords, by hand."""

import math

from training.metrics.intervals import Rate
from training.metrics.text.diversity import distinct_n, repetition_rate, verbatim_copies
from training.metrics.text.keywords import keyword_recall
from training.metrics.text.words import stem, words

NINE = "on the slow growth of small gold crystals in water"


def test_words_are_runs_of_letters_of_any_script_in_lower_case():
    assert words("C–H Activation: a Fünf-step β2 Синтез") == ["c", "h", "activation", "a", "fünf", "step", "β2", "синтез"]
    assert stem("activations") == stem("activated") == "activ"


def test_distinct_pairs_are_counted_over_all_texts():
    assert distinct_n([["a", "b", "a", "b"], ["a", "b"]], 2) == 2 / 4
    assert distinct_n([["a"], []], 1) == 1
    assert math.isnan(distinct_n([["a"], []], 2))


def test_repetition_is_within_a_text():
    assert repetition_rate([["a", "b", "a", "b", "a"], ["a", "b"]], 2) == 2 / 5
    assert repetition_rate([["a", "b"], ["a", "b"]], 2) == 0
    assert math.isnan(repetition_rate([["a"]], 2))


def test_a_copy_has_eight_words_of_a_training_text_in_a_row_whatever_case_and_punctuation():
    training = ["Nothing of it", f"Studies {NINE}"]
    same = "Slow growth of small gold crystals in WATER, again"
    broken = NINE.replace("small", "large")
    assert verbatim_copies([same, broken, "short"], training) == Rate(1, 3)
    assert verbatim_copies([broken], training, min_words=5) == Rate(1, 1)
    assert verbatim_copies([], training) == Rate(0, 0)


def test_keywords_are_the_words_of_a_title_that_say_something():
    assert keyword_recall(["A Study of Gold Crystals in the Water"], ["We grew a crystal of gold; it is old."]) == 2 / 3
    assert keyword_recall(["Gold", "Silver"], ["gold", ""]) == 0.5
    assert math.isnan(keyword_recall(["The and of"], ["text"]))
