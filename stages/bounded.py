"""Foreign files are read by a process that may use so much memory and processor time and no more, and whose death costs one item.

    with BoundedReader("assets.molecules.parsing:open_parser", settings, Bounds(memory_mib=1024, cpu_s=20)) as reader:
        for answer in reader.read(items):   # in order; a `Refused` where an item could not be read
            ...

The process imports the module, calls the function with `settings`, and calls what that gives with each item. Items and answers are what JSON holds.
It is started with the first item and serves many: a list of them is read by a fork of it, so that a crash costs a few ms and not a start.
This is about crashes, bombs and endless work; it keeps nobody who takes such a process over from the files of this user.

`BoundedProcess` is the process alone, for programs that talk in their own way.
"""

import contextlib
import importlib
import json
import math
import mmap
import os
import resource
import select
import signal
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Self

_ROOT = Path(__file__).resolve().parents[1]
_KEPT_VARIABLES = ("PATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PYTHONHOME")
_LONGEST_LINE = 16_384
_LONGEST_WORDS = 1_000
_WORDS_AT_ONCE = 1 << 16
_PLACES = struct.Struct("qq")
_SIZES = Path("/proc/self/statm")


@dataclass(frozen=True)
class Bounds:
    """memory_mib: beyond what the program takes before it reads. cpu_s: of processor time, for one item. stall_s: of the clock, until a word comes.

    answer_mib: of one answer. memory_name, cpu_name: of the parameters that say the first two, for words.
    """

    memory_mib: int
    cpu_s: int
    stall_s: float = 120.0
    answer_mib: int = 64
    memory_name: str = "memory_mib"
    cpu_name: str = "cpu_s"


class Ended(Exception):
    """The process is no more, or talks nonsense. reason: a fixed word, for counting; is_final: whether another try would end likewise."""

    def __init__(self, reason: str, words: str, *, is_final: bool = True) -> None:
        super().__init__(words)
        self.reason, self.words, self.is_final = reason, words, is_final


@dataclass(frozen=True)
class Refused:
    """An item that was not read. reason: out_of_memory, too_slow, timed_out, crashed, too_many_bytes, or one of the reader's own."""

    reason: str
    words: str
    is_final: bool = True


class RefusedError(Exception):
    """A reader's own refusal of one item."""

    def __init__(self, reason: str, words: str) -> None:
        super().__init__(words)
        self.reason, self.words = reason, words


class BoundedProcess:
    """A context manager for `python -m program`, which reads its job, a line of JSON, from its standard input, and sets its own bounds.

    Leaving the block ends it and all that it has started. deadline: of `time.monotonic`, for all of it. late: what is said where that has passed.
    """

    def __init__(self, program: str, job: Any, bounds: Bounds, *, deadline: float = math.inf, late: str = "it took too long") -> None:
        self._program, self._job, self._bounds, self._deadline, self._late = program, job, bounds, deadline, late
        self._buffer = bytearray()

    def __enter__(self) -> Self:
        # What the program starts may need a place for temporary files: theirs goes when they go.
        self._scratch = tempfile.TemporaryDirectory(prefix="figment-bounded-", ignore_cleanup_errors=True)
        kept = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
        environment = {**kept, "PYTHONPATH": str(_ROOT), "OMP_NUM_THREADS": "1", "TMPDIR": self._scratch.name, "HOME": self._scratch.name}
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=self._scratch.name,
            env=environment,
            start_new_session=True,
        )
        assert self._process.stdin
        assert self._process.stdout
        self._in, self._out = self._process.stdin, self._process.stdout.fileno()
        self.send(self._job)
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout
        self._process.stdout.close()
        with contextlib.suppress(BrokenPipeError):
            self._in.close()
        self._scratch.cleanup()

    def send(self, message: Any) -> None:
        """Say one thing. A process that is dead already is found out by whoever listens."""
        with contextlib.suppress(BrokenPipeError):
            self._in.write(json.dumps(message).encode() + b"\n")
            self._in.flush()

    def line(self, longest: int = _LONGEST_LINE) -> bytes:
        """The next one. Raises Ended."""
        looked = 0
        while (end := self._buffer.find(b"\n", looked)) < 0:
            looked = len(self._buffer)
            if looked > longest:
                raise Ended("crashed", "the process that reads said what it never says: a line without end")
            self._fill()
        return self.read(end + 1)

    def read(self, size: int) -> bytes:
        """The next `size` bytes. Raises Ended."""
        while len(self._buffer) < size:
            self._fill()
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found

    def _fill(self) -> None:
        limit = min(time.monotonic() + self._bounds.stall_s, self._deadline)
        ready, _, _ = select.select([self._out], [], [], max(0.0, limit - time.monotonic()))
        if not ready:
            is_over = time.monotonic() >= self._deadline
            words = self._late if is_over else f"nothing came for {self._bounds.stall_s:g} s"
            raise Ended("timed_out", words, is_final=False)
        block = os.read(self._out, 1 << 20)
        if not block:
            raise how_it_ended(self._process.wait(), self._bounds)
        self._buffer += block


def how_it_ended(code: int, bounds: Bounds) -> Ended:
    """What a return code of `subprocess` says of the item that was being read."""
    if code == -signal.SIGXCPU:
        return Ended("too_slow", f"more than {bounds.cpu_name} = {bounds.cpu_s} of CPU")
    if code == -signal.SIGKILL:
        return Ended("out_of_memory", "the system ended the process that reads", is_final=False)
    name = signal.strsignal(-code) if code < 0 else f"exit code {code}"
    return Ended("crashed", f"the process that reads ended with {name}; {bounds.memory_name} = {bounds.memory_mib:,} may be too little")


