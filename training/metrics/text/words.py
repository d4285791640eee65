"""What a word is for the measures of this folder, and its stem."""

import functools
import re

_WORD = re.compile(r"\w+")


def words(text: str) -> list[str]:
    """Runs of letters, digits and underscores of any script, in lower case; punctuation is left out. Scripts without blanks give long words."""
    return _WORD.findall(text.lower())


@functools.cache
def stem(word: str) -> str:
    """The word without its English endings. Source: Porter 1980, Program 14:130, with the extensions of nltk, whose code this is."""
    return str(_stemmer().stem(word))


@functools.cache
def _stemmer():  # type: ignore[no-untyped-def]  # nltk has no types, and takes a second or two to import
    from nltk.stem.porter import PorterStemmer

    return PorterStemmer()
