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
    from nltk.stem.porter import PorterStemmer  # takes a second or two

    return str(PorterStemmer().stem(word))
