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
MORE: the NOUNS | NUMBER NOUNS | NUMBER STATE NOUNS | STATE NOUNS; STATE: CONSONANT_STATE | CONSONANT_STATE | VOWEL_STATE
PLACE: in WHERE | near WHERE | behind WHERE | beside WHERE; WHERE: ARTICLE VESSEL; ARTICLE: the | a
VESSEL: beaker | flask | reactor | laboratory | furnace | bottle; TIME: at night | in winter | without light | under pressure | sometimes | today
MANNER: slowly | quickly | quietly | again | twice | well; NUMBER: two | three | many | some | few; VOWEL_STATE: active | organic | acidic | elastic
CONSONANT_STATE: blue | red | soft | hot | cold | porous | chiral | thin | bright | stable | small | pure
NOUN: polymer | crystal | catalyst | membrane | molecule | metal | film | droplet | salt | ligand | sensor | gel | fibre | pigment
NOUNS: polymers | crystals | catalysts | membranes | molecules | metals | films | droplets | salts | ligands | sensors | gels | fibres | pigments
DOES: glows | melts | grows | swells | fades | shrinks | moves | sleeps; DO: glow | melt | grow | swell | fade | shrink | move | sleep
ACTS_ON: absorbs | binds | splits | coats | heats | cools | traps | protects
ACT_ON: absorb | bind | split | coat | heat | cool | trap | protect
"""
_LINES = (line.split(":") for line in re.split("[;\n]", _TEXT.strip()))
_RULES = {symbol.strip(): [alternative.split() for alternative in alternatives.split("|")] for symbol, alternatives in _LINES}
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
    return re.fullmatch(_pattern("SENTENCE"), text.lower().removesuffix(".").removesuffix(" ")) is not None


@functools.cache
def _pattern(symbol: str) -> str:
    """No rule comes back to itself, so that each is a regular expression."""
    alternatives = dict.fromkeys(" ".join(map(_pattern, parts)).replace(" ,", "(?: ?,)?") for parts in _RULES.get(symbol, ()))
    return f"(?:{'|'.join(alternatives)})" if alternatives else symbol


def _expand(symbol: str, draw: random.Random) -> list[str]:
    return [word for part in draw.choice(_RULES[symbol]) for word in _expand(part, draw)] if symbol in _RULES else [symbol]
