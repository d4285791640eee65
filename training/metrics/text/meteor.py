"""METEOR with exact and stem matches alone: synonyms need WordNet's data, which is not part of this project, so the name says what is in it.

Source: Banerjee and Lavie 2005, "METEOR"; alpha .9, beta 3, gamma .5 as of Lavie and Agarwal 2007.
"""

import math
from collections.abc import Sequence

import numpy

from training.metrics.text.words import stem, words

_ALPHA, _BETA, _GAMMA = 0.9, 3.0, 0.5


def meteor_exact_stem(hypotheses: Sequence[str], references: Sequence[str]) -> float:
    """The mean over pairs, in [0, 1]; NaN without any."""
    scores = []
    for pair in zip(hypotheses, references, strict=True):
        # Equal words have equal stems: matching stems finds exact matches as well, and both weigh the same.
        ours, theirs = ([stem(word) for word in words(text)] for text in pair)
        matches, chunks = _align(ours, theirs)
        # The weighted harmonic mean of matches / ours and matches / theirs, less for many runs.
        mean = matches / (_ALPHA * len(theirs) + (1 - _ALPHA) * len(ours)) if matches else 0.0
        scores.append(mean * (1 - _GAMMA * (chunks / max(1, matches)) ** _BETA))
    return math.fsum(scores) / len(scores) if scores else math.nan


def _align(ours: Sequence[str], theirs: Sequence[str]) -> tuple[int, int]:
    """How many words match one to one, and in how many runs of neighbours: the longest run of what is left is taken each time.

    Differs from paper: that asks for the fewest crossings among alignments with the most matches; longest runs have as many matches.
    """
    free = numpy.array([[left == right for right in theirs] for left in ours], dtype=bool).reshape(len(ours), len(theirs))
    matches = chunks = 0
    while free.any():
        runs = numpy.zeros((len(ours) + 1, len(theirs) + 1), dtype=int)
        for row in range(len(ours)):
            runs[row + 1, 1:] = (runs[row, :-1] + 1) * free[row]
        length, (row, column) = int(runs.max()), divmod(int(runs.argmax()), len(theirs) + 1)
        free[row - length : row], free[:, column - length : column] = False, False
        matches, chunks = matches + length, chunks + 1
    return matches, chunks
