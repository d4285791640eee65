"""Tell Dagster what DVC did without it: after `dvc repro`, `dvc checkout` or `git pull`, each stage's record becomes a materialization event."""

import functools
import json
from collections.abc import Iterable, Iterator
from typing import Any

import dagster as dg

from .facts import output_facts
from .graph import Graph, Stage, asset_path
from .lockfile import Lock, LockEntry
from .materialize import running_stages
from .project import Project
from .versions import DATA_VERSION, INPUT_POINTER, INPUT_VERSION, provenance_tags


def asset_key(stage: str) -> dg.AssetKey:
    """The asset of a stage where nobody chose another key: the stage's own name; `train/small` for the variant `train@small`."""
    return dg.AssetKey(asset_path(stage))


def key_in(graph: Graph, name: str) -> dg.AssetKey:
    """The asset of a stage or source in a graph, whose assets may have a prefix or keys of their own."""
    return dg.AssetKey(list(graph.key(name)))


def outside_changes(instance: dg.DagsterInstance, project: Project, names: Iterable[str] | None = None) -> list[dg.AssetMaterialization]:
    """The events that bring Dagster's records in line with dvc.lock; none when they already agree. Stages that run now are left alone."""
    return [change for _, change in _changes(instance, project, names)]


def report_outside_changes(instance: dg.DagsterInstance, project: Project, names: Iterable[str] | None = None) -> list[str]:
    """Record `outside_changes` at once; the names of the stages reported."""
    reported = []
    for name, change in _changes(instance, project, names):
        # Before the next one is made, which may point to this event.
        instance.report_runless_asset_event(change)
        reported.append(name)
    return reported


def _changes(instance: dg.DagsterInstance, project: Project, names: Iterable[str] | None) -> Iterator[tuple[str, dg.AssetMaterialization]]:
    # What a stage was made from must stand in Dagster before something is said to be made from it.
    report_sources(instance, project)
    lock = project.lock()
    running = running_stages(project)
    wanted = set(names) if names is not None else set(project.graph.stages)
    for name in project.graph.stages:
        if name not in lock.entries or name not in wanted or name in running:
            continue
        tags = provenance_tags(project, lock, name, functools.partial(_data_version, instance, project.graph))
        # A dependency that was taken out of dvc.yaml must leave Dagster's record too.
        known = {key: value for key, value in latest_tags(instance, project.graph, name).items() if key in tags or key.startswith(INPUT_VERSION)}
        if known != tags:
            yield name, _event(instance, project, lock, name, tags)


def latest_tags(instance: dg.DagsterInstance, graph: Graph, name: str) -> dict[str, str]:
    """The tags of the newest materialization Dagster knows of the stage; empty when it knows none."""
    event = instance.get_latest_materialization_event(key_in(graph, name))
    materialization = event.asset_materialization if event else None
    return dict(materialization.tags or {}) if materialization else {}


def _data_version(instance: dg.DagsterInstance, graph: Graph, name: str) -> str | None:
    return latest_tags(instance, graph, name).get(DATA_VERSION)


def pointer_tags(instance: dg.DagsterInstance, graph: Graph, name: str) -> dict[str, str]:
    """For each stage and source that `name` reads, where in Dagster's event log its newest version stands."""
    found = {}
    for before in (*graph.parents(name), *graph.sources_of(name)):
        key = key_in(graph, before)
        record = instance.get_latest_data_version_record(key)
        found[INPUT_POINTER + key.to_user_string()] = str(record.storage_id) if record else "NULL"
    return found


def report_sources(instance: dg.DagsterInstance, project: Project) -> None:
    """Record in Dagster the version of each source that it does not know: what its .dvc file says now."""
    for name, source in project.graph.sources.items():
        if _data_version(instance, project.graph, name) != source.id:
            metadata: dict[str, Any] = {"id": source.id, "outputs": as_json(list(source.ids)), **({"from": source.origin} if source.origin else {})}
            words = "recorded by DVC in its .dvc file"
            key = key_in(project.graph, name)
            instance.report_runless_asset_event(dg.AssetMaterialization(key, words, metadata, tags={DATA_VERSION: source.id}))


def _event(instance: dg.DagsterInstance, project: Project, lock: Lock, name: str, tags: dict[str, str]) -> dg.AssetMaterialization:
    stage = project.graph[name]
    metadata: dict[str, Any] = {
        "id": lock.entries[name].output_id(stage) or "",
        "door": _door(project, name, lock.entries[name].output_id(stage)),
        "outputs": dict(lock.entries[name].outs),
        **_facts(project, stage, lock.entries[name]),
    }
    return dg.AssetMaterialization(
        asset_key=key_in(project.graph, name),
        description="recorded by DVC outside Dagster",
        metadata=metadata,
        tags=tags | pointer_tags(instance, project.graph, name),
    )


def _facts(project: Project, stage: Stage, entry: LockEntry) -> dict[str, Any]:
    """Rows and metrics of the outputs, where what lies on disk is what the record speaks of."""
    contents = {out.path: project.content(out.path) for out in stage.data_outs}
    is_here = all(content and content.id == entry.outs.get(path) for path, content in contents.items())
    return output_facts(project, stage) if is_here else {}


def _door(project: Project, name: str, id: str | None) -> str:
    row = project.store.connection().execute("SELECT door FROM events WHERE stage = ? AND id = ? ORDER BY number DESC LIMIT 1", (name, id)).fetchone()
    return row[0] if row else "dvc"


def as_json(value: object) -> dg.MetadataValue:
    """Any plain value as Dagster metadata."""
    return dg.MetadataValue.json(json.loads(json.dumps(value, default=str)))
