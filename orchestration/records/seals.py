"""What every file of local state held when it was last seen whole: `.figment/seals.json`, by which the doctor knows damage from work.

A disk that fails changes bytes and not times. So the digest of each file is kept with its time, size and inode: where only the digest is another,
the file was damaged. That holds for files of any format, also for those of Dagster and MLflow. Of a journal, to which lines are added, the
beginning must stay. A file that was written again is sealed anew, by the doctor and at the end of each run of `figment` that made something: what
is damaged between a writing and the next seal, no seal tells.
"""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from orchestration.bridge.answers import keep, recall

SEALS_NAME = "seals.json"
# What lives for a moment, or is nobody's state.
_UNSEALED_FOLDERS = ("set-aside", "locks")
_UNSEALED_ENDS = ("-wal", "-shm", "-journal", ".tmp", ".lock", SEALS_NAME)
_GROWING = (".jsonl", ".log")
# SQLite writes even when it is only looked into; what is told of a database by its seal holds for a disk that fails while nobody works.


@dataclasses.dataclass(frozen=True)
class Seal:
    """A file as it was: stamp (time in ns, size, inode) and digest of its bytes."""

    stamp: tuple[int, int, int]
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
    """Replace the seals."""
    keep(state / SEALS_NAME, {name: [seal.stamp, seal.digest] for name, seal in sorted(seals.items())})


def seal(state: Path) -> None:
    """Seal every file that is new or was written since; the others keep theirs, so that what damaged them meanwhile stays visible."""
    seals = read_seals(state) or {}
    found: dict[str, Seal] = {}
    for name in state_files(state):
        known = seals.get(name)
        try:
            found[name] = known if known and known.stamp == _stamp(state / name) else take_seal(state / name)
        except OSError:
            continue
    write_seals(state, found)


def take_seal(path: Path, *, hear: Callable[[Path], None] | None = None) -> Seal:
    """The seal of the file as it is now: every byte is read. Raises OSError."""
    if hear is not None:
        hear(path)
    stamp = _stamp(path)
    with path.open("rb") as stream:
        return Seal(stamp, hashlib.file_digest(stream, _new_digest).hexdigest())


def is_broken(state: Path, name: str, known: Seal, now: Seal) -> bool:
    """Whether the file is not what its seal says although nobody wrote it; of one that only grows, whether its beginning changed."""
    if now.digest == known.digest:
        return False
    if now.stamp == known.stamp:
        return True
    if not name.endswith(_GROWING) or now.size <= known.size:
        return False
    with (state / name).open("rb") as stream:
        digest = _new_digest()
        digest.update(stream.read(known.size))
    return digest.hexdigest() != known.digest


def _new_digest() -> Any:
    return hashlib.blake2b(digest_size=16)


def _stamp(path: Path) -> tuple[int, int, int]:
    info = path.stat()
    return info.st_mtime_ns, info.st_size, info.st_ino
