"""Stands in for the process that draws, and does what the name of its file says: `NAME.pdf` calls the function `name`."""

import json
import os
import signal
import sys
import time
from pathlib import Path


def _say(message: object, body: bytes = b"") -> None:
    sys.stdout.buffer.write(json.dumps(message).encode() + b"\n" + body)
    sys.stdout.buffer.flush()


def hang(first: int) -> None:
    """Draw nothing of page 2, for ever."""
    _say({"pages": 3})
    for page in range(first, 4):
        if page == 2:
            time.sleep(600)
        _say({"page": page, "engine": "pdfium", "png": 3, "text": 0}, b"png")


def hang_at_once(first: int) -> None:
    """Say nothing."""
    del first
    time.sleep(600)


def die(first: int) -> None:
    """End at every page."""
    del first
    _say({"pages": 9})
    os.kill(os.getpid(), signal.SIGSEGV)


def leave(first: int) -> None:
    """End in good order, with pages left."""
    del first
    _say({"pages": 2})


def linger(first: int) -> None:
    """Draw every page, and never end."""
    _say({"pages": 1})
    _say({"page": first, "engine": "pdfium", "png": 3, "text": 0}, b"png")
    time.sleep(600)


def babble(first: int) -> None:
    """Say what is no message."""
    del first
    _say({"pages": 1})
    _say(["what"])


def shout(first: int) -> None:
    """A line without end."""
    del first
    sys.stdout.write("x" * 100_000)
    sys.stdout.flush()
    time.sleep(600)


def jump(first: int) -> None:
    """Tell of another page than the next one."""
    _say({"pages": 5})
    _say({"page": first + 1, "engine": "pdfium", "png": 0, "text": 0})


def flood(first: int) -> None:
    """Promise more bytes than a page may have."""
    _say({"pages": 3})
    _say({"page": first, "engine": "pdfium", "png": 1 << 40, "text": 0})
    time.sleep(600)


if __name__ == "__main__":
    job = json.loads(sys.stdin.buffer.readline())
    globals()[Path(job["path"]).stem](job["first"])
