"""The graph that the dvc.yaml files describe, as plain typed values: no dagster, no dvc, no files opened.

A stage is an artifact. Its dependencies, and its files of parameters, are edges when another stage writes them, and plain inputs (code, data
added by hand) otherwise. A stage that only writes parameters of others, and that from plain inputs, is no artifact but a prelude: what a stage
that reads them is made from are its values, and it is brought up to date before such a stage is judged (preludes.py).
"""

import dataclasses
import hashlib
import json
import posixpath
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any, Literal

_REMOTE = re.compile(r"[a-z][a-z0-9+.-]*://")


class GraphError(Exception):
    """dvc.yaml, or the meta of one of its stages, cannot be used; the message says where, what was found and what is expected."""


def is_remote(path: str) -> bool:
    """Whether a dependency lies on a server (`https://…`, `s3://…`, `remote://name/…`)."""
    return _REMOTE.match(path) is not None


def placed(path: str, wdir: str) -> str:
    """A path as a stage names it, which works in the folder `wdir`, relative to the root; what lies on a server keeps its address."""
    return path if is_remote(path) else posixpath.normpath(posixpath.join(wdir, path))


def asset_path(name: str) -> list[str]:
    """The path of an asset key: the folder of the stage's dvc.yaml, if any, its own name, and what tells a variant (`train@small`) from others.

    No name in Dagster may hold an @, a space or the like: where one is replaced, a hash of what was there keeps `a b` and `a_b` apart.
    """
    base, *variants = name.split("@")
    return [_as_dagster_allows(part) for part in (*base.split("/"), *variants)]


def _as_dagster_allows(part: str) -> str:
    allowed = re.sub(r"[^A-Za-z0-9_.-]", "_", part)
    return allowed if allowed == part else f"{allowed}-{_short_hash(part)}"


