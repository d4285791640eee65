"""Run a command as DVC would, hear every line while it runs, end its whole process tree when asked, and know what it used.

Safe from any thread of a process with many threads: one `Popen` without `preexec_fn`, everything else happens in the calling thread, so
`on_output` is called there too.
"""

import contextlib
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from .survivors import MARK, end_marked

Stream = Literal["stdout", "stderr"]
OnOutput = Callable[[Stream, str], None]
Cancelled = Callable[[], bool] | threading.Event

# What the supervisor waits for before it starts the command.
BEGIN = b"begin\n"
_SUPERVISE = Path(__file__).with_name("supervise.py")
_POLL_S = 0.1
# How long the pipes may stay open after the supervisor has ended: only when it was itself killed and a process of the tree got away.
_ORPHAN_PIPE_S = 2.0
_CHUNK_BYTES = 65_536
_TAIL_CHARACTERS = 8_000


@dataclass(frozen=True)
class Outcome:
    """How a command ended. `returncode` is the shell's way: 128 + n when signal n ended the command."""

    returncode: int
    signal: int | None
    cancelled: bool
    stdout_tail: str
    stderr_tail: str
    seconds: float
    peak_rss_bytes: int | None
    cpu_seconds: float | None
    leftovers: int

    @property
    def succeeded(self) -> bool:
        return self.returncode == 0 and not self.cancelled


@dataclass(frozen=True)
class Hold:
    """What must not be let go while a process of the command lives.

    descriptors: open files (locks) that the supervisor keeps open until the last process of the tree has ended, even if this process is killed.
    begin: told the supervisor's process number before the command starts. mark: goes into the command's environment, so that what is left of it can
    be found and ended when the supervisor itself was killed (see survivors.py). made_from: names the inputs the command reads, for a runner whose
    commands outlive this process.
    """

    descriptors: tuple[int, ...] = ()
    begin: Callable[[int], None] = lambda supervisor: None
    mark: str = ""
    made_from: str = ""


def run_command(
    cmd: str | Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    on_output: OnOutput,
    cancelled: Cancelled,
    grace_s: float = 10.0,
    hold: Hold = Hold(),
) -> Outcome:
    """Run `cmd` (its lines one after the other, as DVC does, until one fails) in `cwd` with exactly the environment `env`.

    on_output: called with each line in the calling thread; an exception from it ends the command and is raised on.
    cancelled: looked at every 0.1 s; once true, the tree gets SIGTERM, after `grace_s` seconds SIGKILL.
    Raises FileNotFoundError for a `cwd` that is missing.
    """
    is_cancelled = cancelled.is_set if isinstance(cancelled, threading.Event) else cancelled
    started = time.monotonic()
    ours, theirs = socket.socketpair()
    with ours:
        with theirs:
            keep_fds = [theirs.fileno(), *hold.descriptors]
            marked = {**env, MARK: hold.mark} if hold.mark else env
            process = _start(cmd, cwd=cwd, env=marked, keep_fds=keep_fds, grace_s=grace_s)
        readers: dict[Stream, LineReader] = {"stdout": LineReader(), "stderr": LineReader()}
        was_cancelled = False
        try:
            hold.begin(process.pid)
            with contextlib.suppress(BrokenPipeError):  # it was killed already
                ours.send(BEGIN)
            for has_ended in _pump(process, readers, on_output):
                if not has_ended and not was_cancelled and is_cancelled():
                    was_cancelled = True
                    ours.shutdown(socket.SHUT_WR)
        except BaseException:
            # Also an interrupt: never leave the tree behind. The supervisor ends by itself when this end is shut.
            ours.shutdown(socket.SHUT_WR)
            process.wait()
            raise
        finally:
            for pipe in (process.stdout, process.stderr):
                if pipe:
                    pipe.close()
        returncode = process.wait()
        report = _read_report(ours)
    survivors = end_marked(hold.mark, grace_s=grace_s) if report is None and hold.mark else 0
    return Outcome(
        returncode=report.returncode if report else _as_shell(returncode),
        signal=report.signal or _signal_by_shell(report.returncode) if report else (-returncode if returncode < 0 else None),
        cancelled=was_cancelled,
        stdout_tail=readers["stdout"].tail(),
        stderr_tail=readers["stderr"].tail(),
        seconds=time.monotonic() - started,
        peak_rss_bytes=report.peak_rss_bytes if report else None,
        cpu_seconds=report.cpu_seconds if report else None,
        leftovers=report.leftovers if report else survivors,
    )


def supervised(cmd: str | Sequence[str], *, keep_fds: Sequence[int], grace_s: float) -> list[str]:
    """The argument list that runs `cmd` under the supervisor; the first of `keep_fds` is one end of a socket pair (see supervise.py)."""
    # As in DVC: a list is its items, each of which may be a script of several lines; a text is its lines, each a command.
    given = [cmd] if isinstance(cmd, str) else list(cmd)
    lines = given[0].splitlines() if len(given) == 1 else given
    commands = [line for line in lines if line.strip()]
    if not commands:
        raise ValueError("the command is empty; give at least one line to run")
    return [sys.executable, "-I", "-S", str(_SUPERVISE), ",".join(map(str, keep_fds)), str(grace_s), *commands]


