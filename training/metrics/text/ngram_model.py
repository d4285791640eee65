"""What plain statistics know of texts: a character n-gram model and the compressor xz, which a model of language should predict better than.

Source: Chen and Goodman 1998, "An Empirical Study of Smoothing Techniques for Language Modeling": modified Kneser-Ney smoothing, interpolated.
"""

import lzma
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy

# Bits of a character in an n-gram's number, so that five fit into 60. The most frequent characters have codes of their own, the others share one.
_BITS = 12
_BEFORE, _END, _OTHER, _FIRST = range(4)
_MASKS = [(1 << _BITS * n) - 1 for n in range(6)]
# What it costs to say which of the other characters of Unicode it is.
_OTHER_BITS = 17.0
# Discounts where too few n-grams were seen for estimates.
_USUAL_DISCOUNTS = [0.5, 1.0, 1.5]
# Of n-grams of one length: numbers, sorted [K]; shares by discounted counts [K]; what stands before, sorted [C]; the rest left to shorter ones [C].
_Order = tuple[numpy.ndarray, numpy.ndarray, numpy.ndarray, numpy.ndarray]


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
        frequent = Counter(character for text in texts for character in text).most_common(2**_BITS - _FIRST)
        alphabet = {character: code for code, (character, _) in enumerate(frequent, _FIRST)}
        orders, longer = list[_Order](), (numbers := _numbers(texts, alphabet, order))
        for n in range(order, 0, -1):
            keys, counts = numpy.unique(longer & _MASKS[n], return_counts=True)
            # Shorter n-grams count what they follow, not how often they come; those at the beginning of a text can follow nothing.
            if n < order:
                as_they_come = numpy.unique(numbers & _MASKS[n], return_counts=True)[1]
                counts = numpy.where(keys >> _BITS * (n - 1) == _BEFORE, as_they_come, counts)
            orders.insert(0, _discounted(keys, counts))
            longer = keys
        return cls(alphabet, tuple(orders))

    def probabilities(self, numbers: numpy.ndarray) -> numpy.ndarray:
        """Of the last character given those before it, [N], for n-grams packed as `_numbers` does."""
        # Below all n-grams, every character, the end and the code of others are alike.
        found = numpy.full(len(numbers), 1 / (len(self.alphabet) + 2))
        for mask, (keys, shares, contexts, rests) in zip(_MASKS[1:], self.orders, strict=False):
            found = _look_up(keys, shares, numbers & mask, 0.0) + _look_up(contexts, rests, (numbers & mask) >> _BITS, 1.0) * found
        return found

    def bits_per_character(self, texts: Sequence[str]) -> float:
        """Bits of all texts over their characters, the end of each text counted as one; NaN without texts."""
        numbers = _numbers(texts, self.alphabet, len(self.orders))
        others = int((numbers & _MASKS[1] == _OTHER).sum())
        return float((_OTHER_BITS * others - numpy.log2(self.probabilities(numbers)).sum()) / len(numbers)) if texts else math.nan


def xz_bits_per_character(texts: Sequence[str], training: Sequence[str]) -> float:
    """Bits that the texts, a line each, add to the training texts when xz compresses them behind those; a line's end counts as a character."""
    before, behind = ("".join(f"{' '.join(text.splitlines())}\n" for text in lines) for lines in (training, texts))
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME}]
    without, both = (len(lzma.compress(lines.encode(), format=lzma.FORMAT_RAW, filters=filters)) for lines in (before, before + behind))
    return 8 * (both - without) / len(behind) if behind else math.nan


def _numbers(texts: Sequence[str], alphabet: dict[str, int], order: int) -> numpy.ndarray:
    """The n-gram that ends with each character and each end of the texts, as one number, the last character lowest."""
    before = [_BEFORE] * (order - 1)
    codes = numpy.array(
        [code for text in texts for code in (*before, *(alphabet.get(character, _OTHER) for character in text), _END)], dtype=numpy.int64
    )
    numbers = sum(numpy.pad(codes, (back, 0))[: len(codes)] << _BITS * back for back in range(order))
    return numpy.asarray(numbers)[codes != _BEFORE]


def _discounted(keys: numpy.ndarray, counts: numpy.ndarray) -> _Order:
    """Counts of n-grams made into shares of their contexts, less the discounts of Chen and Goodman, equation 26."""
    kinds = [int((counts == count).sum()) for count in (1, 2, 3, 4)]
    y = kinds[0] / max(1, kinds[0] + 2 * kinds[1])
    discounts = [count - (count + 1) * y * kinds[count] / kinds[count - 1] if kinds[count - 1] else -1 for count in (1, 2, 3)]
    is_sound = all(0 <= discount <= count for count, discount in enumerate(discounts, 1))
    taken = numpy.array([0.0, *(discounts if is_sound else _USUAL_DISCOUNTS)])[numpy.minimum(counts, 3)]
    contexts, of = numpy.unique(keys >> _BITS, return_inverse=True)
    totals = numpy.bincount(of, weights=counts)
    return keys, (counts - taken) / totals[of], contexts, numpy.bincount(of, weights=taken) / totals


def _look_up(keys: numpy.ndarray, values: numpy.ndarray, wanted: numpy.ndarray, absent: float) -> numpy.ndarray:
    places = numpy.minimum(numpy.searchsorted(keys, wanted), len(keys) - 1)
    return numpy.where(keys[places] == wanted, values[places], absent)
