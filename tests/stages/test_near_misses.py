"""The nearest known word, or none."""

import pytest

from stages.near_misses import did_you_mean


@pytest.mark.parametrize(
    ("word", "known", "hint"),
    [
        ("gama", ["gamma", "beta"], " (did you mean 'gamma'?)"),
        ("SMILE", ["id", "Smiles"], " (did you mean 'Smiles'?)"),
        ("12", [11, 120], " (did you mean '120'?)"),
        ("entirely", ["other"], ""),
        ("x", [], ""),
    ],
)
def test_the_nearest_known_word_is_named_as_it_is_written(word, known, hint):
    assert did_you_mean(word, known) == hint
