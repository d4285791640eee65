"""Locks on files and folders that the kernel frees when their holder ends, however it ends."""

import fcntl
import os
from pathlib import Path


def take_lock(path: Path) -> int | None:
    """The lock of `path` as an open descriptor, to be closed to give it back; None while another process has it.

    A file that is not there is made; a folder must be there.
    """
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def leave_note(descriptor: int, note: str) -> None:
    """Write into the file whose lock this is who has it, for those who find it taken."""
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{note}\n".encode(), 0)


def read_note(path: Path) -> str:
    """What the holder of the lock has left there; empty when nothing."""
    return path.read_text(encoding="utf-8", errors="replace").strip()
