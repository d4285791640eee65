"""Files that are seen whole or not at all, and what names their bytes."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, as hexadecimal digits."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Wait until the bytes of the file `path` (or the entries of the folder) are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def replacing(path: Path, *, many_writers: bool = False) -> Iterator[Path]:
    """Where to write the new `path`: a file beside it that takes its place, synced, when the block ends without an exception.

    many_writers: several processes may write it at once; each gets a name of its own, at the price of one left-over file for each that is killed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}" if many_writers else f".tmp-{path.name}")
    try:
        temporary.unlink(missing_ok=True)
        yield temporary
        sync(temporary)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def write_file_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by a new file holding `content`."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)