def _short_hash(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()[:6]


def command_of(cmd: str | Iterable[str] | None) -> tuple[str, ...]:
    """A `cmd` as DVC means it: of a text each line is a command, of a list each item. A list of one has an empty second, as it is no text."""
    items = (cmd,) if isinstance(cmd, str) else tuple(cmd or ())
    return (*items, "") if len(items) == 1 and not isinstance(cmd, str) else items


def shown_command(cmd: Iterable[str]) -> str:
    """A command on one line, for people."""
    return " && ".join(line.strip() for item in cmd for line in item.splitlines() if line.strip())


@dataclasses.dataclass(frozen=True)
class Out:
    """One output of a stage. `path` is relative to the root; `cached` is false for files that git keeps; `persist` outputs survive a rerun."""

    path: str
    kind: Literal["out", "metric", "plot"] = "out"
    cached: bool = True
    persist: bool = False


@dataclasses.dataclass(frozen=True)
class ParamsFile:
    """Parameters a stage depends on: `keys` (dotted) of `path`, or the whole file when `keys` is empty."""

    path: str
    keys: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Stage:
    """One stage of a dvc.yaml with every template resolved. Paths are relative to the root, in POSIX form.

    `name`: the stage's own, after the folder of its `file` where that is not the root: `models/train` of `models/dvc.yaml`.
    """

    name: str
    cmd: tuple[str, ...]
    deps: tuple[str, ...]
    params: tuple[ParamsFile, ...]
    outs: tuple[Out, ...]
    wdir: str = "."
    desc: str = ""
    meta: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    frozen: bool = False
    always_changed: bool = False
    file: str = "dvc.yaml"

    @property
    def name_in_file(self) -> str:
        """What the stage is called in its own file, and in the dvc.lock beside it."""
        return self.name.removeprefix(f"{posixpath.dirname(self.file)}/")

    @property
    def lock_file(self) -> str:
        """The dvc.lock that stands beside its dvc.yaml."""
        return f"{self.file.removesuffix('.yaml')}.lock"

    @property
    def address(self) -> str:
        """What DVC calls the stage, seen from the root: `train`, `models/dvc.yaml:train`."""
        return self.name if self.file == "dvc.yaml" else f"{self.file}:{self.name_in_file}"

    @property
    def data_outs(self) -> tuple[Out, ...]:
        """The outputs that are the artifact: all but metrics and plots that git keeps."""
        kept = tuple(out for out in self.outs if out.kind == "out" or out.cached)
        return kept or self.outs

    @property
    def reads(self) -> tuple[str, ...]:
        """The paths of its dependencies and of its files of parameters."""
        return (*self.deps, *(tracked.path for tracked in self.params))

    @property
    def writes(self) -> tuple[str, ...]:
        """The paths of its outputs."""
        return tuple(out.path for out in self.outs)

    @property
    def is_callback(self) -> bool:
        """DVC runs a stage with neither dependency nor output every time."""
        return not (self.deps or self.params or self.outs)


@dataclasses.dataclass(frozen=True)
class Source:
    """Data under a .dvc file, added by hand or imported: no stage makes it. `name`: the path of that file. `ids`: id by path, as it stands there.

    origin: where `dvc import` or `dvc import-url` had it from, in words; empty for what was added by hand.
    """

    name: str
    ids: Mapping[str, str]
    origin: str = ""
    desc: str = ""
    meta: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def id(self) -> str:
        """Its data version."""
        return combined_id(list(self.ids.items())) or ""

    def touches(self, path: str) -> bool:
        """Whether it is what lies at `path`, inside or around it."""
        return any(path == own or path.startswith(f"{own}/") or own.startswith(f"{path.rstrip('/')}/") for own in self.ids)


def combined_id(ids: list[tuple[str, str]]) -> str | None:
    """One id for one output; for several, an md5 over paths and ids; None for none."""
    if len(ids) < 2:
        return ids[0][1] if ids else None
    return hashlib.md5(json.dumps(sorted(ids)).encode(), usedforsecurity=False).hexdigest()


@dataclasses.dataclass(frozen=True)
class Graph:
    """All artifacts (`stages`) in topological order (upstream first), all preludes likewise, all sources, and who writes what."""

    root: Path
    stages: Mapping[str, Stage]
    preludes: Mapping[str, Stage] = dataclasses.field(default_factory=dict)
    sources: Mapping[str, Source] = dataclasses.field(default_factory=dict)
    # Top-level `metrics:` and `plots:` of dvc.yaml: files inside outputs that people want to see.
    metric_files: tuple[str, ...] = ()
    plot_files: tuple[str, ...] = ()
    # What all asset keys begin with, and the whole keys of those that were given one of their own.
    key_prefix: tuple[str, ...] = ()
    keys: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)

    def __getitem__(self, name: str) -> Stage:
        """The stage of that name, artifact or prelude."""
        stage = self.stages.get(name) or self.preludes.get(name)
        if stage is not None:
            return stage
        import difflib

        near = difflib.get_close_matches(name, self.stages, n=1)
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        raise GraphError(f"dvc.yaml has no stage '{name}'{hint}; stages: {', '.join(self.stages)}")

    @property
    def lock_files(self) -> tuple[str, ...]:
        """Every dvc.lock that the project may have, the root's first."""
        return tuple(dict.fromkeys(["dvc.lock", *(stage.lock_file for stage in (*self.stages.values(), *self.preludes.values()))]))

    def key(self, name: str) -> tuple[str, ...]:
        """The path of the asset key of a stage or source. No two have the same."""
        return self._keys.get(name) or (*self.key_prefix, *asset_path(name))

    def artifact(self, name: str) -> Stage:
        """The stage of that name, which must be an artifact."""
        stage = self[name]
        if name in self.preludes:
            written = ", ".join(out.path for out in stage.outs)
            raise GraphError(f"{name} is no artifact: it writes parameters of others ({written}) and is run by itself when one of them needs it")
        return stage

    def producer_of(self, path: str) -> str | None:
        """The stage that writes `path`, or the first that writes something around or inside it; None for an input nobody writes."""
        return next(iter(self.producers_of(path)), None)

    def producers_of(self, path: str) -> tuple[str, ...]:
        """The stage that writes `path` or a folder around it; else all stages that write something inside it."""
        if path in self._writers:
            return (self._writers[path],)
        around = [str(folder) for folder in (PurePosixPath(path), *PurePosixPath(path).parents) if str(folder) in self._writers]
        if around:
            return (self._writers[around[0]],)
        return tuple(self._writers_inside.get(path.rstrip("/"), ()))

    def upstream(self, name: str) -> tuple[str, ...]:
        """The artifacts that `name` reads directly, in the order of its dependencies, as input or as file of parameters."""
        return self._upstream[name]

    def parents(self, name: str) -> tuple[str, ...]:
        """The artifacts whose versions decide whether `name` is current: those upstream; none of a frozen stage, which DVC takes out of the graph."""
        return () if self.stages[name].frozen else self.upstream(name)

    def sources_of(self, name: str) -> tuple[str, ...]:
        """The sources that `name` reads directly; none of a frozen stage."""
        stage = self.stages[name]
        return () if stage.frozen else tuple(source.name for source in self.sources.values() if any(map(source.touches, stage.reads)))

    def preludes_of(self, name: str) -> tuple[str, ...]:
        """The preludes whose values `name` reads, directly or through another prelude, in topological order."""
        found: set[str] = set()
        pending = [self[name]]
        while pending:
            read = set(pending.pop().reads)
            new = [prelude for prelude in self.preludes.values() if prelude.name not in found and read.intersection(prelude.writes)]
            found.update(prelude.name for prelude in new)
            pending += new
        return tuple(prelude for prelude in self.preludes if prelude in found)

    def downstream(self, names: Iterable[str]) -> set[str]:
        """`names` and everything made from them."""
        reached = set(names)
        for name in self.stages:
            if reached.intersection(self._upstream[name]):
                reached.add(name)
        return reached

    def artifact_deps(self, name: str) -> dict[str, str]:
        """Dependency path -> writing stage, for the dependencies that are artifacts."""
        found = ((path, self.producer_of(path)) for path in self[name].deps)
        return {path: writer for path, writer in found if writer is not None}

    @cached_property
    def _writers(self) -> dict[str, str]:
        return {out.path: stage.name for stage in self.stages.values() for out in stage.outs}

    @cached_property
    def _writers_inside(self) -> dict[str, dict[str, None]]:
        """By folder, the stages that write something inside it, in order."""
        found: dict[str, dict[str, None]] = {}
        for out, name in self._writers.items():
            for match in re.finditer("/", out):
                found.setdefault(out[: match.start()], {})[name] = None
        return found

    @cached_property
    def _keys(self) -> dict[str, tuple[str, ...]]:
        found: dict[tuple[str, ...], str] = {}
        for name in (*self.stages, *self.sources):
            key = self.keys.get(name) or (*self.key_prefix, *asset_path(name))
            # `b` of a/dvc.yaml and the variant `a@b` would share one.
            found[key if key not in found else (*key[:-1], f"{key[-1]}-{_short_hash(name)}")] = name
        return {name: key for key, name in found.items()}

    @cached_property
    def _upstream(self) -> dict[str, tuple[str, ...]]:
        return {
            name: tuple(dict.fromkeys(before for path in stage.reads for before in self.producers_of(path))) for name, stage in self.stages.items()
        }


