"""The sentences that the project makes up."""

import random

import pytest

from formats.sentence_grammar import imaginary_sentences, is_grammatical


def cleaned(sentence: str) -> str:
    return sentence.lower().replace(",", " ,").replace(".", " .")


def test_sentences_are_different_and_the_same_for_the_same_seed():
    sentences = list(imaginary_sentences(500, seed=0))
    assert len(set(sentences)) == 500
    assert sentences == list(imaginary_sentences(500, seed=0)) != list(imaginary_sentences(500, seed=1))
    assert all(sentence[0].isupper() and sentence.endswith(".") for sentence in sentences)
    assert list(imaginary_sentences(0, seed=0)) == []


def test_all_that_is_made_up_is_grammatical_with_and_without_its_signs():
    for sentence in imaginary_sentences(2_000, seed=3):
        assert is_grammatical(cleaned(sentence))
        assert is_grammatical(sentence)
        assert is_grammatical(cleaned(sentence).replace(" ,", "").removesuffix(" ."))


@pytest.mark.parametrize(
    "wrong",
    [
        "the film glow .",  # number
        "two film glow .",
        "an blue film glows .",  # article
        "a active film glows .",
        "the film absorbs .",  # an object is missing
        "the film glows the gel .",  # and here is one too many
        "the film glows . .",
        "film glows .",
        "the film glows slowly quickly .",
        "at night at night , the film glows .",
        "",
        ".",
    ],
)
def test_what_breaks_a_rule_is_told(wrong):
    assert not is_grammatical(wrong)


def test_shuffled_words_are_hardly_ever_a_sentence():
    draw = random.Random(0)
    shuffled = []
    for sentence in imaginary_sentences(500, seed=0):
        words = cleaned(sentence).split()
        draw.shuffle(words)
        shuffled.append(" ".join(words))
    assert sum(map(is_grammatical, shuffled)) < 10
