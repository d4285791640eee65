"""The words Dagster keeps for a stage, computed from DVC's: code version, data version, and the versions of inputs.

Dagster compares the code version and the input versions recorded with the last materialization with today's. It cannot see files: a
damaged output, an output deleted, an input changed behind its writer's back. Such a deviation is added to today's code version as a
suffix, so that Dagster calls stale what DVC calls changed, and nothing else.
"""

import hashlib
import json
from collections.abc import Callable, Mapping

from .graph import Graph, Source, Stage, asset_path
from .lockfile import Lock, LockEntry
from .project import Project
from .status import Cause, StageStatus, is_as_recorded

# Dagster's own tag names (dagster/_core/definitions/data_version.py).
DATA_VERSION = "dagster/data_version"
CODE_VERSION = "dagster/code_version"
INPUT_VERSION = "dagster/input_data_version/"
INPUT_POINTER = "dagster/input_event_pointer/"
USER_PROVIDED = "dagster/data_version_is_user_provided"


def asset_name(stage: str) -> str:
    """The asset of a stage as Dagster writes it, in its pages, selections and tags, where nobody chose another key."""
    return "/".join(asset_path(stage))


def recorded_code_version(graph: Graph, stage: Stage, entry: LockEntry) -> str:
    """The code version of what dvc.lock records: command, parameters, and dependencies that are no artifacts."""
    artifacts = graph.artifact_deps(stage.name)
    plain = {path: id for path, id in entry.deps.items() if path in stage.deps and path not in artifacts}
    params = {tracked.path: _known(entry.params.get(tracked.path, {}), tracked.keys) for tracked in stage.params}
    return _hash(entry.cmd, params, plain) if not stage.frozen else _hash(entry.cmd, {}, {})


def current_code_version(project: Project, lock: Lock, status: StageStatus) -> str:
    """The code version of the stage as it would run now, with a suffix for what only the file system knows."""
    stage = project.graph[status.name]
    artifacts = project.graph.artifact_deps(stage.name)
    # DVC does not look at what a frozen stage reads.
    contents = {path: project.content(path) for path in stage.deps if path not in artifacts and not stage.frozen}
    entry = lock.entries.get(stage.name)
    # An id that DVC 2 gave stands in the record until the stage is made again.
    plain = {
        path: entry.deps[path] if entry and is_as_recorded(project, path, content, entry.deps.get(path), entry) else content.id if content else None
        for path, content in contents.items()
    }
    params = {tracked.path: project.param_values(tracked) for tracked in stage.params if not stage.frozen}
    version = _hash(stage.cmd, params, plain)
    unseen = sorted(cause.text for cause in status.causes if _is_unseen(cause, stage, lock, artifacts))
    return f"{version}+{_digest(unseen)[:8]}" if unseen else version


def provenance_tags(project: Project, lock: Lock, name: str, in_dagster: Callable[[str], str | None] = lambda name: None) -> dict[str, str]:
    """The tags of a materialization event that says what dvc.lock says of the stage, without event pointers.

    in_dagster: the data version that Dagster knows of a stage; asked of one upstream of which dvc.lock has no entry.
    """
    graph = project.graph
    stage, entry = graph[name], lock.entries[name]
    id = entry.output_id(stage)
    tags = {DATA_VERSION: id or "", CODE_VERSION: recorded_code_version(graph, stage, entry), USER_PROVIDED: "true"}
    for before in graph.parents(name):
        tags[input_tag(graph, before)] = _input_version(project, lock, stage, before, in_dagster)
    for source in graph.sources_of(name):
        tags[input_tag(graph, source)] = _source_version(project, entry, stage, graph.sources[source])
    return tags


def input_tag(graph: Graph, before: str) -> str:
    """The tag that says which version of `before`, a stage or source, was read."""
    return INPUT_VERSION + "/".join(graph.key(before))


def _input_version(project: Project, lock: Lock, stage: Stage, before: str, in_dagster: Callable[[str], str | None]) -> str:
    """The version of the upstream artifact that this stage was made from: the present one where DVC sees no difference, else another word."""
    graph, entry, writer = project.graph, lock.entries[stage.name], lock.entries.get(before)
    present = (writer.output_id(graph[before]) if writer else in_dagster(before)) or "NULL"
    paths = [path for path, name in graph.artifact_deps(stage.name).items() if name == before]
    for path in paths:
        if writer is not None and path not in writer.outs:
            # A dependency inside an output has an id of its own, which the writer's entry does not list.
            continue
        if not _is_as_recorded(project, entry, path, writer.outs[path] if writer else None):
            return f"{entry.deps.get(path, 'unknown')}" if len(paths) == 1 else f"{present}-superseded"
    return present


def _source_version(project: Project, entry: LockEntry, stage: Stage, source: Source) -> str:
    for path in stage.deps:
        if path in source.ids and not _is_as_recorded(project, entry, path, source.ids[path]):
            return entry.deps.get(path, "unknown")
    return source.id


def _is_as_recorded(project: Project, entry: LockEntry, path: str, written: str | None) -> bool:
    """Whether the stage was made from what is there. DVC looks at the file, be it what its writer is recorded to have written or not."""
    recorded = entry.deps.get(path)
    return recorded is not None and (recorded == written or is_as_recorded(project, path, project.content(path), recorded, entry))


def _is_unseen(cause: Cause, stage: Stage, lock: Lock, artifacts: Mapping[str, str]) -> bool:
    if cause.kind in ("output", "withheld", "always", "never_made", "prelude"):
        return True
    if cause.kind == "input" and cause.subject in artifacts:
        own = lock.entries.get(stage.name)
        writer = lock.entries.get(artifacts[cause.subject])
        recorded = own.deps.get(cause.subject) if own else None
        # The writer's record differs from ours: Dagster sees that as a new version of its asset.
        return not (writer and cause.subject in writer.outs and writer.outs[cause.subject] != recorded)
    return False


def _known(values: Mapping[str, object], keys: tuple[str, ...]) -> dict[str, object]:
    return {key: value for key, value in values.items() if not keys or key in keys}


def _hash(cmd: tuple[str, ...], params: Mapping[str, object], plain: Mapping[str, object]) -> str:
    return _digest([list(cmd), params, plain])[:20]


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