def _start(cmd: str | Sequence[str], *, cwd: Path, env: Mapping[str, str], keep_fds: Sequence[int], grace_s: float) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C at the terminal reaches the asking process only, which decides what becomes of the command.
    return subprocess.Popen(
        supervised(cmd, keep_fds=keep_fds, grace_s=grace_s),
        cwd=cwd,
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        pass_fds=tuple(keep_fds),
        start_new_session=True,
    )


def _pump(process: subprocess.Popen[bytes], readers: Mapping[Stream, "LineReader"], on_output: OnOutput) -> Iterator[bool]:
    """Hand on the output until both pipes end. Yields, at least every 0.1 s, whether the command has ended."""
    ended_at: float | None = None
    with selectors.DefaultSelector() as selector:
        for name, pipe in (("stdout", process.stdout), ("stderr", process.stderr)):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, selectors.EVENT_READ, name)
        has_ended = False
        while selector.get_map():
            for key, _ in selector.select(_POLL_S):
                chunk = os.read(key.fd, _CHUNK_BYTES)
                for line in readers[key.data].feed(chunk) if chunk else readers[key.data].close():
                    on_output(key.data, line)
                if not chunk:
                    selector.unregister(key.fileobj)
            yield has_ended
            if process.poll() is not None:
                has_ended = True
                ended_at = ended_at or time.monotonic()
                if time.monotonic() - ended_at > _ORPHAN_PIPE_S:
                    break


@dataclass(frozen=True)
class _Report:
    returncode: int
    signal: int | None
    leftovers: int
    peak_rss_bytes: int
    cpu_seconds: float


def _read_report(ours: socket.socket) -> _Report | None:
    """What the supervisor wrote at its end; None if it was killed before."""
    ours.settimeout(1.0)
    try:
        text = ours.recv(512).decode()
    except OSError:
        return None
    if not text.endswith("\n"):
        return None
    returncode, number, leftovers, peak_rss_bytes, cpu_seconds = text.split()
    return _Report(int(returncode), int(number) or None, int(leftovers), int(peak_rss_bytes), float(cpu_seconds))


def _signal_by_shell(returncode: int) -> int | None:
    """The signal behind a status of 128 + n. Some shells replace themselves by their last command, others stay and pass its end on this way."""
    return returncode - 128 if returncode - 128 in signal.valid_signals() else None


def _as_shell(returncode: int) -> int:
    return 128 - returncode if returncode < 0 else returncode


class LineReader:
    r"""Bytes in, lines out: undecodable bytes replaced, long lines cut, progress bars let through now and then.

    A line ends at \n or \r\n. What a lone \r ends is a state of a progress bar: at most one every `progress_every_s` seconds is let
    through, and the one that stands on the screen when the line ends. Memory is bounded by `max_line_bytes`, whatever comes in.
    """

    def __init__(self, *, max_line_bytes: int = 16_384, progress_every_s: float = 2.0, tail_lines: int = 60) -> None:
        self._max_line_bytes = max_line_bytes
        self._progress_every_s = progress_every_s
        self._line = bytearray()
        self._cut_bytes = 0
        self._held_return = False
        self._is_bar = False
        self._unshown: str | None = None
        self._shown_at = -progress_every_s
        self._tail: deque[str] = deque(maxlen=tail_lines)

    def feed(self, chunk: bytes) -> list[str]:
        """The lines that `chunk` completes."""
        if self._held_return:
            chunk = b"\r" + chunk
        # A \r at the end may be the first half of \r\n: the next chunk tells.
        self._held_return = chunk.endswith(b"\r")
        lines: list[str] = []
        for piece in chunk[: -1 if self._held_return else None].splitlines(keepends=True):
            self._append(piece.rstrip(b"\r\n"))
            if piece.endswith(b"\n"):
                lines += self._end_line()
            elif piece.endswith(b"\r"):
                lines += self._end_state()
        self._tail.extend(lines)
        return lines

    def close(self) -> list[str]:
        """What is left when the stream ends without a line end."""
        lines = self._end_line() if self._line or self._unshown else []
        self._tail.extend(lines)
        return lines

    def tail(self) -> str:
        """The last lines given out, at most 8,000 characters."""
        return "\n".join(self._tail)[-_TAIL_CHARACTERS:]

    def _append(self, body: bytes) -> None:
        room = self._max_line_bytes - len(self._line)
        self._line += body[:room]
        self._cut_bytes += max(0, len(body) - room)

    def _end_line(self) -> list[str]:
        text, unshown, was_bar = self._take(), self._unshown, self._is_bar
        self._unshown, self._is_bar = None, False
        if text or not was_bar:
            return [text]
        return [unshown] if unshown else []

    def _end_state(self) -> list[str]:
        text, now = self._take(), time.monotonic()
        self._is_bar = True
        if not text:
            return []
        if now - self._shown_at < self._progress_every_s:
            self._unshown = text
            return []
        self._shown_at, self._unshown = now, None
        return [text]

    def _take(self) -> str:
        text = self._line.decode("utf-8", errors="replace")
        if self._cut_bytes:
            text += f" … ({self._cut_bytes:,} more bytes of this line are not shown)"
        self._line.clear()
        self._cut_bytes = 0
        return text
