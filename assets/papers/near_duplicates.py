"""Find papers that say nearly the same, such as a preprint and its journal version: an exact join on word shingles, without comparing all pairs.

Two papers are near-duplicates when the shingles (runs of three words) of their titles and abstracts have a Jaccard similarity of at least a
threshold. Never near-duplicates are: translations of each other, papers in different languages, titles that differ in a number (Part 1, Part 2),
a paper and its correction or a comment on it, and texts too short to tell.

Sets of similarity t share at least one of their rarest |x| - ceil(t |x|) + 1 members, so only papers that meet there are compared (prefix filtering:
Chaudhuri et al. 2006; Bayardo et al. 2007, "Scaling up all pairs similarity search").
"""

import math
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy

_SHINGLE_WORDS = 3  # of 21 bits each in a 64-bit number
_WORD_MASK = (1 << 21) - 1
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


def near_duplicates(texts: Sequence[Text], *, similarity: float, min_words: int) -> dict[str, str]:
    """For each paper that nearly repeats an earlier one of `texts`: the id of the first such that repeats no other itself.

    similarity: Jaccard, in (0, 1]. min_words: of title and abstract together; shorter texts are not judged.
    """
    # What each text is compared by; texts too short to tell are out of it from here on.
    judged: list[int] = []
    traits: list[_Traits] = []
    numbers: dict[str, int] = {}
    sets: list[numpy.ndarray] = []
    for place, text in enumerate(texts):
        title, abstract = normalised(text.title), normalised(text.abstract)
        if len(title) + len(abstract) >= min_words:
            judged.append(place)
            traits.append(_traits(title, text.language))
            sets.append(_shingles(title, abstract, numbers))
    # Of each later paper, the earlier ones that it repeats.
    earlier: dict[int, list[int]] = defaultdict(list)
    for first, second in _similar(_ranked(sets), traits, similarity):
        one, other = sorted((judged[first], judged[second]))
        if traits[first].agree(traits[second]) and not _are_translations(texts[one], texts[other]):
            earlier[other].append(one)
    # In order, so that a chain of reprints all point to the first of them and not to each other.
    found: dict[str, str] = {}
    for place in sorted(earlier):
        first_id = texts[min(earlier[place])].id
        found[texts[place].id] = found.get(first_id, first_id)
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


def _traits(title: list[str], language: str) -> _Traits:
    numbers = tuple(word for word in title if _NUMBER.fullmatch(word))
    return _Traits(numbers, any(word.startswith(_ABOUT_OTHERS) for word in title[:4]), language)


def _are_translations(one: Text, other: Text) -> bool:
    return bool(one.family) and one.family == other.family


def _shingles(title: list[str], abstract: list[str], numbers: dict[str, int]) -> numpy.ndarray:
    """Distinct shingles, each as one 64-bit number made of the numbers of its words; title and abstract are shingled apart.

    numbers: of the words seen so far; new ones are added.
    """
    pieces = []
    for words in (title, abstract):
        if words:
            # A text of fewer words than a shingle still counts, as one.
            padded = [numbers.setdefault(word, len(numbers) + 1) & _WORD_MASK for word in words] + [0] * max(0, _SHINGLE_WORDS - len(words))
            # w₁·2⁴² + w₂·2²¹ + w₃: three words in one number, as long as there are no more than 2²¹ different words.
            row = numpy.array(padded, dtype=numpy.uint64)
            pieces.append(row[:-2] << numpy.uint64(42) | row[1:-1] << numpy.uint64(21) | row[2:])
    return numpy.unique(numpy.concatenate(pieces))


def _ranked(sets: list[numpy.ndarray]) -> list[numpy.ndarray]:
    """The same sets with members replaced by their rank, rarest first, each sorted."""
    if not sets:
        return []
    # Rank 0 is the rarest shingle of the whole collection: the fewer papers share a prefix's members, the fewer are compared.
    members, places, counts = numpy.unique(numpy.concatenate(sets), return_inverse=True, return_counts=True)
    ranks = numpy.empty(len(members), dtype=numpy.int64)
    ranks[numpy.lexsort((members, counts))] = numpy.arange(len(members))
    return [numpy.sort(piece) for piece in numpy.split(ranks[places], numpy.cumsum([len(one) for one in sets])[:-1])]


def _similar(sets: list[numpy.ndarray], traits: list[_Traits], similarity: float) -> Iterator[tuple[int, int]]:
    """All pairs of places whose sets are similar enough, except that of equal sets with equal traits each is paired with the first alone."""
    # Equal sets (a paper stored under two names) would meet in every member: only the first of them is joined, and copies are paired after it.
    first_equal: dict[tuple[bytes, _Traits], int] = {}
    distinct = []
    copies: dict[int, list[int]] = defaultdict(list)
    for place, members in enumerate(sets):
        first = first_equal.setdefault((members.tobytes(), traits[place]), place)
        if first == place:
            distinct.append(place)
        else:
            copies[first].append(place)
            yield first, place
    for one, other in _join([sets[place] for place in distinct], similarity):
        left, right = distinct[one], distinct[other]
        yield left, right
        for copy in copies[left]:
            yield copy, right
        for copy in copies[right]:
            yield left, copy


def _join(sets: list[numpy.ndarray], similarity: float) -> Iterator[tuple[int, int]]:
    # Shorter sets first: a longer one then needs to look only at those not too short for it.
    order = sorted(range(len(sets)), key=lambda place: (len(sets[place]), place))
    holders: dict[int, list[int]] = defaultdict(list)
    for place in order:
        # Prefix filtering: a set that is similar enough holds one of these |x| - ceil(t |x|) + 1 rarest members, and has t |x| members or more.
        members = sets[place]
        size = len(members)
        prefix = members[: size - math.ceil(similarity * size - 1e-9) + 1].tolist()
        met = {other for member in prefix for other in holders[member] if len(sets[other]) >= similarity * size - 1e-9}
        for other in sorted(met):
            # |x ∩ y| ≥ t |x ∪ y|, the definition itself; 1e-9 keeps a similarity that is met exactly from being lost to rounding.
            shared = len(numpy.intersect1d(members, sets[other], assume_unique=True))
            if shared >= similarity * (size + len(sets[other]) - shared) - 1e-9:
                yield place, other
        for member in prefix:
            holders[member].append(place)
