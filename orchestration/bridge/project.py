"""One project on disk: its graph, its lock file, its parameters and the memory of what its files hold."""

import dataclasses
import importlib.util
import json
import os
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from .dvc_repo import python_parameters, remote_id
from .graph import Graph, GraphError, ParamsFile, is_remote
from .identity import Content, ContentStore, IsIgnored
from .ignored import read_ignored
from .lockfile import Lock, read_lock
from .resolve import graph_of, load_graph
from .yaml_memory import read_yaml


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

    state_dir: relative to the root; where the bridge keeps its memory of file hashes. key_prefix: what all asset keys of the project begin with.
    keys: whole asset keys of stages and sources that a translator chose. resolved: what `resolve_graph` answered before, to be taken for the truth.
    Raises GraphError when dvc.yaml or dvc.lock cannot be used.
    """

    def __init__(
        self,
        root: Path,
        *,
        state_dir: str = ".figment",
        key_prefix: Sequence[str] = (),
        keys: Mapping[str, tuple[str, ...]] | None = None,
        resolved: Mapping[str, Any] | None = None,
    ) -> None:
        self.root = root.resolve()
        self.key_prefix, self.keys = tuple(key_prefix), keys or {}
        self.resolved = resolved
        self.paths = ProjectPaths(self.root, self.root / state_dir)
        self._params: dict[str, Any] = {}
        self._remote: dict[str, Content | None] = {}

    @cached_property
    def graph(self) -> Graph:
        """All dvc.yaml and .dvc files, resolved."""
        graph = graph_of(self.root, self.resolved) if self.resolved is not None else load_graph(self.root, state_dir=self.paths.memory)
        return dataclasses.replace(graph, key_prefix=self.key_prefix, keys=self.keys)

    @cached_property
    def store(self) -> ContentStore:
        """The memory of content ids."""
        return ContentStore(self.paths.database)

    def lock(self) -> Lock:
        """dvc.lock as it stands now."""
        return read_lock(self.graph, memory=self.paths.memory)

    def again(self) -> "Project":
        """The project as it is now, after edits or materializations."""
        # Where there is no DVC to ask, what was resolved holds.
        return self._with(resolved=None if self.resolved is None or importlib.util.find_spec("dvc") else self.resolved)

    def with_keys(self, keys: Mapping[str, tuple[str, ...]]) -> "Project":
        """The project with these asset keys."""
        return self._with(keys=keys)

    def _with(self, **changes: Any) -> "Project":
        same = {
            "state_dir": str(self.paths.state.relative_to(self.root)),
            "key_prefix": self.key_prefix,
            "keys": self.keys,
            "resolved": self.resolved,
        }
        return Project(self.root, **{**same, **changes})

    def content(self, path: str, *, trust_stamps: bool = True) -> Content | None:
        """What the relative `path` holds, or None; of an input that no stage writes, without what .dvcignore leaves out.

        Of something on a server: what that says of it, asked for once.
        """
        if is_remote(path):
            if path not in self._remote:
                id = remote_id(self.root, path)
                self._remote[path] = Content(id, 0, 0) if id else None
            return self._remote[path]
        if self.graph.producers_of(path):
            return self.store.content(self.root / path, trust_stamps=trust_stamps)
        ignored = lambda name, is_folder: self._ignored(f"{path}/{name}", is_folder)  # noqa: E731
        return self.store.content(self.root / path, trust_stamps=trust_stamps, is_ignored=ignored)

    def has(self, path: str) -> bool:
        """Whether there is something at the relative `path`, or at an address."""
        return self.content(path) is not None if is_remote(path) else (self.root / path).exists()

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
        """DVC's cache folder: `.dvc/cache` unless one of DVC's configurations (system, user, project, `--local`; the last counts) says otherwise."""
        import configparser

        found = self.root / ".dvc/cache"
        for path in filter(Path.is_file, [*_shared_configurations(), self.root / ".dvc/config", self.root / ".dvc/config.local"]):
            settings = configparser.ConfigParser(interpolation=None)
            settings.read(path)
            if configured := settings.get("cache", "dir", fallback=None):
                # A relative folder starts at the file that names it.
                found = (path.parent / Path(configured).expanduser()).resolve()
        return found


def _shared_configurations() -> list[Path]:
    """DVC's configuration of the machine and of the user, wherever DVC would look for them."""
    named = os.environ.get("DVC_SYSTEM_CONFIG_DIR"), os.environ.get("DVC_GLOBAL_CONFIG_DIR")
    if all(named):
        folders: tuple[str | None, str | None] = named
    elif sys.platform == "linux" and not {"XDG_CONFIG_DIRS", "XDG_CONFIG_HOME"} & os.environ.keys():
        # What platformdirs says there; it takes as long to load as a whole small project does to judge.
        folders = named[0] or "/etc/xdg/dvc", named[1] or str(Path("~/.config/dvc").expanduser())
    else:
        import platformdirs

        folders = named[0] or platformdirs.site_config_dir("dvc", "iterative"), named[1] or platformdirs.user_config_dir("dvc", "iterative")
    return [Path(folder) / "config" for folder in folders if folder]


def _read_param_file(path: Path, memory: Path) -> Mapping[str, Any]:
    if path.suffix == ".py":
        return _parse_python(path)
    tree = _parse_json_or_toml(path) if path.suffix in (".json", ".toml") else read_yaml(path, memory, remedy="mend that line")
    if tree is None:
        return {}
    if not isinstance(tree, Mapping):
        raise GraphError(f"{path}: expected a mapping of parameter sections, found {type(tree).__name__}")
    return tree


def _parse_json_or_toml(path: Path) -> Any:
    import tomllib

    try:
        return json.loads(path.read_bytes()) if path.suffix == ".json" else tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise GraphError(f"{path}: not readable as {path.suffix[1:].upper()}: {error}; mend that line") from None


def _parse_python(path: Path) -> Mapping[str, Any]:
    try:
        # DVC compares with what it wrote into dvc.lock, which has no tuples.
        return dict(json.loads(json.dumps(python_parameters(path))))
    except (ValueError, TypeError) as error:
        raise GraphError(f"{path}: not readable as parameters in Python: {error}; mend that line") from None


def _dig(tree: Mapping[str, Any], dotted: str) -> Any:
    """The value at `dotted`; as in DVC a part may be an index of a list, and a pattern (`*`, `**`, `?`, `[ab]`) that fits one leaf."""
    value: Any = tree
    for part in dotted.split("."):
        if not isinstance(value, Mapping) or part not in value:
            # Only what is no plain path of keys is worth the library.
            return _searched(tree, dotted) if isinstance(value, list) or _PATTERN.search(dotted) else _ABSENT
        value = value[part]
    return value


def _searched(tree: Mapping[str, Any], dotted: str) -> Any:
    import dpath

    try:
        return dpath.get(dict(tree), dotted, separator=".")
    except KeyError:
        return _ABSENT
    except ValueError:
        raise GraphError(f"parameter {dotted}: expected a pattern that fits one value, found several; name each of them") from None


_PATTERN = re.compile(r"[*?\[]")
_ABSENT = object()
