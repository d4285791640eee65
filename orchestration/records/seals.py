"""What every file of local state held when it was last seen whole: `.figment/seals.json`, by which the doctor knows damage from work.

A disk that fails changes bytes and not times. So the digest of each file is kept with its time and size: where only the digest is another, the file
was damaged. That holds for files of any format, also for those of Dagster and MLflow. Of a journal, to which lines are added, the
beginning must stay. A file that was written again is sealed anew, by the doctor and at the end of each run of `figment` that made something: what
is damaged between a writing and the next seal, no seal tells.
"""

import contextlib
import dataclasses
import errno
import hashlib
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from orchestration.bridge.answers import keep, recall

SEALS_NAME, LOG = "seals.json", "entries of state.db"
# What lives for a moment, or is nobody's state.
_UNSEALED_FOLDERS = ("set-aside", "locks")
_UNSEALED_ENDS = ("-shm", "-journal", ".tmp", ".lock", SEALS_NAME)
# To these, lines are only ever added.
_GROWING = "tracking/*/*/events.jsonl"
# A write this recent could be followed by another one with the same time stamp.
_RACY_NS = 50_000_000
# Reads the paths on its standard input and prints the digest of each on a line, as `_new_digest`; an empty line for one that cannot be read.
_READER = """
import hashlib, sys
for path in sys.stdin.read().split("\\0"):
    try:
        with open(path, "rb") as stream:
            print(hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest())
    except OSError:
        print()
"""


@dataclasses.dataclass(frozen=True)
class Seal:
    """A file as it was: stamp (time in ns, size) and digest of its bytes."""

    stamp: tuple[int, int]
    digest: str

    @property
    def size(self) -> int:
        return self.stamp[1]


def state_files(state: Path) -> Iterator[str]:
    """The files of local state that are sealed, by their POSIX paths relative to `state`, in order."""
    for folder, folders, names in os.walk(state):
        if Path(folder) == state:
            folders[:] = [name for name in folders if name not in _UNSEALED_FOLDERS]
        folders.sort()
        for name in sorted(names):
            path = Path(folder, name)
            if not name.endswith(_UNSEALED_ENDS) and not name.startswith(".tmp-") and path.is_file() and not path.is_symlink():
                yield path.relative_to(state).as_posix()


def read_seals(state: Path) -> dict[str, Seal] | None:
    """The seals by path; none where there are none yet, None where they cannot be read."""
    path = state / SEALS_NAME
    if not path.exists():
        return {}
    answer = recall(path)
    return None if answer is None else {name: Seal(tuple(stamp), digest) for name, (stamp, digest) in answer.items()}


def write_seals(state: Path, seals: dict[str, Seal]) -> None:
    """Replace the seals. What was written a moment ago gets none."""
    before = time.time_ns() - _RACY_NS
    keep(state / SEALS_NAME, {name: [seal.stamp, seal.digest] for name, seal in sorted(seals.items()) if seal.stamp[0] < before})


def seal(state: Path) -> None:
    """Seal every file that is new or was written since; the others keep theirs, so that what damaged them meanwhile stays visible."""
    seals = read_seals(state) or {}
    found: dict[str, Seal] = {}
    anew: list[str] = []
    for name in state_files(state):
        known = seals.get(name)
        with contextlib.suppress(OSError):
            if known and known.stamp == _stamp(state / name):
                found[name] = known
            else:
                anew.append(name)
    databases = database_seals(state, anew)
    for name in anew:
        with contextlib.suppress(OSError):
            found[name] = databases.get(name) or take_seal(state / name)
    write_seals(state, found | log_seal(state))


def database_seals(state: Path, names: Iterable[str]) -> dict[str, Seal]:
    """The seals of the SQLite databases among `names`, read by a process of their own.

    Once a process closes any descriptor of a file, its locks on that file are gone (POSIX), those of its SQLite connections too. Whoever closes the
    database next then takes itself for the last one and removes the log of changes (-wal) into which this process goes on to write: entries were
    lost that way. See https://www.sqlite.org/howtocorrupt.html, section 2.2.
    """
    stamps = {}
    for name in names:
        if name.endswith(".db"):
            with contextlib.suppress(OSError):
                stamps[name] = _stamp(state / name)
    if not stamps:
        return {}
    listed = "\0".join(str(state / name) for name in stamps)
    done = subprocess.run([sys.executable, "-I", "-S", "-c", _READER], input=listed, stdout=subprocess.PIPE, text=True, check=True)
    seals = {}
    for (name, stamp), digest in zip(stamps.items(), done.stdout.splitlines(), strict=True):
        with contextlib.suppress(OSError):
            if digest:
                seals[name] = Seal(stamp if _stamp(state / name) == stamp else (0, stamp[1]), digest)
    return seals


def take_seal(path: Path, *, hear: Callable[[Path], None] | None = None) -> Seal:
    """The seal of the file as it is now: every byte is read. Raises OSError. Of a database: see `database_seals`."""
    if hear is not None:
        hear(path)
    if path.name.endswith(".db"):
        found = database_seals(path.parent, [path.name])
        if not found:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        return found[path.name]
    stamp = _stamp(path)
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, _new_digest).hexdigest()
    # One that is being written is no evidence.
    return Seal(stamp if _stamp(path) == stamp else (0, stamp[1]), digest)


def log_seal(state: Path) -> dict[str, Seal]:
    """How long the log of what was made is, under LOG: a database that is lost is made anew by whoever comes first, and its log is not."""
    with (
        contextlib.suppress(sqlite3.Error, UnicodeDecodeError),
        contextlib.closing(sqlite3.connect(f"{(state / 'state.db').as_uri()}?mode=ro", uri=True)) as connection,
    ):
        (length,) = connection.execute("SELECT count(*) FROM events").fetchone()
        return {LOG: Seal((0, length), "")}
    return {}


def is_broken(state: Path, name: str, known: Seal, now: Seal) -> bool:
    """Whether the file is not what its seal says although nobody wrote it; of one that only grows, whether its beginning changed."""
    if now.digest == known.digest:
        return False
    if now.stamp == known.stamp:
        return True
    if not PurePosixPath(name).match(_GROWING):
        return False
    with (state / name).open("rb") as stream:
        digest = _new_digest()
        digest.update(stream.read(known.size))
    return digest.hexdigest() != known.digest


def _new_digest() -> Any:
    return hashlib.blake2b(digest_size=16)


def _stamp(path: Path) -> tuple[int, int]:
    info = path.stat()
    return info.st_mtime_ns, info.st_size
