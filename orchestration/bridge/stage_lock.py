"""One materialization of a stage at a time, over all processes of this machine, until the last process of the stage's command has ended.

The lock is an open file (`flock`), and whoever holds a copy of its descriptor holds it. The supervisor of the command gets one: `kill -9` of the
process that asked for the command does not free the stage while the command is still ending. The kernel frees the lock when the last copy is gone.
"""

import contextlib
import fcntl
import json
import os
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TextIO
from urllib.parse import quote

from .process import Hold
from .survivors import end_marked, is_running


@dataclass(frozen=True)
class Holder:
    """Who is materializing a stage: process id, door (`dagster`, `figment` …) and start time (seconds since 1970).

    supervisor: the process that watches the stage's command, 0 before there is one. mark: what the command's processes carry (see survivors.py).
    """

    pid: int
    door: str
    since: float
    supervisor: int = 0
    mark: str = ""

    @property
    def is_gone(self) -> bool:
        """Whether the process that asked for the command has died, and only the command is left, about to end."""
        return bool(self.supervisor) and not is_running(self.pid)

    def __str__(self) -> str:
        if not self.pid:
            return "is being materialized by another process"
        if self.is_gone:
            return f"was being materialized by process {self.pid} ({self.door}), which died; its command (process {self.supervisor}) is still ending"
        return f"is being materialized by process {self.pid} ({self.door})"


_UNKNOWN = Holder(0, "unknown", 0.0)


class StageBusy(Exception):
    """Another process is materializing this stage and the caller did not want to wait."""


class StageLock:
    """A lock that is held here."""

    def __init__(self, stream: TextIO, holder: Holder) -> None:
        self._stream = stream
        self.holder = holder
        self._write()

    def hold(self, begin: Callable[[int], None]) -> Hold:
        """This lock, for the supervisor of the stage's command to hold as well. begin: told the supervisor's number once it is noted here."""

        def note(supervisor: int) -> None:
            self.holder = replace(self.holder, supervisor=supervisor)
            self._write()
            begin(supervisor)

        return Hold((self._stream.fileno(),), note, self.holder.mark)

    def _write(self) -> None:
        # A line more, in one piece: whoever reads meanwhile finds the line before.
        self._stream.write(json.dumps(asdict(self.holder)) + "\n")
        self._stream.flush()


@contextlib.contextmanager
def stage_lock(
    locks: Path,
    name: str,
    *,
    door: str,
    wait: bool = True,
    tell: Callable[[str], None] = lambda message: None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[StageLock]:
    """Hold the lock of the stage `name`; the file's last line says who does.

    tell: told once for whom this waits, and what a killed run left behind. Raises StageBusy when the lock is taken and `wait` is false, and
    InterruptedError when is_cancelled becomes true while waiting.
    """
    locks.mkdir(parents=True, exist_ok=True)
    path = _lock_path(locks, name)
    if path.exists() and not path.is_file():
        raise StageBusy(f"{name} cannot be locked: {path} is no file, and its lock file belongs there; remove it")
    with path.open("a+") as stream:
        told = False
        while not _try_lock_repeatedly(stream.fileno()):
            if not wait:
                raise StageBusy(f"{name} {_read_holder(path) or _UNKNOWN}; wait for it, or end that process")
            if not told:
                tell(f"{name} {_read_holder(path) or _UNKNOWN}; waiting for it")
                told = True
            if is_cancelled():
                raise InterruptedError(f"cancelled while waiting: {name} {_read_holder(path) or _UNKNOWN}")
            time.sleep(0.2)
        # A holder that ended in order has taken its text away.
        before = _read_holder(path)
        if before and before.mark and (ended := end_marked(before.mark)):
            tell(f"{name}: ended what a killed run had left behind (processes: {ended})")
        stream.truncate(0)
        lock = StageLock(stream, Holder(os.getpid(), door, time.time(), mark=uuid.uuid4().hex))
        try:
            yield lock
        finally:
            if not is_running(lock.holder.supervisor):
                stream.truncate(0)


def holder_of(locks: Path, name: str) -> Holder | None:
    """Who is materializing the stage now, or None."""
    path = _lock_path(locks, name)
    if not path.is_file():
        return None
    try:
        stream = path.open("r+")
    except FileNotFoundError:
        return None
    with stream:
        if _try_lock(stream.fileno()):
            return None
        return _read_holder(path) or _UNKNOWN


def _lock_path(locks: Path, name: str) -> Path:
    # `train@small/x` is a legal stage name and no legal file name.
    return locks / f"{quote(name, safe='@')}.lock"


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _try_lock_repeatedly(descriptor: int, *, tries: int = 5) -> bool:
    """Whoever asks `holder_of` holds the lock for an instant: that is nobody at work."""
    for _ in range(tries):
        if _try_lock(descriptor):
            return True
        time.sleep(0.005)
    return False


def _read_holder(path: Path) -> Holder | None:
    try:
        told = Holder(**json.loads(path.read_text().splitlines()[-1]))
    except (IndexError, ValueError, TypeError):
        return None
    return told if isinstance(told.pid, int) and isinstance(told.supervisor, int) and isinstance(told.mark, str) else None
