"""The character n-gram model: probabilities that sum to 1, equal to the definition in the plainest words, and quick enough."""

import math
import random
import time
from collections import Counter, defaultdict

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.metrics.text.ngram_model import _BITS, _END, _OTHER, CharacterNgram, xz_bits_per_character

TEXTS = st.lists(st.text(alphabet="abcd é", max_size=12), min_size=1, max_size=12)


def packed(codes: list[int]) -> int:
    return sum(code << _BITS * back for back, code in enumerate(reversed(codes)))


@given(TEXTS, st.lists(st.integers(0, 8), min_size=4, max_size=4), st.integers(1, 5))
def test_probabilities_after_any_context_sum_to_one(texts, context, order):
    model = CharacterNgram.fit(texts, order)
    symbols = [_END, _OTHER, *model.alphabet.values()]
    probabilities = model.probabilities(numpy.array([packed([*context[: order - 1], symbol]) for symbol in symbols]))
    assert probabilities.sum() == pytest.approx(1)
    assert (probabilities > 0).all()


def plain_bits(texts: list[str], judged: list[str], order: int) -> float:
    """Bits by the recursion of Chen and Goodman in dictionaries; characters are their own codes, `^` before and `$` behind a text."""
    grams: dict[int, Counter] = {n: Counter() for n in range(1, order + 1)}
    for text in texts:
        marked = "^" * (order - 1) + text + "$"
        for end in range(order, len(marked) + 1):
            for n, counts in grams.items():
                counts[marked[end - n : end]] += 1
    adjusted: dict[int, Counter] = {order: grams[order]}
    for n in range(1, order):
        lefts = Counter(gram[1:] for gram in grams[n + 1])
        adjusted[n] = Counter({gram: grams[n][gram] if gram[0] == "^" else lefts[gram] for gram in grams[n]})
    discounts, by_context = {}, {}
    for n, counts in adjusted.items():
        n1, n2, n3, n4 = (sum(count == k for count in counts.values()) for k in (1, 2, 3, 4))
        y = n1 / max(1, n1 + 2 * n2)
        estimates = (1 - 2 * y * n2 / max(1, n1), 2 - 3 * y * n3 / max(1, n2), 3 - 4 * y * n4 / max(1, n3))
        are_sound = min(n1, n2, n3) > 0 and all(0 <= discount <= k for k, discount in enumerate(estimates, 1))
        assert are_sound or n < order, "the texts of this test must allow estimates"
        discounts[n] = estimates if are_sound else (0.5, 1.0, 1.5)
        by_context[n] = defaultdict(dict)
        for gram, count in counts.items():
            by_context[n][gram[:-1]][gram[-1]] = count
    alphabet = len(set("".join(texts))) + 2

    def probability(context: str, symbol: str, n: int) -> float:
        if n == 0:
            return 1 / alphabet
        shorter = probability(context[1:], symbol, n - 1)
        seen = by_context[n].get(context)
        if not seen:
            return shorter
        taken = {other: discounts[n][min(count, 3) - 1] for other, count in seen.items()}
        share = seen.get(symbol, 0) - taken.get(symbol, 0)
        return (share + sum(taken.values()) * shorter) / sum(seen.values())

    bits = characters = 0.0
    for text in judged:
        marked = "^" * (order - 1) + text + "$"
        for end in range(order, len(marked) + 1):
            bits -= math.log2(probability(marked[end - order : end - 1], marked[end - 1], order))
            characters += 1
    return bits / characters


TEXTS_OF = {2: 12, 3: 25, 5: 40}


@pytest.mark.parametrize("order", TEXTS_OF)
def test_bits_are_those_of_the_definition_in_plain_words(order):
    chance = random.Random(1)
    words = ["gold", "old", "cold", "growth", "glow", "lot", "water", "tower", "row"]
    texts = [" ".join(chance.choices(words, weights=range(1, 10), k=5)) for _ in range(TEXTS_OF[order])]
    judged = ["old water glow", "tower log", ""]
    assert CharacterNgram.fit(texts, order).bits_per_character(judged) == pytest.approx(plain_bits(texts, judged, order), rel=1e-12)


def test_longer_contexts_predict_real_words_better_and_all_better_than_chance(shared_captions):
    texts = [" ".join(words) for words in shared_captions]
    bits = [CharacterNgram.fit(texts[:-100], order).bits_per_character(texts[-100:]) for order in (1, 3, 5)]
    assert bits[2] < bits[1] < bits[0] < math.log2(30)


def test_a_character_never_seen_costs_what_unicode_costs():
    model = CharacterNgram.fit(["abc"] * 20)
    assert model.bits_per_character(["abc"]) < 0.5
    assert 17 < model.bits_per_character(["ab\N{SNOWMAN}"]) * 4 < 100
    assert math.isnan(model.bits_per_character([]))
    with pytest.raises(ValueError, match="found 0 texts"):
        CharacterNgram.fit([])


def test_xz_says_a_copy_of_the_training_texts_is_almost_free_and_noise_costs_all_its_bits():
    chance = random.Random(0)
    noise = ["".join(chance.choices("0123456789abcdef", k=99)) for _ in range(60)]
    assert xz_bits_per_character(noise[:30], noise[30:]) == pytest.approx(4, rel=0.1)
    assert xz_bits_per_character(noise[30:], noise[30:]) < 0.3
    assert math.isnan(xz_bits_per_character([], noise))


@pytest.mark.slow
def test_sixty_thousand_titles_take_less_than_a_minute():
    chance = random.Random(0)
    texts = [" ".join("".join(chance.choices("etaoinshrdlu", k=chance.randint(2, 9))) for _ in range(15)) for _ in range(60_000)]
    start = time.perf_counter()
    CharacterNgram.fit(texts).bits_per_character(texts[:6000])
    assert time.perf_counter() - start < 60
