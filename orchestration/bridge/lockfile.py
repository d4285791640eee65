"""All dvc.lock files as plain values: what DVC recorded when each stage last ran. Read only; DVC alone writes them."""

import dataclasses
import hashlib
import json
import posixpath
import time
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote

from .answers import keep
from .graph import Graph, GraphError, Stage, combined_id, command_of, is_remote, placed
from .resolve import recorded_id
from .yaml_memory import read_yaml

# How long DVC may take to write a dvc.lock in place.
_IN_PLACE_S = 0.5


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
    """All of dvc.lock, of every folder that has one.

    problems: by stage what is wrong with an entry that is none, in words; such a stage has no entry.
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
    """What the project's dvc.lock files say, empty when there is none. Raises GraphError when one cannot be read, such as after a merge conflict."""
    entries: dict[str, LockEntry] = {}
    problems: dict[str, str] = {}
    orphans: list[str] = []
    stages = {(stage.lock_file, stage.name_in_file): stage for stage in (*graph.stages.values(), *graph.preludes.values())}
    for file in graph.lock_files:
        path = graph.root / file
        remedy = f"restore it with `git checkout {file}`"
        for name, data in read_entries(graph.root, file, memory).items():
            stage = stages.get((file, name))
            if stage is None:
                orphans.append(placed(str(name), posixpath.dirname(file)))
            elif problem := _problem(data):
                problems[stage.name] = f"{path}: the entry of {name} {problem}; DVC refuses the whole file; {remedy}"
            else:
                entries[stage.name] = _entry(stage, data)
    return Lock(entries, problems, tuple(orphans))


def read_entries(root: Path, file: str, memory: Path | None) -> Mapping[str, Any]:
    """What stands in one dvc.lock by stage, {} where there is none. Raises GraphError when it cannot be read."""
    begun = time.monotonic()
    while True:
        try:
            return _read_entries(root / file, file, memory)
        except GraphError:
            # DVC writes in place: who reads meanwhile finds half of it, or nothing.
            if time.monotonic() - begun > _IN_PLACE_S or time.time() - (root / file).stat().st_mtime > _IN_PLACE_S:
                raise
            time.sleep(0.02)


def _read_entries(path: Path, file: str, memory: Path | None) -> Mapping[str, Any]:
    if not path.is_file():
        return {}
    kept = lock_copy(memory, file) if memory else None
    repairs = "`figment doctor --repair` brings back what was last read, or " if kept and kept.exists() else ""
    remedy = f"{repairs}restore it with `git checkout {file}`"
    content = path.read_bytes()
    if not content.strip():
        raise GraphError(f"{path}: is empty, as a `dvc repro` that was killed leaves it; DVC refuses it; {remedy}")
    data = read_yaml(path, memory, remedy=remedy)
    stages = data.get("stages", {}) if isinstance(data, Mapping) else None
    if not isinstance(stages, Mapping):
        raise GraphError(f"{path}: expected a mapping `stages` of stage names to entries, as DVC writes it; {remedy}")
    if kept and stages and not (kept.exists() and kept.stat().st_mtime_ns > path.stat().st_mtime_ns):
        keep(kept, {"text": content.decode()})
    return stages


def lock_copy(memory: Path, file: str) -> Path:
    """Where the text of a dvc.lock is kept as it last was when it could be read (`answers.recall`: {"text": …})."""
    return memory / "locks" / f"{quote(file, safe='')}.json"


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


def _entry(stage: Stage, data: Mapping[str, Any]) -> LockEntry:
    def ids(key: str) -> dict[str, str]:
        # What a server said of something stands under the kind's own name: it is never equal to the id of a file.
        return {placed(item["path"], stage.wdir): recorded_id(item) for item in data.get(key) or []}

    params = {placed(file, stage.wdir): values or {} for file, values in (data.get("params") or {}).items()}
    items = [item for key in ("deps", "outs") for item in data.get(key) or []]
    of_dvc_2 = frozenset(placed(item["path"], stage.wdir) for item in items if "hash" not in item and not is_remote(item["path"]))
    return LockEntry(command_of(data.get("cmd")), ids("deps"), params, ids("outs"), of_dvc_2)
