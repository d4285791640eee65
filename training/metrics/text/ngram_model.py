"""What plain statistics know of texts: a character n-gram model and the compressor xz, which a model of language should predict better than.

Source: Chen and Goodman 1998, "An Empirical Study of Smoothing Techniques for Language Modeling": modified Kneser-Ney smoothing, interpolated.
"""

import lzma
import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy

# A character in an n-gram's number: five of them fit into 60 bits. The most frequent characters have codes of their own, the others share one.
_BITS = 12
_BEFORE, _END, _OTHER, _FIRST = 0, 1, 2, 3
# What it costs to say which of the other characters of Unicode it is.
_OTHER_BITS = 17.0
# Discounts where too few n-grams were seen for estimates.
_USUAL_DISCOUNTS = (0.5, 1.0, 1.5)


@dataclass(frozen=True)
class _Order:
    """keys: numbers of n-grams, sorted [K]. shares: [K], of discounted counts. contexts: what is before, sorted [C]. rests: [C], left to shorter ones."""

    keys: numpy.ndarray
    shares: numpy.ndarray
    contexts: numpy.ndarray
    rests: numpy.ndarray


@dataclass(frozen=True)
class CharacterNgram:
    """A model fitted to texts by `fit`. alphabet: code of each character that has one. orders: of n-grams, from 1 up."""

    alphabet: dict[str, int]
    orders: tuple[_Order, ...]

    @classmethod
    def fit(cls, texts: Sequence[str], order: int = 5) -> "CharacterNgram":
        """order: in 1…5. The end of a text is predicted like a character; nothing is known of what is before its beginning. Raises ValueError."""
        if not 1 <= order <= 5 or not texts:
            raise ValueError(f"an n-gram model needs texts and an order in 1…5, found {len(texts)} texts and order {order}")
        counts = Counter(character for text in texts for character in text)
        alphabet = {character: code for code, (character, _) in enumerate(counts.most_common(2**_BITS - _FIRST), _FIRST)}
        orders, longer = [], (raw := _numbers(texts, alphabet, order))
        for n in range(order, 0, -1):
            keys, counts_n = numpy.unique(longer & _mask(n), return_counts=True)
            # Shorter n-grams count what they follow, not how often they come; those at the beginning of a text can follow nothing.
            if n < order:
                begins = keys >> _BITS * (n - 1) == _BEFORE
                counts_n = numpy.where(begins, numpy.unique(raw & _mask(n), return_counts=True)[1], counts_n)
            orders.append(_discounted(keys, counts_n))
            longer = keys
        return cls(alphabet, tuple(reversed(orders)))

    def probabilities(self, numbers: numpy.ndarray) -> numpy.ndarray:
        """Of the last character given those before it, [N], for n-grams packed as `_numbers` does."""
        # Below all n-grams, every character, the end and the code of others are alike.
        found = numpy.full(len(numbers), 1 / (len(self.alphabet) + 2))
        for n, order in enumerate(self.orders, 1):
            keys = numbers & _mask(n)
            found = _look_up(order.keys, order.shares, keys, 0.0) + _look_up(order.contexts, order.rests, keys >> _BITS, 1.0) * found
        return found

    def bits_per_character(self, texts: Sequence[str]) -> float:
        """Bits of all texts over their characters, the end of each text counted as one; NaN without texts."""
        if not texts:
            return math.nan
        numbers = _numbers(texts, self.alphabet, len(self.orders))
        others = int((numbers & _mask(1) == _OTHER).sum())
        return float((_OTHER_BITS * others - numpy.log2(self.probabilities(numbers)).sum()) / len(numbers))


def xz_bits_per_character(texts: Sequence[str], training: Sequence[str]) -> float:
    """Bits that the texts, a line each, add to the training texts when xz compresses them behind those; a line's end counts as a character."""
    before, behind = ("".join(f"{' '.join(text.splitlines())}\n" for text in lines) for lines in (training, texts))
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
    sizes = [len(lzma.compress(lines.encode(), format=lzma.FORMAT_RAW, filters=filters)) for lines in (before, before + behind)]
    return 8 * (sizes[1] - sizes[0]) / len(behind) if behind else math.nan


def _mask(n: int) -> int:
    return (1 << _BITS * n) - 1


def _numbers(texts: Iterable[str], alphabet: dict[str, int], order: int) -> numpy.ndarray:
    """The n-gram that ends with each character and each end of the texts, as one number, the last character lowest."""
    before = [_BEFORE] * (order - 1)
    codes = numpy.array(
        [code for text in texts for code in (*before, *(alphabet.get(character, _OTHER) for character in text), _END)], dtype=numpy.int64
    )
    numbers = numpy.zeros_like(codes)
    for back in range(order):
        numbers[back:] += codes[: len(codes) - back] << _BITS * back
    return numbers[codes != _BEFORE]


def _discounted(keys: numpy.ndarray, counts: numpy.ndarray) -> _Order:
    """Counts of n-grams made into shares of their contexts, less the discounts of Chen and Goodman, equation 26."""
    n1, n2, n3, n4 = (int((counts == count).sum()) for count in (1, 2, 3, 4))
    y, pairs = n1 / max(1, n1 + 2 * n2), enumerate(((n1, n2), (n2, n3), (n3, n4)), 1)
    discounts = [count - (count + 1) * y * more / these if these else -1 for count, (these, more) in pairs]
    is_sound = all(0 <= discount <= count for count, discount in enumerate(discounts, 1))
    taken = numpy.array([0.0, *(discounts if is_sound else _USUAL_DISCOUNTS)])[numpy.minimum(counts, 3)]
    contexts, of = numpy.unique(keys >> _BITS, return_inverse=True)
    totals = numpy.bincount(of, weights=counts)
    return _Order(keys, (counts - taken) / totals[of], contexts, numpy.bincount(of, weights=taken) / totals)


def _look_up(keys: numpy.ndarray, values: numpy.ndarray, wanted: numpy.ndarray, absent: float) -> numpy.ndarray:
    places = numpy.minimum(numpy.searchsorted(keys, wanted), len(keys) - 1)
    return numpy.where(keys[places] == wanted, values[places], absent)
