"""Whose turn it is to draw: one picture at a time, and of those that wait in one lane only the newest."""

import itertools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


class SupersededError(Exception):
    """A newer request of the same lane came while this one waited."""


class Turns:
    """Does work in one thread of its own, which keeps one set of compute threads whoever asks.

    A person who drags a knob asks faster than a slow model draws: whoever still waits when the next one of its lane comes is told so at once.
    """

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(max_workers=1, thread_name_prefix="draw")
        self._changed = threading.Condition()
        self._numbers = itertools.count(1)
        self._newest: dict[str, int] = {}
        self._is_busy = False

    def do(self, lane: str, work: Callable[[], T]) -> T:
        """What `work` returns or raises. Raises SupersededError."""
        with self._changed:
            mine = self._newest[lane] = next(self._numbers)
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._is_busy or self._newest.get(lane) != mine)
            if self._newest.get(lane) != mine:
                raise SupersededError
            # Once it is drawn it is drawn to its end: else nothing would be seen while a knob is dragged.
            del self._newest[lane]
            self._is_busy = True
        try:
            return self._worker.submit(work).result()
        finally:
            with self._changed:
                self._is_busy = False
                self._changed.notify_all()

    def close(self) -> None:
        """Wait for what is being done. Nothing can be asked afterwards."""
        self._worker.shutdown()
