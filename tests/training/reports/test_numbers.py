"""Numbers with what qualifies them, flat for programs and in cells for people."""

import math

import pytest

from training.metrics.intervals import Estimate, Rate, Spread
from training.reports.numbers import Numbers, cell


def test_a_rate_brings_its_denominator_and_its_interval():
    numbers = Numbers()
    numbers.add("validity", Rate(8, 10))
    assert (numbers.values, numbers.flat["validity_n"]) == ({"validity": 0.8}, 10)
    assert numbers.interval("validity", numbers.flat) == (numbers.flat["validity_low"], numbers.flat["validity_high"])


def test_an_ending_stays_at_the_end_of_every_name():
    numbers = Numbers()
    numbers.add("recall", Rate(1, 2), ending="_same_n", with_n=False)
    numbers.add("kid", Spread(1.5, 0.25), ending="_same_n")
    assert list(numbers.flat) == ["kid_same_n", "kid_sd_same_n", "recall_high_same_n", "recall_low_same_n", "recall_same_n"]
    assert set(numbers.values) == {"kid_same_n", "recall_same_n"}


def test_what_is_not_a_number_is_left_out_and_its_denominator_stays():
    numbers = Numbers()
    numbers.add("r2", Estimate(math.nan, 0))
    numbers.add("absent", None)
    numbers.add("endless", math.inf)
    assert numbers.flat == {"r2_n": 0}
    assert numbers.interval("r2", numbers.flat) is None


def test_numbers_are_sorted_and_rounded_to_six_digits_but_counts_are_kept():
    numbers = Numbers()
    numbers.add("z", 1 / 3)
    numbers.qualify("a_n", 12_345_678)
    assert list(numbers.flat.items()) == [("a_n", 12_345_678), ("z", 0.333333)]


@pytest.mark.parametrize(
    ("number", "with_n", "shown"),
    [
        (Rate(4, 5), True, "0.8 (0.376…0.964, n = 5)"),
        (Rate(4, 5), False, "0.8 (0.376…0.964)"),
        (Rate(0, 0), True, "– (n = 0)"),
        (Estimate(0.25, 1_200), True, "0.25 (n = 1,200)"),
        (Estimate(math.nan, 0), False, "–"),
        (Spread(3.14159, 0.25), False, "3.14 ± 0.25"),
        (Spread(3.14159, math.nan), False, "3.14"),
        (12.345, False, "12.3"),
        (math.inf, False, "–"),
        (None, True, "–"),
    ],
)
def test_a_cell_says_what_is_known_of_a_number(number, with_n, shown):
    assert cell(number, with_n=with_n) == shown


def test_numbers_of_another_report_are_taken_behind_a_prefix_with_their_intervals():
    part, whole = Numbers(), Numbers()
    part.add("recall", Rate(1, 2))
    whole.take("a2b_", part)
    assert whole.values == {"a2b_recall": 0.5}
    assert whole.interval("a2b_recall", whole.flat) == part.interval("recall", part.flat)
    assert whole.flat["a2b_recall_n"] == 2
