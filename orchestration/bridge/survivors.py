"""Processes that outlive their command's supervisor, because that was itself killed with SIGKILL: found by a mark in their environment, and ended.

Whatever a command starts inherits the mark, unless it clears its environment. (An open lock file, inherited the same way, would be the kernel's own
register; but Python closes it in every program it starts, so that of a `torchrun` only the agent would keep it. Measured in docs/LOG.md.)
"""

import contextlib
import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import psutil

# The environment variable that carries the mark.
MARK = "BRIDGE_COMMAND"
_POLL_S = 0.05


def is_running(pid: int) -> bool:
    """Whether the process lives; one that has ended and waits to be buried does not."""
    import psutil

    try:
        return pid > 0 and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def end_marked(mark: str, *, grace_s: float = 10.0) -> int:
    """End every process that carries `mark`, with SIGTERM and after `grace_s` with SIGKILL. How many there were."""
    import psutil

    told: set[psutil.Process] = set()
    deadline = time.monotonic() + grace_s
    while living := _marked(mark):
        is_overdue = time.monotonic() >= deadline
        for process in living:
            with contextlib.suppress(psutil.NoSuchProcess):
                if is_overdue:
                    process.kill()
                elif process not in told:
                    process.terminate()
        told.update(living)
        time.sleep(_POLL_S)
    return len(told)


def _marked(mark: str) -> "list[psutil.Process]":
    """The living processes of this user that carry `mark`, this one left out."""
    import psutil

    found = []
    for process in psutil.process_iter():
        # Other people's processes do not show their environment, and those that are just ending have none.
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                found.append(process)
    return found