class BoundedReader:
    """Asks `reader` ("module:function", see above) item by item; a context manager. Not safe across threads."""

    def __init__(self, reader: str, settings: Any, bounds: Bounds) -> None:
        self._job = {"reader": reader, "settings": settings, "memory_mib": bounds.memory_mib, "cpu_s": bounds.cpu_s}
        self._bounds = bounds
        self._process: BoundedProcess | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.__exit__()
            self._process = None

    def read(self, items: Sequence[Any]) -> Iterator[Any]:
        """The answer to each item, in order, or a `Refused`. Whatever an item does, the others are read."""
        done = 0
        while done < len(items):
            if self._process is None:
                self._process = BoundedProcess("stages.bounded", self._job, self._bounds).__enter__()
            first = done
            self._process.send(items[first:])
            try:
                while done < len(items):
                    answer = self._answer(self._process, done - first)
                    done += 1
                    yield answer
            except Ended as ended:
                self.__exit__()
                done += 1
                yield Refused(ended.reason, ended.words, ended.is_final)

    def _answer(self, process: BoundedProcess, number: int) -> Any:
        while True:
            try:
                found, kind, value = json.loads(process.line(self._bounds.answer_mib << 20))
            except ValueError:
                continue  # a word that a process died in the middle of
            if found != number:
                continue  # said again, as its process had died meanwhile
            if kind == "ended":
                ended = how_it_ended(value, self._bounds)
                return Refused(ended.reason, ended.words, ended.is_final)
            return Refused(*value) if kind == "refused" else value


# ---- in the process that reads ---------------------------------------------------------------------------------------------------------


def take_memory(mib: int) -> None:
    """Bounds the memory that this process may still ask for (on Linux), and keeps it from leaving cores behind."""
    used = int(_SIZES.read_text().split()[0]) * resource.getpagesize() if _SIZES.exists() else 0
    with contextlib.suppress(ValueError):  # a lower bound holds already
        resource.setrlimit(resource.RLIMIT_AS, (used + (mib << 20),) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def allow_cpu(seconds: int) -> None:
    """Give this process so much processor time from now on; what exceeds it ends it."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(used.ru_utime + used.ru_stime) + seconds, resource.RLIM_INFINITY))


def quiet_output() -> BinaryIO:
    """The standard output, for this program alone: what libraries, and programs that it starts, print goes nowhere."""
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return out


def main() -> int:
    """Read what `BoundedReader` sends, a list of items a line, until it is gone."""
    job = json.loads(sys.stdin.buffer.readline())
    out = quiet_output()
    module, _, name = job["reader"].partition(":")
    read = getattr(importlib.import_module(module), name)(job["settings"])
    take_memory(job["memory_mib"])
    while line := sys.stdin.buffer.readline():
        _Reading(out, json.loads(line), read, job["cpu_s"]).run()
    return 0


class _Reading:
    """Answers one list of items in processes forked from this one: of what a file did to them nothing remains, and the libraries are loaded once."""

    def __init__(self, out: BinaryIO, items: Sequence[Any], read: Callable[[Any], Any], cpu_s: int) -> None:
        self._out, self._items, self._read, self._cpu_s = out, items, read, cpu_s
        # Which item is the first whose answer has not left the process, and which is at work: known also when it has died.
        self._place = mmap.mmap(-1, _PLACES.size)

    def run(self) -> None:
        start, stop = 0, len(self._items)
        while start < len(self._items):
            self._place[:] = _PLACES.pack(start, start)
            child = os.fork()
            if not child:
                self._answer(start, stop)
                os._exit(0)
            code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            unsaid, at = _PLACES.unpack(self._place[:])
            if not code:
                start, stop = stop, len(self._items)
            elif unsaid < at:
                # What was read and not told is read again, up to the item that ended the process, which is then the first of another.
                start, stop = unsaid, at
            else:
                self._out.write(b"\n" + _word(at, "ended", code))
                self._out.flush()
                start, stop = at + 1, len(self._items)

    def _answer(self, start: int, stop: int) -> None:
        unsaid, words = start, bytearray()
        for number in range(start, stop):
            self._place[:] = _PLACES.pack(unsaid, number)
            allow_cpu(self._cpu_s)
            try:
                words += _word(number, "value", self._read(self._items[number]))
            except RefusedError as refusal:
                words += _word(number, "refused", [refusal.reason, refusal.words[:_LONGEST_WORDS]])
            except MemoryError:
                words += _word(number, "refused", ["out_of_memory", "it takes more memory than it may"])
            except Exception as error:  # noqa: BLE001 - told, as nobody reads what this process writes elsewhere
                words += _word(number, "refused", ["crashed", f"{type(error).__name__}: {error}"[:_LONGEST_WORDS]])
            if len(words) >= _WORDS_AT_ONCE or number == stop - 1:
                self._out.write(words)
                self._out.flush()
                unsaid, words = number + 1, bytearray()


def _word(number: int, kind: str, value: Any) -> bytes:
    return json.dumps([number, kind, value]).encode() + b"\n"


if __name__ == "__main__":
    # As the module that readers have their RefusedError from.
    sys.exit(importlib.import_module("stages.bounded").main())
