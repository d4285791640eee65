"""Find papers that say nearly the same, such as a preprint and its journal version: an exact join on word shingles, without comparing all pairs.

Two papers are near-duplicates when the shingles (runs of three words) of their titles and abstracts have a Jaccard similarity of at least a
threshold. Never near-duplicates are: translations of each other, papers in different languages, titles that differ in a number (Part 1, Part 2),
a paper and its correction or a comment on it, and texts too short to tell.

Sets of similarity t share at least one of their rarest |x| - ceil(t |x|) + 1 members, so only papers that meet there are compared (prefix filtering:
Chaudhuri et al. 2006; Bayardo et al. 2007, "Scaling up all pairs similarity search").
"""

import hashlib
import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy

_SHINGLE_WORDS = 3
_ODD = numpy.array([0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9], dtype=numpy.uint64)
_COMMON = 8  # texts that hold a shingle, from which it counts as common
_WORDS = re.compile(r"\w+")
_NUMBER = re.compile(r"\d+|[ivx]+$")
# A title with one of these is about another paper. Stems, as the normalised title begins a word with them.
_ABOUT_OTHERS = ("correction", "corrigend", "errat", "addend", "retract", "withdraw", "comment", "reply", "response", "expression", "author")


@dataclass(frozen=True)
class Text:
    """What a paper is compared by. family: names the original of a translation (its own id otherwise)."""

    id: str
    title: str
    abstract: str
    language: str = ""
    family: str = ""


def normalised(text: str) -> list[str]:
    """The words of a text without case, accents and punctuation."""
    plain = text.casefold()
    if not plain.isascii():
        plain = "".join(char for char in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(char))
    return _WORDS.findall(plain)


def first_of_each(papers: Iterable[tuple[str, str, int]], similar: Mapping[int, Collection[int]]) -> dict[str, str]:
    """For each paper that repeats an earlier one: the first such, or what that one repeats, so that a chain of reprints points to its first.

    papers: (id, family, class) in order. similar: for a class, the others whose texts are similar enough.
    """
    # Translations of each other are no duplicates: of each class it is enough to know its first paper, and its first of another family than that.
    firsts: dict[int, list[tuple[int, str, str]]] = defaultdict(list)
    found: dict[str, str] = {}
    for place, (id, family, number) in enumerate(papers):
        earlier = [
            (at, other)
            for near in (number, *similar.get(number, ()))
            for at, other, its_family in firsts.get(near, ())
            if not (family and family == its_family)
        ]
        if earlier:
            _, first = min(earlier)
            found[id] = found.get(first, first)
        known = firsts[number]
        if not known or (len(known) == 1 and known[0][2] != family):
            known.append((place, id, family))
    return found


@dataclass(frozen=True)
class _Traits:
    """What tells papers apart however similar their words are: the numbers of the title, whether it is about another paper, the language."""

    numbers: tuple[str, ...]
    is_about_another: bool
    language: str

    def agree(self, other: "_Traits") -> bool:
        same_language = self.language == other.language or not (self.language and other.language)
        return same_language and (self.numbers, self.is_about_another) == (other.numbers, other.is_about_another)


@dataclass(frozen=True)
class Judged:
    """What a text is compared by. shingles: distinct ones, sorted, as the bytes of 64-bit numbers. Equal ones are of one class."""

    shingles: bytes
    traits: _Traits

    @property
    def members(self) -> numpy.ndarray:
        return numpy.frombuffer(self.shingles, dtype=numpy.uint64)

    def is_like(self, other: "Judged", similarity: float) -> bool:
        """Whether the texts are similar enough and agree in their traits."""
        return self.traits.agree(other.traits) and are_similar(self.members, other.members, similarity)


def judge(text: Text, min_words: int) -> Judged | None:
    """What the text is compared by; None where it has fewer words than that."""
    title, abstract = normalised(text.title), normalised(text.abstract)
    if len(title) + len(abstract) < min_words:
        return None
    numbers = tuple(word for word in title if _NUMBER.fullmatch(word))
    return Judged(_shingles(title, abstract).tobytes(), _Traits(numbers, any(word.startswith(_ABOUT_OTHERS) for word in title[:4]), text.language))


def _shingles(title: list[str], abstract: list[str]) -> numpy.ndarray:
    """Distinct shingles, each as one 64-bit number made of those of its words; title and abstract are shingled apart."""
    pieces = []
    for words in (title, abstract):
        if words:
            # A text of fewer words than a shingle still counts, as one.
            numbers = b"".join(map(_NUMBERS.__getitem__, words)) + bytes(8 * max(0, _SHINGLE_WORDS - len(words)))
            row = numpy.frombuffer(numbers, dtype="<u8")
            # A number of the text alone, whatever was read before it: remembered from night to night. Multiplied by odd numbers, added and mixed.
            mixed = row[:-2] * _ODD[0] + row[1:-1] * _ODD[1] + row[2:] * _ODD[2]
            pieces.append((mixed ^ (mixed >> numpy.uint64(29))) * _ODD[1])
    return numpy.unique(numpy.concatenate(pieces))


class _NumbersOfWords(dict[str, bytes]):
    """The 64-bit number of each word, little-endian; those of so many words are kept."""

    def __missing__(self, word: str) -> bytes:
        if len(self) == _MOST_WORDS:
            self.clear()
        self[word] = number = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=8).digest()
        return number


_MOST_WORDS = 1 << 17
_NUMBERS = _NumbersOfWords()


class Order:
    """Puts the shingles of a set in order, those first that are in few texts: the fewer share what a set begins with, the fewer are compared.

    common: the shingles in many texts, sorted; counts: in how many. They were counted once; any fixed order finds the same pairs.
    """

    def __init__(self, common: numpy.ndarray, counts: numpy.ndarray) -> None:
        self.common, self.counts = common, counts

    @classmethod
    def counted(cls, sets: Sequence[numpy.ndarray]) -> "Order":
        if not sets:
            return cls(numpy.empty(0, numpy.uint64), numpy.empty(0, numpy.int64))
        members, counts = numpy.unique(numpy.concatenate(sets), return_counts=True)
        many = counts >= _COMMON
        return cls(members[many], counts[many])

    def prefix(self, members: numpy.ndarray, similarity: float) -> numpy.ndarray:
        """The |x| - ceil(t |x|) + 1 first members, of which similar sets share one."""
        rank = numpy.zeros(len(members), numpy.int64)
        if len(self.common):
            places = numpy.minimum(numpy.searchsorted(self.common, members), len(self.common) - 1)
            rank = numpy.where(self.common[places] == members, self.counts[places], 0)
        size = len(members)
        # Members are sorted, and a stable sort keeps that among those of one rank.
        return members[numpy.argsort(rank, kind="stable")[: size - math.ceil(similarity * size - 1e-9) + 1]]


def are_similar(one: numpy.ndarray, other: numpy.ndarray, similarity: float) -> bool:
    """|x ∩ y| ≥ t |x ∪ y|, the definition itself; 1e-9 keeps a similarity that is met exactly from being lost to rounding."""
    if not may_be_similar(len(one), len(other), similarity):
        return False
    shared = len(numpy.intersect1d(one, other, assume_unique=True))
    return shared >= similarity * (len(one) + len(other) - shared) - 1e-9


def may_be_similar(one: int, other: int, similarity: float) -> bool:
    """Whether sets of these sizes can be: they share at most the smaller one."""
    return min(one, other) >= similarity * max(one, other) - 1e-9
