"""What is really there: ids of outputs and of DVC's cache objects, every byte read again, each file once."""

import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from orchestration.bridge.cache import object_path
from orchestration.bridge.graph import Out, is_remote
from orchestration.bridge.identity import file_md5, tree_id, unfit, walk_files
from orchestration.bridge.project import Project

# Told of every file that is read: its path.
Hear = Callable[[Path], None]


class Reader:
    """Hashes files, and remembers within one examination what it read: a hard link into the cache is read once."""

    def __init__(self, hear: Hear | None = None) -> None:
        self._hear = hear
        self._known: dict[tuple[int, int, int, int], str] = {}
        self.files = 0
        self.bytes = 0

    def md5(self, path: Path) -> str | None:
        """md5 of the file's bytes as they are now, or None when there is no such file."""
        try:
            info = os.stat(path)
        except (FileNotFoundError, NotADirectoryError):
            return None
        if problem := unfit(str(path), info):
            return f"unreadable: {problem}"
        key = (info.st_dev, info.st_ino, info.st_mtime_ns, info.st_size)
        if key not in self._known:
            if self._hear is not None:
                self._hear(path)
            try:
                self._known[key] = file_md5(path)
            except OSError as error:
                return f"unreadable: {error.strerror}"
            self.files += 1
            self.bytes += info.st_size
        return self._known[key]

    def tree(self, path: Path) -> dict[str, str] | None:
        """md5 by relative path of everything below the folder `path`; `{"": md5}` for a file; None when there is nothing."""
        if not path.is_dir():
            md5 = self.md5(path)
            return None if md5 is None else {"": md5}
        found: dict[str, str] = {}
        for relative, _ in walk_files(path):
            md5 = self.md5(path / relative)
            if md5 is not None:
                found[relative] = md5
        return found


class CacheReader:
    """DVC's cache, where no object is believed before it was read."""

    def __init__(self, folder: Path, reader: Reader) -> None:
        self.folder = folder
        self._reader = reader

    def path(self, id: str) -> Path:
        """Where the object with this id lies, or would lie."""
        return object_path(self.folder, id)

    def state(self, id: str) -> str:
        """`good`, `damaged` or `missing`."""
        md5 = self._reader.md5(self.path(id))
        return "missing" if md5 is None else "good" if md5 == id.removesuffix(".dir") else "damaged"

    def listing(self, id: str) -> dict[str, str] | None:
        """md5 by relative path of what the id stands for; None when the cache cannot say."""
        if not id.endswith(".dir"):
            return {"": id}
        if self.state(id) != "good":
            return None
        try:
            return {row["relpath"]: row["md5"] for row in json.loads(self.path(id).read_bytes())}
        except (ValueError, TypeError, KeyError):
            return None  # its id is that of its bytes, and they are no listing

    def is_complete(self, id: str) -> bool:
        """Whether everything the id stands for is here and good."""
        listing = self.listing(id)
        return listing is not None and all(self.state(md5) == "good" for md5 in listing.values())


@dataclasses.dataclass(frozen=True)
class OutputEvidence:
    """One recorded output: what dvc.lock says (`recorded`), what is there (`present`, None when nothing is), what the cache expects."""

    stage: str
    out: Out
    recorded: str
    present: Mapping[str, str] | None
    expected: Mapping[str, str] | None

    @property
    def present_id(self) -> str | None:
        """The id of what is there."""
        if self.present is None:
            return None
        return self.present[""] if set(self.present) == {""} else tree_id(self.present)

    @property
    def agrees(self) -> bool:
        return self.present_id == self.recorded

    def differing(self) -> dict[str, str]:
        """Relative path -> `changed`, `added` or `removed` against what the cache expects; empty when the cache cannot say."""
        if self.expected is None or self.present is None:
            return {}
        words = dict.fromkeys(self.present.keys() - self.expected.keys(), "added")
        words |= dict.fromkeys(self.expected.keys() - self.present.keys(), "removed")
        return words | {path: "changed" for path in self.present.keys() & self.expected.keys() if self.present[path] != self.expected[path]}


def gather(project: Project, reader: Reader, cache: CacheReader, *, but: set[str]) -> list[OutputEvidence]:
    """The evidence of every output here that dvc.lock records, without those of the stages in `but`: what lies on a server DVC alone judges."""
    found = []
    for name, entry in project.lock().entries.items():
        for out in project.graph[name].outs if name not in but else ():
            recorded = entry.outs.get(out.path)
            if recorded and not is_remote(out.path):
                expected = cache.listing(recorded) if out.cached else None
                found.append(OutputEvidence(name, out, recorded, reader.tree(project.root / out.path), expected))
    return found
