"""What originals were found to be, and what the shards that hold them are, remembered from one build to the next.

The memory lies outside the output. One of other limits, code or libraries, or a damaged one, is forgotten: everything is looked at again, and the
same bytes come out.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy
import PIL

from formats import pictures
from formats.pictures import DecodeLimits, Undecodable, decode
from stages.files import sha256_of, write_file_atomically
from stages.source_code import code_of


@dataclass(frozen=True)
class Look:
    """What a picture was found to be, or why it is set aside (then `reason` is not empty)."""

    sha256: str
    format: str = ""
    mode: str = ""
    width: int = 0
    height: int = 0
    decoded_as: str = ""
    reason: str = ""
    words: str = ""


class LookMemory:
    """The memory of one output folder. looked_at, known_before: pictures decoded and recognised so far.

    path: its file. target: the output, whose shards count only while they are, byte for byte, what was written.
    """

    def __init__(self, path: Path, limits: DecodeLimits, target: Path) -> None:
        self.looked_at = self.known_before = 0
        self._path, self._limits, self._target = path, limits, target
        self._recipe = _recipe(limits)
        # What a picture was found to be holds for one recipe; that a shard has the bytes that were written does not depend on it.
        known = _load(path)
        self._looks: dict[str, list] = known["looks"] if known.get("recipe") == self._recipe else {}
        self._shards: dict[str, str] = known.get("shards", {})
        self._new_looks: dict[str, list] = {}
        self._new_shards: dict[str, str] = {}

    def look(self, key: str, read: Callable[[], bytes]) -> Look:
        """What the picture of that key is; it is read and decoded only when that is not known."""
        if key in self._looks:
            self.known_before += 1
            look = Look(*self._looks[key])
        else:
            self.looked_at += 1
            look = _look_at(read(), self._limits)
        self._new_looks[key] = list(astuple(look))
        return look

    def has_intact(self, name: str) -> bool:
        """Whether the previous output's file is the one that was written."""
        path = self._target / name
        return name in self._shards and path.is_file() and sha256_of(path) == self._shards[name]

    def note(self, name: str, path: Path) -> None:
        """The shard `name` of the new output lies at `path` now."""
        self._new_shards[name] = sha256_of(path)

    def save(self) -> None:
        """Write the memory of the new output; after the output itself was published."""
        new = {"recipe": self._recipe, "looks": self._new_looks, "shards": self._new_shards}
        if new != _load(self._path):
            write_file_atomically(self._path, json.dumps(new).encode())


def _recipe(limits: DecodeLimits) -> str:
    """Names everything that decides what a picture is found to be."""
    facts = [code_of(pictures), repr(limits), PIL.__version__, numpy.__version__]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


def _load(path: Path) -> dict[str, Any]:
    try:
        known = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) and {"recipe", "looks", "shards"} <= set(known) else {}


def _look_at(data: bytes, limits: DecodeLimits) -> Look:
    sha256 = hashlib.sha256(data).hexdigest()
    try:
        found = decode(data, limits=limits)
    except Undecodable as error:
        return Look(sha256, reason=error.reason, words=error.words)
    return Look(sha256, found.format, found.mode, found.width, found.height, found.decoded_as)
