"""What is remembered of source files, in `.figment/memory/code/`: what each said when it was last read, and which files a code version stood for.

It may be deleted at any time: files are then read again, and `figment why` looks into git instead.
"""

import hashlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from stages import source_code
from stages.source_code import Source, read_source

# A write this recent could be followed by another one with the same time stamp.
_RACY_NS = 50_000_000
_MOST_MANIFESTS = 300


class CodeMemory:
    """The memory of the project at `root`. files_read: how many source files had to be read because they were new or had moved."""

    def __init__(self, root: Path) -> None:
        self._folder = root / ".figment/memory/code"
        # What a file says depends on the rules by which it is read, and they are code too.
        self._rules = hashlib.sha256(Path(source_code.__file__).read_bytes()).hexdigest()
        kept = _read_json(self._folder / "files.json")
        self._files: dict[str, list[Any]] = kept.get("files", {}) if kept.get("rules") == self._rules else {}
        self._graph: dict[str, Any] = kept.get("graph", {}) if kept.get("rules") == self._rules else {}
        self._is_saved = True
        self.files_read = 0

    def source(self, path: Path, relative: str) -> Source:
        """What the file says; its bytes are read only when its time, size or inode moved."""
        info = os.stat(path)
        stamp = [info.st_mtime_ns, info.st_size, info.st_ino]
        known = self._files.get(relative)
        if known is not None and known[:3] == stamp:
            return Source(known[3], tuple(known[4]), tuple(known[5]))
        source = read_source(path.read_bytes(), relative)
        self.files_read += 1
        if time.time_ns() - info.st_mtime_ns > _RACY_NS:
            self._files[relative] = [*stamp, source.meaning, source.modules, source.libraries]
            self._is_saved = False
        return source

    def graph(self, content: bytes) -> dict[str, Any] | None:
        """What `remember_graph` was told of a dvc.yaml of these bytes."""
        return self._graph.get("says") if self._graph.get("sha256") == hashlib.sha256(content).hexdigest() else None

    def remember_graph(self, content: bytes, says: Mapping[str, Any]) -> None:
        """Keep what the dvc.yaml of these bytes says, whose YAML takes longer to parse than all code to look at."""
        self._graph = {"sha256": hashlib.sha256(content).hexdigest(), "says": dict(says)}
        self._is_saved = False

    def manifest(self, version: str) -> dict[str, str] | None:
        """Hash of meaning by relative path of the files that the code version `version` stood for, or None when it is not remembered."""
        return _read_json(self._folder / f"{version}.json") or None

    def remember_manifest(self, version: str, files: Mapping[str, str]) -> None:
        """Keep what the code version stands for, so that what changed since can be named."""
        path = self._folder / f"{version}.json"
        if not path.is_file():
            write_replacing(path, json.dumps(dict(files)))
            self._is_saved = False

    def save(self) -> None:
        """Write down what is new, and forget the oldest manifests."""
        if self._is_saved:
            return
        write_replacing(self._folder / "files.json", json.dumps({"rules": self._rules, "graph": self._graph, "files": self._files}))
        self._is_saved = True
        manifests = sorted(self._folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns, reverse=True)
        for path in manifests[_MOST_MANIFESTS:]:
            path.unlink(missing_ok=True)


def write_replacing(path: Path, text: str) -> None:
    """Write the file beside its place, then rename: a reader never sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
