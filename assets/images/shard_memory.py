"""What the shards of the previous output hold, so that unchanged ones are kept and the pictures of the others are not made again.

The memory lies outside the output. A shard counts only when its file is, byte for byte, what was remembered: one edited by hand, or damaged, is made
anew. Without the memory everything is, and the same bytes come out.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from assets.images.handover import Failure, Made
from formats.image_shards import member_name
from formats.stored_zip import StoredZips
from stages.files import sha256_of, write_file_atomically

# [serial, sha256 of the original, class or None]
Member: TypeAlias = Sequence[Any]


class ShardMemory:
    """The memory of one output folder.

    path: its file. recipe: names everything that decides a picture's bytes; a memory of another recipe is no memory. kept: shards kept so far.
    """

    def __init__(self, path: Path, recipe: str, target: Path) -> None:
        self._path, self._recipe, self._target = path, recipe, target
        self._old: dict[str, dict[str, Any]] = _load(path, recipe)
        self._new: dict[str, dict[str, Any]] = {}
        self._is_intact: dict[str, bool] = {}
        self._places = {
            key: (name, serial) for name, shard in self._old.items() for serial, key, _ in shard["members"] if key not in shard["failures"]
        }
        self._zips = StoredZips(target)
        self.kept = 0

    def keep(self, name: str, members: Sequence[Member]) -> dict[str, Failure] | None:
        """Note that the previous shard `name` is part of the new output, if it is intact and was made of exactly these; else None.

        Gives those of them that are not in it, and why.
        """
        # Equal lists were made into equal bytes; that the file still has them is what the digest is for.
        old = self._old.get(name)
        if old is None or old["members"] != members or not self._intact(name):
            return None
        self._new[name] = old
        self.kept += 1
        return {key: Failure(*words) for key, words in old["failures"].items()}

    def pngs(self, contents: Iterable[str]) -> dict[str, Made]:
        """PNG bytes of those of the previous output's pictures that are asked for, by sha256 of the original."""
        found: dict[str, Made] = {}
        for content in contents:
            name, serial = self._places.get(content, ("", 0))
            if name and self._intact(name):
                found[content] = self._zips.read(name, member_name(serial))
        return found

    def remember(self, name: str, file: Path, members: Sequence[Member], failures: Mapping[str, Failure]) -> None:
        """Note that the shard `name`, which lies at `file` now, was made of `members`, without those that failed."""
        reasons = {key: [failure.reason, failure.words] for key, failure in failures.items()}
        self._new[name] = {"sha256": sha256_of(file), "members": list(members), "failures": reasons}

    def save(self) -> None:
        """Write the memory of the new output; after the output itself was published."""
        write_file_atomically(self._path, json.dumps({"recipe": self._recipe, "shards": self._new}).encode())

    def _intact(self, name: str) -> bool:
        if name not in self._is_intact:
            file = self._target / name
            self._is_intact[name] = file.is_file() and sha256_of(file) == self._old[name]["sha256"]
        return self._is_intact[name]


def remembered_contents(path: Path, recipe: str) -> set[str]:
    """sha256 of the originals of all pictures that the memory at `path` knows, if it is of this recipe."""
    return {member[1] for shard in _load(path, recipe).values() for member in shard["members"]}


def _load(path: Path, recipe: str) -> dict[str, dict[str, Any]]:
    try:
        memory = json.loads(path.read_bytes())
        return memory["shards"] if memory["recipe"] == recipe else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
