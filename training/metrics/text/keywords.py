"""Whether an abstract speaks of what its title promises."""

import math
from collections.abc import Sequence

from training.metrics.text.words import stem, words

# Words that say nothing of a subject: English function words, and those of titles.
_EMPTY = """
    a about after all also an and are as at based be been between both but by can for from had has have how if in into is it its may more most new no
    not novel of on or other our over per some study such than that the their them then there these they this through to toward towards under upon use
    used using via was we were what when where which while who will with within without
"""


def keyword_recall(titles: Sequence[str], abstracts: Sequence[str]) -> float:
    """The share of a title's words, function words aside, whose stem its abstract has; the mean over titles with such words, NaN without any."""
    shares, empty = [], set(words(_EMPTY))
    for title, abstract in zip(titles, abstracts, strict=True):
        if wanted := {stem(word) for word in words(title) if word not in empty}:
            shares.append(len(wanted & {stem(word) for word in words(abstract)}) / len(wanted))
    return math.fsum(shares) / len(shares) if shares else math.nan
