"""One project on disk: its graph, its lock file, its parameters and the memory of what its files hold."""

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from orchestration.bridge.graph import Graph, GraphError, ParamsFile
from orchestration.bridge.identity import Content, ContentStore, IsIgnored
from orchestration.bridge.ignored import read_ignored
from orchestration.bridge.lockfile import Lock, read_lock
from orchestration.bridge.resolve import load_graph
from orchestration.bridge.yaml_memory import read_yaml


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
    """A view of the project as it is at this moment: make a new one after an edit. `preludes.prepared` sees to its preludes before it is judged.

    Raises GraphError when dvc.yaml or dvc.lock cannot be used.
    """

    def __init__(self, root: Path, *, state_dir: str = ".figment") -> None:
        self.root = root.resolve()
        self.paths = ProjectPaths(self.root, self.root / state_dir)
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
        return Project(self.root, state_dir=str(self.paths.state.relative_to(self.root)))

    def content(self, path: str) -> Content | None:
        """What the relative `path` holds, or None; of an input that no stage writes, without what .dvcignore leaves out."""
        if self.graph.producers_of(path):
            return self.store.content(self.root / path)
        return self.store.content(self.root / path, is_ignored=lambda name, is_folder: self._ignored(f"{path}/{name}", is_folder))

    @cached_property
    def _ignored(self) -> IsIgnored:
        return read_ignored(self.root, self.paths.memory)

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


_ABSENT = object()
