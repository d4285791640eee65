"""The journal of one training: an append-only file of JSON lines that is the truth about it; MLflow holds a copy.

A folder `<state>/tracking/<stage>/<run key>/` holds `events.jsonl` (the journal), `sent.json` (how far the copy has got), `writer.lock`
(held while a process writes or copies), `refused.jsonl` (what MLflow will never take, with its reason) and `artifacts/` (copies of small
files that wait to be sent). Events have `kind` (open, metrics, system, tags, artifact, model, report, status) and `time_ms`, the Unix time.
"""

import fcntl
import json
import math
import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

EVENTS_NAME = "events.jsonl"
SENT_NAME = "sent.json"
REFUSED_NAME = "refused.jsonl"
LOCK_NAME = "writer.lock"

Event = dict[str, Any]


class TrackingError(Exception):
    """The training cannot be recorded: a setting is wrong, the disk is full, or another process trains with the same key right now."""


# POSIX locks do not exclude two holders inside one process, so those are told apart here.
_held_here: set[str] = set()
_held_here_guard = threading.Lock()


class FolderLock:
    """An exclusive lock on a folder that ends with its process, whatever kills it; children made by fork do not hold it."""

    def __init__(self, folder: Path, name: str = LOCK_NAME) -> None:
        self.path = folder / name
        self._stream: Any = None

    def acquire(self, *, timeout_s: float = 0.0) -> bool:
        """True once the lock is held; False when someone else still holds it after `timeout_s` seconds."""
        deadline = time.monotonic() + timeout_s
        while not self._try():
            if time.monotonic() >= deadline:
                return False
            time.sleep(0.05)
        return True

    def release(self) -> None:
        """Let others in. Harmless when the lock is not held."""
        if self._stream is None:
            return
        self._stream.close()
        self._stream = None
        with _held_here_guard:
            _held_here.discard(self._key)

    @property
    def _key(self) -> str:
        return str(self.path.resolve())

    def _try(self) -> bool:
        with _held_here_guard:
            # Opening and closing the file a second time would drop this process's lock: ask our own list first.
            if self._key in _held_here:
                return False
            self.path.parent.mkdir(parents=True, exist_ok=True)
            stream = self.path.open("a")
            try:
                fcntl.lockf(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                stream.close()
                return False
            _held_here.add(self._key)
            self._stream = stream
            return True


class Journal:
    """Appends events to a folder's journal; safe from several threads of the one process that holds the folder's lock."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.path = folder / EVENTS_NAME
        _cut_unfinished_line(self.path)
        self._descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        self._guard = threading.Lock()
        self._unsynced = False
        self._torn = False

    def append(self, kind: str, **fields: Any) -> None:
        """Write one event. It survives the death of the process at once, that of the machine after the next `sync`."""
        event = {"kind": kind, "time_ms": time.time_ns() // 1_000_000, **fields}
        line = json.dumps(event, ensure_ascii=False, separators=(",", ":"), allow_nan=False) + "\n"
        with self._guard:
            # After a write that stopped half-way, the next line must not become part of the torn one.
            data = ("\n" + line if self._torn else line).encode()
            try:
                _write_all(self._descriptor, data)
            except OSError as error:
                self._torn = True
                raise TrackingError(
                    f"{self.path}: the journal cannot be written: {error.strerror}; free the disk and start again to resume"
                ) from error
            self._torn = False
            self._unsynced = True

    def sync(self) -> None:
        """Make everything appended so far survive a power cut."""
        with self._guard:
            if not self._unsynced or self._descriptor < 0:
                return
            self._unsynced = False
            descriptor = os.dup(self._descriptor)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Sync and let go of the file."""
        self.sync()
        with self._guard:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1


def read_events(folder: Path, *, offset: int = 0, kinds: tuple[str, ...] = ()) -> Iterator[tuple[Event, int]]:
    """The events from byte `offset` on (of the given kinds, or all), each with the offset behind it.

    A last line still being written is left for later.
    """
    path = folder / EVENTS_NAME
    if not path.exists():
        return
    # `kind` is written first, so lines of other kinds are passed over without parsing them.
    starts = tuple(f'{{"kind":"{kind}"'.encode() for kind in kinds)
    with path.open("rb") as stream:
        stream.seek(offset)
        for line in stream:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            if starts and not line.startswith(starts):
                continue
            event = _parsed(line)
            if event is not None:
                yield event, offset


def openings(folder: Path) -> list[tuple[int, int, float]]:
    """(offset of the line's end, attempt, resume step) of each opening: earlier metric lines of that attempt with a greater step no longer count.

    A training that starts from nothing supersedes every line of its attempt: its resume step is minus infinity.
    """
    return [(offset, event["attempt"], _resume_limit(event)) for event, offset in read_events(folder, kinds=("open",))]


def series(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Each metric of the journal as (step, value) by rising step: what counts, without lines that a resumed training wrote again."""
    values: dict[str, dict[int, float]] = defaultdict(dict)
    for event, _ in read_events(folder):
        # A start that resumed at step n writes again what came after it: values beyond n no longer count.
        if event["kind"] == "open":
            limit = _resume_limit(event)
            values = defaultdict(dict, {name: {s: v for s, v in steps.items() if s <= limit} for name, steps in values.items()})
        elif event["kind"] == "metrics":
            for name, value in event["values"].items():
                values[name][event["step"]] = float(value)
    return {name: sorted(steps.items()) for name, steps in values.items() if steps}


def read_sent(folder: Path) -> dict[str, Any]:
    """How far the copy of this journal has got: `offset`, and the `store` and `run_id` it went to. Empty before the first sending."""
    try:
        return json.loads((folder / SENT_NAME).read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        # Unreadable is as good as absent: everything is offered again, and what MLflow has is not sent twice.
        return {}


def write_sent(folder: Path, sent: Mapping[str, Any]) -> None:
    """Replace the note of `read_sent` atomically."""
    partial = folder / (SENT_NAME + ".partial")
    partial.write_text(json.dumps(dict(sent)), encoding="utf-8")
    partial.replace(folder / SENT_NAME)


def has_unsent(folder: Path) -> bool:
    """Whether the journal holds lines its copy lacks."""
    path = folder / EVENTS_NAME
    return path.exists() and read_sent(folder).get("offset", 0) < path.stat().st_size


def last_event(folder: Path, *kinds: str) -> Event | None:
    """The newest event of any of `kinds`."""
    newest = None
    for event, _ in read_events(folder, kinds=kinds):
        newest = event
    return newest


def is_open(folder: Path) -> bool:
    """Whether the journal's newest training has not been given a terminal status."""
    # Most journals end with their status: long ones need not be read from the start to see that.
    if _last_line(folder).startswith((b'{"kind":"status"', b'{"kind":"report"')):
        return False
    newest = last_event(folder, "open", "status")
    return newest is not None and newest["kind"] == "open"


def journal_folders(state_dir: Path) -> list[Path]:
    """Every journal under `state_dir`: trainings first, reports after them, for a report speaks of a model that a training registers."""
    folders = [path.parent for path in (state_dir / "tracking").glob(f"*/*/{EVENTS_NAME}")]
    return sorted(folders, key=lambda folder: (folder.name.startswith("report-"), folder))


def jsonable_number(value: float) -> float | str:
    """`value` as JSON can hold it: what is not finite becomes the text that `float` reads back."""
    number = float(value)
    return number if math.isfinite(number) else str(number)


def _resume_limit(event: Event) -> float:
    return -math.inf if event["resume_step"] is None else event["resume_step"]


def _last_line(folder: Path, *, longest: int = 65536) -> bytes:
    """The journal's last line when it is complete and no longer than `longest` bytes; else empty."""
    path = folder / EVENTS_NAME
    if not path.exists():
        return b""
    with path.open("rb") as stream:
        stream.seek(max(0, stream.seek(0, os.SEEK_END) - longest))
        tail = stream.read()
    lines = tail.splitlines()
    return lines[-1] if tail.endswith(b"\n") and len(lines) > 1 else b""


def _parsed(line: bytes) -> Event | None:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        # A line torn by a power cut: the lines around it are whole and still count.
        return None


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _cut_unfinished_line(path: Path) -> None:
    """Drop a last line without line end, which a kill in the middle of a write leaves behind."""
    if not path.exists():
        return
    with path.open("rb+") as stream:
        # Backwards in blocks: a journal of days is long, and a line end is near its end.
        size = stream.seek(0, os.SEEK_END)
        position = size
        while position > 0:
            start = max(0, position - 65536)
            stream.seek(start)
            newline = stream.read(position - start).rfind(b"\n")
            if newline >= 0:
                position = start + newline + 1
                break
            position = start
        if position < size:
            stream.truncate(position)
