"""Bounds for what must not take long or much: processor time, and memory beyond what this process has already."""

import contextlib
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

_PAGE_BYTES = resource.getpagesize()
_SIZES = Path("/proc/self/statm")


@contextlib.contextmanager
def bounded(*, seconds: float, mib: int) -> Iterator[None]:
    """Raises TimeoutError inside the block after so much processor time, and on Linux MemoryError when it asks for more memory than that."""

    def too_long(*_: object) -> None:
        raise TimeoutError(f"more than {seconds:g} s of processor time")

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    previous = signal.signal(signal.SIGPROF, too_long)
    if _SIZES.exists():
        used = int(_SIZES.read_text().split()[0]) * _PAGE_BYTES
        resource.setrlimit(resource.RLIMIT_AS, (used + mib * 2**20, hard))
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
