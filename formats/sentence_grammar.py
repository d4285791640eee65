"""A small English of the project's own: sentences it makes up, and whether a sentence is one of them.

The rules know number, articles and what takes an object, so that a model that has learned words alone is told from one that has learned sentences.
"""

import functools
import random
import re
from collections.abc import Iterator

# Alternatives of each symbol; symbols are in capitals. What stands twice is twice as likely.
_TEXT = """
SENTENCE: CLAUSE | CLAUSE | CLAUSE PLACE | TIME , CLAUSE | CLAUSE but CLAUSE
CLAUSE: ONE DOES | ONE DOES MANNER | ONE ACTS_ON ONE | ONE ACTS_ON MORE | ONE is STATE | MORE DO | MORE DO MANNER | MORE ACT_ON ONE | MORE are STATE
ONE: the NOUN | the STATE NOUN | a NOUN | a CONSONANT_STATE NOUN | an VOWEL_STATE NOUN | every NOUN
MORE: the NOUNS | NUMBER NOUNS | NUMBER STATE NOUNS | STATE NOUNS
STATE: CONSONANT_STATE | CONSONANT_STATE | VOWEL_STATE
TIME: at night | in winter | after the reaction | without light | under pressure | sometimes | today
PLACE: PREPOSITION the WHERE | PREPOSITION a WHERE
PREPOSITION: in | near | behind | beside
WHERE: beaker | flask | reactor | laboratory | furnace | bottle
MANNER: slowly | quickly | quietly | again | twice | well
NUMBER: two | three | many | some | few
CONSONANT_STATE: blue | red | soft | hot | cold | porous | chiral | thin | bright | stable | small | pure
VOWEL_STATE: active | organic | acidic | elastic
NOUN: polymer | crystal | catalyst | membrane | molecule | metal | film | droplet | salt | ligand | sensor | gel | fibre | pigment
NOUNS: polymers | crystals | catalysts | membranes | molecules | metals | films | droplets | salts | ligands | sensors | gels | fibres | pigments
DOES: glows | melts | grows | swells | fades | shrinks | moves | sleeps
DO: glow | melt | grow | swell | fade | shrink | move | sleep
ACTS_ON: absorbs | binds | splits | coats | heats | cools | traps | protects
ACT_ON: absorb | bind | split | coat | heat | cool | trap | protect
"""
_RULES = {
    symbol: [tuple(alternative.split()) for alternative in alternatives.split("|")]
    for symbol, _, alternatives in (line.partition(":") for line in _TEXT.strip().splitlines())
}
MOST_SENTENCES = 100_000


def imaginary_sentences(count: int, *, seed: int) -> Iterator[str]:
    """`count` different sentences as one writes them: a capital first, a full stop last. At most MOST_SENTENCES; the same seed gives the same."""
    draw = random.Random(seed)
    told: set[str] = set()
    while len(told) < min(count, MOST_SENTENCES):
        sentence = " ".join(_expand("SENTENCE", draw)).replace(" ,", ",")
        if sentence not in told:
            told.add(sentence)
            yield f"{sentence[0].upper()}{sentence[1:]}."


def is_grammatical(text: str) -> bool:
    """Whether `text`, words and signs between single spaces in any case, is one of them. Its comma and full stop may be missing."""
    return _language().fullmatch(text.lower()) is not None


@functools.cache
def _language() -> re.Pattern[str]:
    return re.compile(_pattern("SENTENCE") + r"(?: ?\.)?")


@functools.cache
def _pattern(symbol: str) -> str:
    """No rule comes back to itself, so that each is a regular expression."""
    if symbol not in _RULES:
        return re.escape(symbol)
    alternatives = dict.fromkeys(" ".join(map(_pattern, parts)).replace(" ,", "(?: ?,)?") for parts in _RULES[symbol])
    return f"(?:{'|'.join(alternatives)})"


def _expand(symbol: str, draw: random.Random) -> list[str]:
    return [word for part in draw.choice(_RULES[symbol]) for word in _expand(part, draw)] if symbol in _RULES else [symbol]
