"""Answers of slow parsers, kept as JSON with a checksum: one that was damaged is no answer, and is worked out anew."""

import hashlib
import json
import os
import threading
from pathlib import Path
from typing import Any


def recall(path: Path) -> Any:
    """What `keep` wrote; None when there is nothing, or something else."""
    try:
        digest, _, text = path.read_bytes().partition(b"\n") if path.is_file() else (b"", b"", b"")
        return json.loads(text) if digest == _digest(text) else None
    except (OSError, ValueError):
        return None


def keep(path: Path, answer: Any) -> None:
    """Write it beside its place, then rename: two readers never see half an answer. Where that is not possible, nothing is kept."""
    text = json.dumps(answer).encode()
    # Threads of one process may keep the same answer at the same moment.
    temporary = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        temporary.write_bytes(_digest(text) + b"\n" + text)
        temporary.replace(path)
    except OSError:
        temporary.unlink(missing_ok=True)


def _digest(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=16).hexdigest().encode()
