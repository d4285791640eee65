"""Times in words."""

import pytest

from stages.durations import duration


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1.0, "0 s"),
        (5, "5 s"),
        (3.24, "3.2 s"),
        (9.96, "10 s"),
        (59.6, "1 min"),
        (287, "4 min 47 s"),
        (3599.7, "1 h"),
        (4320, "1 h 12 min"),
        (90_000_000, "25,000 h"),
    ],
)
def test_a_time_has_at_most_two_units_and_never_sixty_of_one(seconds, words):
    assert duration(seconds) == words
