"""All dvc.lock files as plain values: what DVC recorded when each stage last ran. Read only; DVC alone writes them."""

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from .graph import Graph, GraphError, Stage, combined_id, command_of, is_remote, placed
from .resolve import recorded_id
from .yaml_memory import read_yaml


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


@dataclasses.dataclass(frozen=True)
class Lock:
    """All of dvc.lock, of every folder that has one."""

    entries: Mapping[str, LockEntry]

    @cached_property
    def known_ids(self) -> frozenset[str]:
        """Every id of every output that stands in the file."""
        return frozenset(id for entry in self.entries.values() for id in entry.outs.values())


def read_lock(graph: Graph, *, memory: Path | None = None) -> Lock:
    """What the project's dvc.lock files say, empty when there is none. Raises GraphError when one cannot be read, such as after a merge conflict."""
    stages = (*graph.stages.values(), *graph.preludes.values())
    entries: dict[str, LockEntry] = {}
    for file in dict.fromkeys(stage.file for stage in stages):
        found = _read_entries((graph.root / file).with_suffix(".lock"), memory)
        entries |= {stage.name: _entry(stage, found[stage.name_in_file]) for stage in stages if stage.file == file and stage.name_in_file in found}
    return Lock(entries)


def _read_entries(path: Path, memory: Path | None) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    remedy = "restore it with `git checkout dvc.lock`"
    data = read_yaml(path, memory, remedy=remedy)
    stages = data.get("stages") if isinstance(data, Mapping) else None
    is_usable = isinstance(stages, Mapping) and all(isinstance(entry, Mapping) for entry in stages.values())
    if data and not is_usable:
        raise GraphError(f"{path}: expected a mapping `stages` of stage names to entries, as DVC writes it; {remedy}")
    return stages or {}


def _entry(stage: Stage, data: Mapping[str, Any]) -> LockEntry:
    def ids(key: str) -> dict[str, str]:
        # What a server said of something stands under the kind's own name: it is never equal to the id of a file.
        return {placed(item["path"], stage.wdir): recorded_id(item) for item in data.get(key) or []}

    params = {placed(file, stage.wdir): values or {} for file, values in (data.get("params") or {}).items()}
    items = [item for key in ("deps", "outs") for item in data.get(key) or []]
    of_dvc_2 = frozenset(placed(item["path"], stage.wdir) for item in items if "hash" not in item and not is_remote(item["path"]))
    return LockEntry(command_of(data.get("cmd")), ids("deps"), params, ids("outs"), of_dvc_2)
