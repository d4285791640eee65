"""dvc.lock as plain values: what DVC recorded when each stage last ran. Read only; DVC alone writes it."""

import dataclasses
import hashlib
import json
import posixpath
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from orchestration.bridge.graph import Graph, GraphError, Stage
from orchestration.bridge.yaml_memory import read_yaml


@dataclasses.dataclass(frozen=True)
class LockEntry:
    """What DVC recorded of one stage: ids by path, parameter values by file and key.

    `of_dvc_2`: paths whose ids DVC 2 wrote, which hashed text with its line ends translated: such an id mostly is that of the bytes, not always.
    """

    cmd: tuple[str, ...]
    deps: Mapping[str, str]
    params: Mapping[str, Mapping[str, Any]]
    outs: Mapping[str, str]
    of_dvc_2: frozenset[str] = frozenset()

    def output_id(self, stage: Stage) -> str | None:
        """The artifact's id: the id of its one output, a hash over several, or for a stage that writes nothing a hash of what it read."""
        if not stage.outs:
            read = [self.cmd, dict(self.deps), {path: dict(values) for path, values in self.params.items()}]
            return hashlib.md5(json.dumps(read, sort_keys=True, default=str).encode(), usedforsecurity=False).hexdigest()
        ids = [(out.path, self.outs[out.path]) for out in stage.data_outs if out.path in self.outs]
        return combined_id(ids)


def combined_id(ids: list[tuple[str, str]]) -> str | None:
    """One id for one output; for several, an md5 over paths and ids; None for none."""
    if len(ids) < 2:
        return ids[0][1] if ids else None
    return hashlib.md5(json.dumps(sorted(ids)).encode(), usedforsecurity=False).hexdigest()


@dataclasses.dataclass(frozen=True)
class Lock:
    """All of dvc.lock. problems: by stage what is wrong with an entry that is none, in words; such a stage has no entry.

    orphans: names of entries whose stage dvc.yaml does not have.
    """

    entries: Mapping[str, LockEntry]
    problems: Mapping[str, str] = dataclasses.field(default_factory=dict)
    orphans: tuple[str, ...] = ()

    @cached_property
    def known_ids(self) -> frozenset[str]:
        """Every id of every output that stands in the file."""
        return frozenset(id for entry in self.entries.values() for id in entry.outs.values())


def read_lock(graph: Graph, *, memory: Path | None = None) -> Lock:
    """dvc.lock of the project, empty when there is none. Raises GraphError when it cannot be read, such as after a merge conflict."""
    path = graph.root / "dvc.lock"
    if not path.is_file():
        return Lock({})
    data = read_yaml(path, memory, remedy="restore it with `git checkout dvc.lock`")
    stages = data.get("stages") if isinstance(data, Mapping) else None
    if data and not isinstance(stages, Mapping):
        raise GraphError(f"{path}: expected a mapping `stages` of stage names to entries, as DVC writes it; restore it with `git checkout dvc.lock`")
    entries, problems, orphans = {}, {}, []
    for name, value in (stages or {}).items():
        if name in graph.stages or name in graph.preludes:
            if problem := _problem(value):
                problems[name] = f"{path}: the entry of {name} {problem}; DVC refuses the whole file; restore it with `git checkout dvc.lock`"
            else:
                entries[name] = _entry(graph, name, value)
        else:
            orphans.append(str(name))
    return Lock(entries, problems, tuple(orphans))


def _problem(data: Any) -> str:
    """What keeps an entry from being one, in words; empty where nothing does."""
    if not isinstance(data, Mapping):
        return f"is {_short(data)}, expected a mapping"
    cmd = data.get("cmd")
    if not (cmd is None or isinstance(cmd, str) or (isinstance(cmd, list) and all(isinstance(line, str) for line in cmd))):
        return f"has the command {_short(cmd)}, expected text"
    params = data.get("params") or {}
    if not isinstance(params, Mapping) or not all(isinstance(file, str) and isinstance(values or {}, Mapping) for file, values in params.items()):
        return f"has the parameters {_short(params)}, expected values by file"
    for key in ("deps", "outs"):
        items = data.get(key) or []
        for item in items if isinstance(items, list) else [items]:
            if not (isinstance(item, Mapping) and isinstance(item.get("path"), str) and isinstance(item.get("md5", ""), str)):
                return f"has {_short(item)} among its {key}, expected a `path` and its hash"
    return ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:59]}…"


def _entry(graph: Graph, name: str, data: Mapping[str, Any]) -> LockEntry:
    wdir = graph[name].wdir

    def place(path: str) -> str:
        return posixpath.normpath(posixpath.join(wdir, path))

    def ids(key: str) -> dict[str, str]:
        # An id of another kind, of something on a server, stands under the kind's own name: it is never equal to that of a file.
        return {place(item["path"]): item.get("md5", "") if item.get("hash", "md5") == "md5" else "" for item in data.get(key) or []}

    cmd = data.get("cmd") or []
    params = {place(file): values or {} for file, values in (data.get("params") or {}).items()}
    of_dvc_2 = frozenset(place(item["path"]) for key in ("deps", "outs") for item in data.get(key) or [] if "hash" not in item)
    return LockEntry((cmd,) if isinstance(cmd, str) else tuple(cmd), ids("deps"), params, ids("outs"), of_dvc_2)
