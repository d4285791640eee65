"""What one of several sibling programs made for the others, so that each picture is decoded once; files that may vanish at any time.

The programs of `toc_dataset` (one a size) run one after the other or side by side. Pictures are taken in chunks; whoever holds a chunk's lock
decodes its pictures, makes all sizes, and leaves the other sizes' PNGs here. The sibling that comes to that chunk later takes them, and what is
taken is gone. A file that is damaged, of other settings or not there only means that the picture is decoded again.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

PICTURES_PER_CHUNK = 16
_DIGEST_BYTES = 32
_CHUNKS_BETWEEN_COUNTS = 64


@dataclass(frozen=True)
class Failure:
    """Why a picture could not be made, which siblings need not find out again. reason: a fixed word; words: found and expected."""

    reason: str
    words: str


Made: TypeAlias = bytes | Failure


class Handover:
    """The handover between the sizes of one dataset with one recipe.

    folder: shared by all of them. recipe: names settings, code and libraries; files of another recipe are removed.
    limit_bytes: of all files together; nothing more is left here when it is reached.
    """

    def __init__(self, folder: Path, *, recipe: str, limit_bytes: int) -> None:
        self._folder = folder / recipe[:32]
        self._limit = limit_bytes
        self._folder.mkdir(parents=True, exist_ok=True)
        # What was made with other settings or code is of no use to anybody now.
        for other in folder.iterdir():
            if other.is_dir() and other != self._folder:
                shutil.rmtree(other, ignore_errors=True)
        self._locks = os.open(folder / "locks", os.O_RDWR | os.O_CREAT, 0o644)
        self._bytes = _size_of(self._folder)
        self._until_count = _CHUNKS_BETWEEN_COUNTS

    def close(self) -> None:
        """Gives all locks back."""
        os.close(self._locks)

    @contextlib.contextmanager
    def chunk(self, number: int, *, wait: bool) -> Iterator[bool]:
        """Hold the lock of a chunk; False when a sibling holds it and `wait` is False. A process that dies gives its locks back."""
        try:
            fcntl.lockf(self._locks, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB), 1, number)
        except OSError:
            if wait:
                raise
            yield False
            return
        try:
            yield True
        finally:
            fcntl.lockf(self._locks, fcntl.LOCK_UN, 1, number)

    def take(self, size: int, chunk: int) -> dict[str, Made]:
        """What siblings left for this size, by content sha256, removed from here. Hold the chunk's lock."""
        found = self._read(self._path(size, chunk))
        self._path(size, chunk).unlink(missing_ok=True)
        return found

    def keys(self, size: int, chunk: int) -> Collection[str]:
        """The contents that lie here for this size already. Hold the chunk's lock."""
        return self._read(self._path(size, chunk)).keys()

    def has_room(self) -> bool:
        """Whether more may be left here."""
        self._until_count -= 1
        if self._bytes > self._limit and self._until_count <= 0:
            self._until_count = _CHUNKS_BETWEEN_COUNTS
            self._bytes = _size_of(self._folder)  # Siblings have taken some meanwhile.
        return self._bytes <= self._limit

    def give(self, size: int, chunk: int, made: Mapping[str, Made]) -> None:
        """Leave these for the program of `size`, beside what lies here for it already. Hold the chunk's lock."""
        if not made:
            return
        path = self._path(size, chunk)
        everything = {**self._read(path), **made}
        # One file a chunk: a digest of all that follows, a line of JSON that says what lies where, and the PNGs one after the other.
        header = [
            [key, len(value), "", ""] if isinstance(value, bytes) else [key, -1, value.reason, value.words] for key, value in everything.items()
        ]
        blobs = [value for value in everything.values() if isinstance(value, bytes)]
        body = b"".join([json.dumps(header).encode(), b"\n", *blobs])
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_suffix(f".{os.getpid()}")
        with contextlib.suppress(OSError):  # A full disk, or a sibling of another recipe that has just cleared this folder: do without.
            temporary.write_bytes(hashlib.sha256(body).digest() + body)
            temporary.replace(path)
            self._bytes += len(body)

    def clear(self, size: int) -> None:
        """Remove whatever still lies here for this size."""
        shutil.rmtree(self._folder / str(size), ignore_errors=True)

    def _path(self, size: int, chunk: int) -> Path:
        return self._folder / str(size) / f"{chunk // 1_000:05d}" / f"{chunk:08d}"

    def _read(self, path: Path) -> dict[str, Made]:
        try:
            content = path.read_bytes()
        except OSError:
            return {}
        digest, body = content[:_DIGEST_BYTES], content[_DIGEST_BYTES:]
        if hashlib.sha256(body).digest() != digest:
            return {}
        header, _, blobs = body.partition(b"\n")
        found: dict[str, Made] = {}
        place = 0
        for key, length, reason, words in json.loads(header):
            found[key] = blobs[place : place + length] if length >= 0 else Failure(reason, words)
            place += max(length, 0)
        return found


def _size_of(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):  # A sibling may take it just now.
            total += path.stat().st_size if path.is_file() else 0
    return total