def build_graph(
    root: Path, stages: Iterable[Stage], *, sources: Iterable[Source] = (), metric_files: Iterable[str] = (), plot_files: Iterable[str] = ()
) -> Graph:
    """The stages as a Graph in topological order; ties keep the order of dvc.yaml. Raises GraphError on a cycle and on outputs that overlap."""
    given = {stage.name: stage for stage in stages}
    _check_outputs_are_apart(given.values())
    unordered = Graph(root, given)
    ordered: dict[str, Stage] = {}

    def visit(first: str) -> None:
        # By hand and not by recursion: a chain may be longer than Python's stack. What was entered and not left is the way here.
        entered = {first: iter(unordered.upstream(first))}
        while entered:
            name, befores = next(reversed(entered.items()))
            before = next((before for before in befores if before not in ordered), None)
            if before is None:
                del entered[name]
                ordered[name] = given[name]
            elif before in entered:
                way = list(entered)
                raise GraphError(f"dvc.yaml: stages depend on each other in a circle: {' -> '.join([*way[way.index(before) :], before])}")
            else:
                entered[before] = iter(unordered.upstream(before))

    for name in given:
        if name not in ordered:
            visit(name)
    preludes = _preludes(unordered, ordered)
    artifacts = {name: stage for name, stage in ordered.items() if name not in preludes}
    return Graph(root, artifacts, preludes, {source.name: source for source in sources}, tuple(metric_files), tuple(plot_files))


def _preludes(graph: Graph, ordered: Mapping[str, Stage]) -> dict[str, Stage]:
    """The stages that write nothing but parameters of others, from nothing that an artifact is. One with a `meta.dagster` is meant to be seen."""
    parameters = {tracked.path for stage in ordered.values() for tracked in stage.params}
    found: dict[str, Stage] = {}
    for name, stage in ordered.items():
        is_hidden = "dagster" not in stage.meta and all(before in found for before in graph.upstream(name))
        if is_hidden and stage.outs and parameters.issuperset(stage.writes):
            found[name] = stage
    return found


def _check_outputs_are_apart(stages: Iterable[Stage]) -> None:
    """As in DVC, no path is written by two stages, and no output lies inside another: its id would change with a neighbour's."""
    writers: dict[str, str] = {}
    written = [(out.path, stage.name) for stage in stages for out in stage.outs]
    for path, name in written:
        if path in writers:
            raise GraphError(f"dvc.yaml: {path} is an output of {writers[path]} and again of {name}; give each its own path")
        writers[path] = name
    for path, name in written:
        for folder in map(str, PurePosixPath(path).parents):
            if folder in writers:
                raise GraphError(
                    f"dvc.yaml: {path}, an output of {name}, lies inside {folder}, an output of {writers[folder]}; give it a place of its own"
                )
