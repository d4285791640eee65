"""Take turns at hosts: few requests at once, a pause between them, and silence for as long as a host asks for it."""

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from assets.downloads.guarded_http import UnavailableError

_FAILURES = 5


class Hosts:
    """Shared by all threads that download. stop: set it, and nobody starts or waits any longer.

    at_once: requests under way at one host. pause_s: between the beginnings of two. longest_wait_s: a host that asks for a longer silence is left
    alone, as is one that failed _FAILURES times in a row.
    """

    def __init__(self, *, at_once: int = 2, pause_s: float = 0.0, longest_wait_s: float = 60.0) -> None:
        self.stop = threading.Event()
        self._at_once, self._pause_s, self._longest_wait_s = at_once, pause_s, longest_wait_s
        self._guard = threading.Lock()
        self._hosts: dict[str, _Host] = {}

    @contextlib.contextmanager
    def turn(self, name: str) -> Iterator[None]:
        """Hold one of the host's places, from when it may be asked. Raises UnavailableError when that is too far away, or all is to stop."""
        with self._guard:
            host = self._hosts.setdefault(name, _Host(threading.Semaphore(self._at_once)))
        with host.places:
            while not self.stop.is_set() and (wait_s := self._until_next(host)) > 0:
                if wait_s > self._longest_wait_s:
                    raise UnavailableError(f"{name} asks to be left alone for {wait_s:,.0f} s more; try again later")
                # Somebody else may be told to wait meanwhile: look again afterwards.
                self.stop.wait(wait_s)
            self.refuse_if_stopped()
            if host.failures >= _FAILURES:
                raise UnavailableError(f"{name} failed {host.failures} times in a row and is left alone; try again later")
            yield

    def note(self, name: str, *, is_well: bool) -> None:
        """A file of this host came, or could not be had in any attempt."""
        with self._guard:
            self._hosts[name].failures = 0 if is_well else self._hosts[name].failures + 1

    def hold(self, name: str, wait_s: float) -> None:
        """Let nobody begin at this host for so long."""
        with self._guard:
            self._hosts[name].next_start = max(self._hosts[name].next_start, time.monotonic() + wait_s)

    def refuse_if_stopped(self) -> None:
        """Raises UnavailableError when all is to stop."""
        if self.stop.is_set():
            raise UnavailableError("stopped")

    def _until_next(self, host: "_Host") -> float:
        """Seconds until a request may begin; 0 when it begins now, and the next one then waits for its pause."""
        with self._guard:
            wait_s = host.next_start - time.monotonic()
            if wait_s <= 0:
                host.next_start = time.monotonic() + self._pause_s
            return max(0.0, wait_s)


@dataclass
class _Host:
    places: threading.Semaphore
    next_start: float = 0.0
    failures: int = 0


def seconds_asked(retry_after: str) -> float | None:
    """What a Retry-After header asks for, a number of seconds or a date; None where it says nothing that can be read."""
    if retry_after.strip().isdigit():
        return float(retry_after)
    try:
        return max(0.0, parsedate_to_datetime(retry_after).timestamp() - time.time())
    except ValueError:
        return None
