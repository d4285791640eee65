"""Files that are seen whole or not at all, what names their bytes, and what is said of a disk that is full."""

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
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


class NoSpaceError(OSError):
    """The disk of `path`, or the part of it that may be used, is full. needed: bytes, as far as is known."""

    def __init__(self, path: Path, needed: int = 0) -> None:
        folder = next(folder for folder in (path, *path.absolute().parents) if folder.exists())
        free = shutil.disk_usage(folder).free
        wanted = f"at least {needed:,} bytes are needed" if needed else "more is needed"
        super().__init__(errno.ENOSPC, f"the disk or a quota is full: {wanted}, {free:,} are free; make room and run the same again", str(path))

    def __str__(self) -> str:
        return f"{self.filename}: {self.strerror}"


def is_disk_full(error: BaseException) -> bool:
    """Whether the system, or a library in words of its own, says that no space is left."""
    words = str(error)
    return getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left on device" in words or "disk is full" in words


@contextlib.contextmanager
def telling_space(path: Path, needed: Callable[[], int], clear: Callable[[], None]) -> Iterator[None]:
    """Raises NoSpaceError for `path` where the block fails for want of space: `needed` is asked, then `clear` gives back what was written."""
    try:
        yield
    except Exception as error:
        if isinstance(error, NoSpaceError) or not is_disk_full(error):
            raise
        size = needed()
        clear()
        raise NoSpaceError(path, size) from error


@contextlib.contextmanager
def replacing(path: Path, *, many_writers: bool = False, needed: int = 0) -> Iterator[Path]:
    """Where to write the new `path`: a file beside it that takes its place, synced, when the block ends without an exception.

    Raises NoSpaceError where that fails for want of space. needed: bytes to be written, as far as is known.
    many_writers: several processes may write it at once; each gets a name of its own, at the price of one left-over file for each that is killed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".tmp-{os.getpid()}-{path.name}" if many_writers else f".tmp-{path.name}")

    def written() -> int:
        return max(needed, temporary.stat().st_size if temporary.exists() else 0)

    try:
        with telling_space(path, written, lambda: temporary.unlink(missing_ok=True)):
            temporary.unlink(missing_ok=True)
            yield temporary
            sync(temporary)
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync(path.parent)


def write_file_atomically(path: Path, content: bytes) -> None:
    """Replace `path` by a new file holding `content`."""
    with replacing(path, needed=len(content)) as temporary:
        temporary.write_bytes(content)
