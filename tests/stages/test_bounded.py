"""Whatever an item does to the process that reads it costs that item, is told, and the others are read by the same program."""

import time

from stages.bounded import BoundedReader, Bounds, Refused
from tests.stages.misreading import __name__ as MODULE

READER = f"{MODULE}:open_misreader"


def read(items: list[list], **bounds: float) -> list:
    with BoundedReader(READER, {"name": "x"}, Bounds(**({"memory_mib": 64, "cpu_s": 1} | bounds))) as reader:
        return [*reader.read(items), *reader.read(items[:1])]


def test_each_item_is_answered_in_order_whatever_the_others_do():
    items = [[what, place] for place, what in enumerate(["print", "crash", "give", "fill", "refuse", "defect", "spin", "crash", "crash", "give"])]
    items[3][1] = 1_000
    answers = read(items)
    reasons = [answer.reason if isinstance(answer, Refused) else answer[:2] for answer in answers]
    wanted = [["x", 0], "crashed", ["x", 2], "out_of_memory", "odd", "crashed", "too_slow", "crashed", "crashed", ["x", 9], ["x", 0]]
    assert reasons == wanted
    assert "Segmentation fault" in answers[1].words and answers[5].words == "KeyError: 5" and "cpu_s = 1" in answers[6].words
    # The program, with its libraries, was started once.
    assert len({answer[2] for answer in answers if isinstance(answer, list)}) == 1


def test_what_was_read_before_a_crash_is_not_lost_and_not_told_twice():
    items = [["give", place] for place in range(5_000)]
    for place in (17, 18, 3_000, 4_999):
        items[place][0] = "crash"
    answers = read(items)
    assert [place for place, answer in enumerate(answers) if isinstance(answer, Refused)] == [17, 18, 3_000, 4_999]
    assert [answer[1] for answer in answers[:-1] if isinstance(answer, list)] == [place for place in range(5_000) if items[place][0] == "give"]


def test_an_item_that_waits_for_ever_costs_the_process_and_no_more():
    started = time.monotonic()
    first, second, third = read([["sleep", 600], ["give", 1]], stall_s=2.0)
    assert (first.reason, first.is_final, second[:2]) == ("timed_out", False, ["x", 1])
    assert third.reason == "timed_out" and time.monotonic() - started < 60


def test_a_large_answer_and_a_larger_one():
    assert read([["give", "x" * 300_000]], answer_mib=1)[0][1] == "x" * 300_000
    assert read([["give", "x" * 3_000_000]], answer_mib=1)[0].reason == "crashed"
