"""One project on disk: its graph, its lock file, its parameters and the memory of what its files hold."""

import dataclasses
import subprocess
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from orchestration.bridge.graph import Graph, GraphError, ParamsFile
from orchestration.bridge.identity import Content, ContentStore
from orchestration.bridge.lockfile import Lock, read_lock
from orchestration.bridge.resolve import load_graph
from orchestration.bridge.yaml_memory import read_yaml

# Normalises source bytes so that edits without meaning (comments, layout, docstrings) leave the answer alone.
Normalise = Callable[[bytes], str]


@dataclasses.dataclass(frozen=True)
class ProjectPaths:
    """Where a project keeps what is neither in git nor an artifact."""

    root: Path
    state: Path

    @property
    def locks(self) -> Path:
        """One lock file per stage."""
        return self.state / "locks"

    @property
    def database(self) -> Path:
        """The memory of content ids, and the log of what was made when and by which door."""
        return self.state / "state.db"

    @property
    def memory(self) -> Path:
        """Answers of slow parsers, by the bytes they were made from."""
        return self.state / "memory"


class Project:
    """A view of the project as it is at this moment: make a new one after an edit.

    normalise: tells edits of meaning from edits of looks in source files; None takes every edit as one of meaning.
    Raises GraphError when dvc.yaml or dvc.lock cannot be used.
    """

    def __init__(self, root: Path, *, state_dir: str = ".figment", normalise: Normalise | None = None) -> None:
        self.root = root.resolve()
        self.paths = ProjectPaths(self.root, self.root / state_dir)
        self.normalise = normalise
        self._params: dict[str, Any] = {}

    @cached_property
    def graph(self) -> Graph:
        """dvc.yaml, resolved."""
        return load_graph(self.root, state_dir=self.paths.memory)

    @cached_property
    def store(self) -> ContentStore:
        """The memory of content ids."""
        return ContentStore(self.paths.database)

    def lock(self) -> Lock:
        """dvc.lock as it stands now."""
        return read_lock(self.graph, memory=self.paths.memory)

    def again(self) -> "Project":
        """The project as it is now, after edits or materializations."""
        return Project(self.root, state_dir=str(self.paths.state.relative_to(self.root)), normalise=self.normalise)

    def content(self, path: str) -> Content | None:
        """What the relative `path` holds, or None."""
        return self.store.content(self.root / path)

    def param_values(self, tracked: ParamsFile) -> dict[str, Any] | None:
        """The values of the tracked keys now (absent keys are left out), or None when the file is gone."""
        if tracked.path not in self._params:
            path = self.root / tracked.path
            self._params[tracked.path] = _read_param_file(path, self.paths.memory) if path.is_file() else None
        tree = self._params[tracked.path]
        if tree is None:
            return None
        if not tracked.keys:
            return dict(tree)
        found = ((key, _dig(tree, key)) for key in tracked.keys)
        return {key: value for key, value in found if value is not _ABSENT}

    def is_cosmetic_change(self, path: str, recorded: str, now: str) -> bool:
        """Whether the source file `path` means the same as the version with md5 `recorded`; False when that version cannot be found."""
        if self.normalise is None:
            return False
        before = self._normalised(recorded) or self._normalised_from_git(path, recorded)
        return before is not None and before == self.remember_source(path, now)

    def remember_source(self, path: str, md5: str) -> str | None:
        """Keep the normal form of the source file `path`, whose md5 is `md5`, so that a later edit can be compared with it."""
        known = self._normalised(md5)
        if known is not None or self.normalise is None:
            return known
        content = (self.root / path).read_bytes()
        return self._keep_normalised(md5, self.normalise(content))

    def _normalised(self, md5: str) -> str | None:
        row = self.store.connection().execute("SELECT normalised FROM sources WHERE md5 = ?", (md5,)).fetchone()
        return row[0] if row else None

    def _keep_normalised(self, md5: str, normalised: str) -> str:
        with self.store.connection() as connection:
            connection.execute("INSERT OR REPLACE INTO sources VALUES (?, ?)", (md5, normalised))
        return normalised

    def _normalised_from_git(self, path: str, md5: str, *, versions: int = 30) -> str | None:
        """A fresh clone has no memory, but git has the old text: look through the latest versions of the file."""
        import hashlib

        log = _git(self.root, "log", f"-{versions}", "--format=%H", "--", path)
        for commit in (log or b"").decode().split():
            content = _git(self.root, "show", f"{commit}:./{path}")
            if content is not None and hashlib.md5(content, usedforsecurity=False).hexdigest() == md5:
                assert self.normalise is not None
                return self._keep_normalised(md5, self.normalise(content))
        return None

    @cached_property
    def cache_dir(self) -> Path:
        """DVC's cache folder: `.dvc/cache` unless `.dvc/config(.local)` says otherwise."""
        import configparser

        settings = configparser.ConfigParser(interpolation=None)
        settings.read([self.root / ".dvc/config", self.root / ".dvc/config.local"])
        configured = settings.get("cache", "dir", fallback=None)
        return (self.root / ".dvc" / configured).resolve() if configured else self.root / ".dvc/cache"


def _read_param_file(path: Path, memory: Path) -> Mapping[str, Any]:
    if path.suffix == ".py":
        raise GraphError(f"{path}: parameters in a Python file cannot be read here; put them into YAML, JSON or TOML")
    tree = _parse_json_or_toml(path) if path.suffix in (".json", ".toml") else read_yaml(path, memory, remedy="mend that line")
    if tree is None:
        return {}
    if not isinstance(tree, Mapping):
        raise GraphError(f"{path}: expected a mapping of parameter sections, found {type(tree).__name__}")
    return tree


def _parse_json_or_toml(path: Path) -> Any:
    import json
    import tomllib

    try:
        return json.loads(path.read_bytes()) if path.suffix == ".json" else tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise GraphError(f"{path}: not readable as {path.suffix[1:].upper()}: {error}; mend that line") from None


def _dig(tree: Mapping[str, Any], dotted: str) -> Any:
    value: Any = tree
    for part in dotted.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return _ABSENT
        value = value[part]
    return value


def _git(root: Path, *arguments: str) -> bytes | None:
    done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None


_ABSENT = object()
