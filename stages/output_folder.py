"""Write an output folder so that the old one or the new one is seen, never a mix.

A stage writes into a hidden sibling (`data/.tmp-molecules`), which takes the place of the old folder when all of it is on disk. A file whose bytes
did not change is not replaced: the new folder gets a hard link to the old file, so that its inode and modification time stay and nobody has to
hash it again. Nothing is ever opened for writing in the old folder: DVC hard-links its cache there, read-only, and writing in place would
corrupt the cache. Whatever a killed run left behind is removed, or put back, by the next one.
"""

import contextlib
import filecmp
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from stages.files import is_disk_full, sync, telling_space
from stages.locks import leave_note, read_note, take_lock


class OutputBusyError(Exception):
    """Another process is writing the same output folder now."""


@contextlib.contextmanager
def only_run(lock: Path, target: Path, what: str) -> Iterator[None]:
    """Hold the lock of what works on an output before it writes it. Raises OutputBusyError while another `what` does the same."""
    descriptor = take_lock(lock)
    if descriptor is None:
        raise OutputBusyError(f"{target}: another {what} is running now ({read_note(lock) or 'process unknown'}); wait for it, or stop it")
    try:
        leave_note(descriptor, f"process {os.getpid()}")
        yield
    finally:
        os.close(descriptor)


class OutputFolder:
    """A context manager for one output folder; leaving the block normally publishes it, leaving by an exception changes nothing.

    Where the disk was full, that exception becomes a NoSpaceError of the folder, whatever a library said.

        with OutputFolder(data / "molecules") as output:
            write_table(output.file("molecules-00000.parquet"), table)

    Raises OutputBusyError on entry when another process writes the same folder.
    """

    def __init__(self, target: Path) -> None:
        self.target = target
        self._staging = target.parent / f".tmp-{target.name}"
        self._retired = target.parent / f".tmp-{target.name}-old"
        self._lock: int | None = None

    def __enter__(self) -> Self:
        self.target.parent.mkdir(parents=True, exist_ok=True)
        self._staging.mkdir(exist_ok=True)
        self._lock = take_lock(self._staging)
        if self._lock is None:
            raise OutputBusyError(f"{self.target}: another run is writing this output now; wait for it, or stop it")
        if self._retired.exists() and not self.target.exists():
            self._retired.rename(self.target)  # A run died between the two renames of _publish.
        _remove(self._retired)
        _empty(self._staging)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            with telling_space(self.target, self._needed, lambda: _remove(self._staging)):
                if error is None:
                    self._publish()
                elif is_disk_full(error):
                    raise error
        finally:
            _remove(self._staging)
            _unlock(self._lock)

    @property
    def folder(self) -> Path:
        """The new folder itself, for what writes several files by names of its own (`save_pretrained`)."""
        return self._staging

    def file(self, name: str) -> Path:
        """Where to write the file `name` (a relative path; folders are made). It must not exist in the new folder yet."""
        path = self._staging / name
        if not path.resolve().is_relative_to(self._staging.resolve()):
            raise ValueError(f"{name!r} leaves the output folder {self.target}")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def previous(self, name: str) -> Path | None:
        """The file `name` of the output as it was before, to be read only; None when there is none."""
        path = self.target / name
        return path if path.is_file() else None

    def keep(self, name: str) -> Path:
        """Take over the previous file `name` unchanged, without copying its bytes where the file system has hard links."""
        path = self.file(name)
        _link(self.target / name, path)
        return path

    def take(self, path: Path, name: str) -> None:
        """Take over a finished file from elsewhere as `name`, likewise. It stays where it is: a program killed now must find it again."""
        _link(path, self.file(name))

    def write_json(self, name: str, value: Any) -> None:
        """`value` as JSON with sorted keys and a final newline."""
        self.file(name).write_text(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")

    def size(self) -> tuple[int, int]:
        """(files, bytes) written so far."""
        sizes = [path.stat().st_size for path in self._staging.rglob("*") if path.is_file()]
        return len(sizes), sum(sizes)

    def _needed(self) -> int:
        """Bytes of what was written so far, or of the output before, if that was more."""
        before = sum(path.stat().st_size for path in self.target.rglob("*") if path.is_file())
        return max(self.size()[1], before)

    def _publish(self) -> None:
        for path in sorted(self._staging.rglob("*")):
            if path.is_file():
                self._share_or_sync(path)
        # Files first, then the folder, then the two renames: after a crash there is a whole old output, a whole new one, or one to put back.
        sync(self._staging)
        if self.target.exists():
            self.target.rename(self._retired)
        self._staging.rename(self.target)
        sync(self.target.parent)
        _remove(self._retired)

    def _share_or_sync(self, path: Path) -> None:
        old = self.previous(str(path.relative_to(self._staging)))
        if old is None or not _same_bytes(old, path):
            sync(path)
        elif not old.samefile(path):
            path.unlink()
            _link(old, path)


def _same_bytes(old: Path, new: Path) -> bool:
    return old.samefile(new) or (old.stat().st_size == new.stat().st_size and filecmp.cmp(old, new, shallow=False))


def _link(old: Path, new: Path) -> None:
    try:
        os.link(old, new)
    except OSError:
        shutil.copy2(old, new)  # A file system without hard links, or the link limit of the inode is reached.


def _unlock(descriptor: int | None) -> None:
    if descriptor is not None:
        os.close(descriptor)


def _remove(folder: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)


def _empty(folder: Path) -> None:
    for entry in os.scandir(folder):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path)
        else:
            Path(entry.path).unlink()
