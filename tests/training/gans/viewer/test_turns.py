"""One picture at a time, and of those that wait only the newest of each lane."""

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from training.gans.viewer.turns import SupersededError, Turns


class Asking:
    """Asks for work from threads of its own, each begun only when the one before it waits."""

    def __init__(self) -> None:
        self.turns, self.done, self.threads = Turns(), [], set()
        self.is_free, self.pool = threading.Event(), ThreadPoolExecutor(16)

    def ask(self, lane: str, name: str) -> Future:
        def work() -> str:
            self.threads.add(threading.get_ident())
            assert self.is_free.wait(30)
            self.done.append(name)
            return name

        number = next(self.turns._numbers) + 1
        asked = self.pool.submit(self.turns.do, lane, work)
        # The lane knows of it, or it was taken up at once.
        while self.turns._newest.get(lane) != number and not (self.turns._is_busy and lane not in self.turns._newest):
            pass
        return asked


def test_of_those_that_wait_the_newest_of_each_lane_is_done():
    asking = Asking()
    first = asking.ask("a", "first")
    waiting = [asking.ask("a", f"a{number}") for number in range(5)]
    other = asking.ask("b", "b")
    # Those that were overtaken know it while the first is still being done.
    for overtaken in waiting[:-1]:
        with pytest.raises(SupersededError):
            overtaken.result(30)
    asking.is_free.set()
    assert (first.result(30), waiting[-1].result(30), other.result(30)) == ("first", "a4", "b")
    assert sorted(asking.done) == ["a4", "b", "first"] and asking.done[0] == "first"
    assert len(asking.threads) == 1
    assert asking.turns._newest == {}


def test_work_that_fails_leaves_the_turn_to_the_next():
    turns = Turns()
    with pytest.raises(ZeroDivisionError):
        turns.do("a", lambda: 1 // 0)
    assert turns.do("a", lambda: 2) == 2
    turns.close()
