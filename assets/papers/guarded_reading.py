"""One page that cannot be read within bounds must stall neither the crawl nor a build, and a program must end when it is told to.

Bounds of a process are the only ones that hold inside of a parser or a pattern, and to hand every page to another process costs up to half of what
reading it does. So the program itself is that process: `supervised` runs it as a child, which bounds its processor time while it reads a page. Where
that is exceeded the child ends, wherever it is, and another one goes on where it stood, without that page: crawl and build may be killed any time. A
good page costs ten microseconds more. Memory is bounded while a page is read, too, and there Python tells of it.
"""

import ctypes
import mmap
import os
import resource
import signal
import sys
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType

from assets.papers.items import Page, PageObject, Parsed, Problem
from assets.papers.page_objects import read_page

# How the words of a page begin that was set aside.
BEYOND = "beyond bounds"
# An honest page of a MiB takes a tenth of a second and some 30 MiB; machines differ.
_SECONDS, _SECONDS_A_MIB, _MEMORY = 5.0, 1.0, 3 * 2**29
# What waits instead of working, in seconds of the clock to one of processor time.
_WAITING = 20
# From SIGTERM to the end, whatever is running.
_GRACE_S = 1.2
# The ends of a child that come of reading: too long, or a parser that broke.
_OF_READING = {signal.SIGPROF, signal.SIGALRM, signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE}
_ANEW_EVERY = 256
_PARENT_DEATH = 1  # PR_SET_PDEATHSIG


class _Guard:
    """What a supervised process knows. note: memory shared with the supervisor: the name of the page being read. aside: why others are not."""

    def __init__(self, note: mmap.mmap, aside: dict[str, str]) -> None:
        self.note, self.aside = note, aside
        self._until_anew, self._memory = 0, 0
        self._limits = resource.getrlimit(resource.RLIMIT_AS)

    def read(self, read: PageObject, page: Page, log: Callable[[str], None] | None) -> Parsed:
        name = _name(page)
        if name in self.aside:
            return beyond(page.url, self.aside[name])

        def watched(page: Page) -> Parsed:
            try:
                return read(page)
            except MemoryError:
                return beyond(page.url, f"reading it took more than {_MEMORY / 2**20:,.0f} MiB")

        seconds = seconds_for(page)
        _write(self.note, name)
        signal.setitimer(signal.ITIMER_PROF, seconds)
        signal.setitimer(signal.ITIMER_REAL, _WAITING * seconds)
        resource.setrlimit(resource.RLIMIT_AS, (self._most_memory(page), self._limits[1]))
        try:
            return read_page(watched, page, log=log)
        finally:
            resource.setrlimit(resource.RLIMIT_AS, self._limits)
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
            _write(self.note, "")

    def _most_memory(self, page: Page) -> int:
        """Bytes of address space that the process may have; what it has is looked up for large pages, and now and then."""
        self._until_anew -= 1
        if self._until_anew < 0 or len(page.body) > 2**18:
            self._until_anew = _ANEW_EVERY
            most = int(Path("/proc/self/statm").read_bytes().split()[0]) * resource.getpagesize() + _MEMORY
            self._memory = min([most, *(limit for limit in self._limits if limit != resource.RLIM_INFINITY)])
        return self._memory


_guard: _Guard | None = None


def read_guarded(read: PageObject, page: Page, *, log: Callable[[str], None] | None = None) -> Parsed:
    """What `read_page` says of it; in a supervised program a problem that begins with BEYOND, where reading it took too much."""
    return _guard.read(read, page, log) if _guard is not None else read_page(read, page, log=log)


def seconds_for(page: Page) -> float:
    """The processor time that a page may take."""
    return _SECONDS + _SECONDS_A_MIB * len(page.body) / 2**20


def beyond(url: str, why: str) -> Parsed:
    """What is said of a page that was set aside."""
    return Parsed(problems=(Problem(url, f"{BEYOND}: {why}; the page stays stored, and is read again when it or its page object changes"),))


def is_beyond(parsed: Parsed) -> bool:
    """Whether the page was set aside."""
    return len(parsed.problems) == 1 and parsed.problems[0].words.startswith(BEYOND)


def supervised(main: Callable[[], int]) -> int:
    """Run `main` in a child, again after each page that ended it, and give its exit code. On SIGTERM and SIGINT both end within two seconds."""
    if not sys.platform.startswith("linux"):
        return main()
    note, aside = mmap.mmap(-1, mmap.PAGESIZE), dict[str, str]()
    child, told = 0, 0
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)}

    def pass_on(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (a signal handler's signature)
        nonlocal told
        told = told or number
        tell(number)
        signal.setitimer(signal.ITIMER_REAL, _GRACE_S)

    def end(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 (a signal handler's signature)
        tell(signal.SIGKILL)

    def tell(number: int) -> None:
        # Never 0, which is everybody; and one that has just ended hears nothing.
        if child:
            with suppress(ProcessLookupError):
                os.kill(child, number)

    for number in (signal.SIGTERM, signal.SIGINT):
        if before[number] is not signal.SIG_IGN:
            signal.signal(number, pass_on)
    signal.signal(signal.SIGALRM, end)
    while True:
        parent = os.getpid()
        signal.pthread_sigmask(signal.SIG_BLOCK, before)
        child = os.fork()
        if child == 0:
            for number, handler in before.items():
                signal.signal(number, handler)
            _begin_guarded(_Guard(note, aside), parent)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, before)
            return main()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, before)
        if told:
            tell(signal.SIGKILL)  # told between two children: this one has not begun
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        child = 0
        signal.setitimer(signal.ITIMER_REAL, 0)
        name = _read(note)
        if told and code < 0:
            print("figment: stopped; the same command continues", file=sys.stderr, flush=True)
        if told or code >= 0 or -code not in _OF_READING or not name or name in aside:
            break
        aside[name] = _why(-code)
        print(f"figment: {name.split()[0]}: {aside[name]}; it is set aside", file=sys.stderr, flush=True)
    for number, handler in before.items():
        signal.signal(number, handler)
    if code < 0:
        # As whoever started it would have seen it without a supervisor.
        os.kill(os.getpid(), told or -code)
    return code


def _begin_guarded(guard: _Guard, parent: int) -> None:
    global _guard  # noqa: PLW0603 - of the process, which is what is guarded
    _guard = guard
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(_PARENT_DEATH, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _why(number: int) -> str:
    if number in (signal.SIGPROF, signal.SIGALRM):
        return "reading it took longer than any page may"
    return f"reading it ended the program ({signal.Signals(number).name})"


def _name(page: Page) -> str:
    """Names a page for the length of a run, without looking at all of it."""
    ends = zlib.crc32(page.body[-512:], zlib.crc32(page.body[:512]))
    return f"{page.url[:1000]} {page.source} {page.kind} {len(page.body)} {ends:08x}"


def _write(note: mmap.mmap, name: str) -> None:
    data = name.encode("utf-8", "replace")[: mmap.PAGESIZE - 8]
    note[: 4 + len(data)] = len(data).to_bytes(4, "little") + data


def _read(note: mmap.mmap) -> str:
    return note[4 : 4 + int.from_bytes(note[:4], "little")].decode("utf-8", "replace")
