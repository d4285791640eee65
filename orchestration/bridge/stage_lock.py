"""One materialization of a stage at a time, over all processes of this machine. The kernel frees the lock of a process that died."""

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote


@dataclass(frozen=True)
class Holder:
    """Who is materializing a stage: process id, door (`dagster`, `figment` …) and start time (seconds since 1970)."""

    pid: int
    door: str
    since: float


class StageBusy(Exception):
    """Another process is materializing this stage and the caller did not want to wait."""


@contextlib.contextmanager
def stage_lock(
    locks: Path,
    name: str,
    *,
    door: str,
    wait: bool = True,
    on_wait: Callable[[Holder | None], None] = lambda holder: None,
    is_cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[None]:
    """Hold the lock of the stage `name`; the file's text says who does.

    on_wait: told once, with the present holder, when the lock is taken. Raises StageBusy when it is and `wait` is false,
    and InterruptedError when is_cancelled becomes true while waiting.
    """
    locks.mkdir(parents=True, exist_ok=True)
    path = _lock_path(locks, name)
    with path.open("a+") as stream:
        told = False
        while not _try_lock_repeatedly(stream.fileno()):
            if not wait:
                raise StageBusy(f"{name} is being materialized by {_words(_read_holder(path))}; wait for it, or end that process")
            if not told:
                on_wait(_read_holder(path))
                told = True
            if is_cancelled():
                raise InterruptedError(f"cancelled while waiting for the materialization of {name} by another process")
            time.sleep(0.2)
        stream.truncate(0)
        stream.write(json.dumps(asdict(Holder(os.getpid(), door, time.time()))))
        stream.flush()
        try:
            yield
        finally:
            stream.truncate(0)


def holder_of(locks: Path, name: str) -> Holder | None:
    """Who is materializing the stage now, or None."""
    path = _lock_path(locks, name)
    try:
        stream = path.open("r+")
    except FileNotFoundError:
        return None
    with stream:
        if _try_lock(stream.fileno()):
            return None
        return _read_holder(path) or Holder(0, "unknown", 0.0)


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
        return Holder(**json.loads(path.read_text()))
    except (json.JSONDecodeError, TypeError):
        return None


def _words(holder: Holder | None) -> str:
    return f"process {holder.pid} ({holder.door})" if holder else "another process"
