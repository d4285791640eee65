"""How long a run will still take: what is known, what is guessed, and when nothing is said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestration.runs.forecast import Forecast, rounded

CHAIN = {"a": (), "b": ("a",), "c": ("b",), "side": ()}


def forecast(usual, names="a b c side", *, upstream=CHAIN, at_once=2, pooled=(), places=1):
    return Forecast(names.split(), usual, upstream.__getitem__, at_once=at_once, pooled=pooled, places=places)


def test_what_can_be_done_side_by_side_is_not_waited_for_twice():
    usual = {"a": 10.0, "b": 20.0, "c": 30.0, "side": 40.0}
    assert forecast(usual).seconds_left({}) == 60.0
    assert forecast(usual, at_once=1).seconds_left({}) == 100.0
    assert forecast({**usual, "side": 70.0}).seconds_left({}) == 70.0


def test_stages_of_one_pool_wait_for_each_other():
    usual = {"a": 10.0, "side": 40.0}
    assert forecast(usual, "a side").seconds_left({}) == 40.0
    assert forecast(usual, "a side", pooled={"a", "side"}).seconds_left({}) == 50.0
    assert forecast(usual, "a side", pooled={"a", "side"}, places=2).seconds_left({}) == 40.0


def test_what_is_at_work_needs_only_the_rest_and_what_ended_nothing():
    found = forecast({"a": 10.0, "b": 20.0, "c": 30.0}, "a b c")
    assert found.seconds_left({"a": 4.0}) == 56.0
    found.ended("a", 10.0)
    assert found.seconds_left({"b": 5.0}) == 45.0
    for name in "bc":
        found.ended(name, None)
    assert found.seconds_left({}) == 0.0


def test_a_run_that_is_slower_than_the_recorded_one_stays_so():
    found = forecast({"a": 20.0, "b": 20.0}, "a b")
    found.ended("a", 60.0)
    assert found.seconds_left({}) == 20.0 * (60 + 20) / (20 + 20)


def test_stages_never_timed_are_like_those_of_this_run_once_there_are_three():
    found = forecast({}, "a b c d", upstream=dict.fromkeys("abcd", ()), at_once=1)
    for name in "abc":
        assert found.seconds_left({}) is None
        found.ended(name, 4.0)
    assert found.seconds_left({}) == 4.0


def test_a_stage_that_takes_much_longer_than_it_used_to_leaves_no_forecast():
    found = forecast({"a": 10.0}, "a")
    assert found.seconds_left({"a": 15.0}) == 1.5
    assert found.seconds_left({"a": 21.0}) is None


@pytest.mark.parametrize(("seconds", "said"), [(0.2, 5), (5.1, 10), (58.0, 60), (61.0, 70), (587.0, 590), (601.0, 660)])
def test_a_forecast_is_said_no_more_exactly_than_it_is(seconds, said):
    assert rounded(seconds) == said


@given(
    st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1e6), min_size=1),
    st.dictionaries(st.sampled_from("abcdef"), st.floats(0, 1e6)),
    st.integers(1, 4),
)
def test_a_forecast_lies_between_the_longest_stage_and_all_in_a_row(usual, running, at_once):
    upstream = {name: tuple(before for before in "abcdef" if before < name and ord(before) % 2) for name in "abcdef"}
    names = sorted(usual)
    found = Forecast(names, usual, upstream.__getitem__, at_once=at_once)
    left = found.seconds_left({name: seconds for name, seconds in running.items() if name in usual})
    if left is not None:
        parts = [max(usual[name] - running.get(name, 0.0), running.get(name, 0.0) / 10) for name in names]
        assert max(parts) <= left + 1e-6 and left <= sum(parts) * (1 + 1e-9) + 1e-6
