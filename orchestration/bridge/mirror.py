"""Tell Dagster what DVC did without it: after `dvc repro`, `dvc checkout` or `git pull`, each stage's record becomes a materialization event."""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import dagster as dg

from orchestration.bridge.facts import output_facts
from orchestration.bridge.graph import Stage
from orchestration.bridge.lockfile import Lock, LockEntry
from orchestration.bridge.materialize import running_stages
from orchestration.bridge.project import Project
from orchestration.bridge.versions import INPUT_POINTER, INPUT_VERSION, asset_name, asset_path, provenance_tags


def asset_key(stage: str) -> dg.AssetKey:
    """The asset of a stage: the stage's own name; `train/small` for the variant `train@small`."""
    return dg.AssetKey(asset_path(stage))


def stage_name(key: dg.AssetKey) -> str:
    """The stage of an asset key that `asset_key` made."""
    return "@".join(key.path)


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
    lock = project.lock()
    running = running_stages(project)
    wanted = set(names) if names is not None else set(project.graph.stages)
    for name in project.graph.stages:
        if name not in lock.entries or name not in wanted or name in running:
            continue
        tags = provenance_tags(project.graph, lock, name)
        # A dependency that was taken out of dvc.yaml must leave Dagster's record too.
        known = {key: value for key, value in latest_tags(instance, name).items() if key in tags or key.startswith(INPUT_VERSION)}
        if known != tags:
            yield name, _event(instance, project, lock, name, tags)


def latest_tags(instance: dg.DagsterInstance, name: str) -> dict[str, str]:
    """The tags of the newest materialization Dagster knows of the stage; empty when it knows none."""
    event = instance.get_latest_materialization_event(asset_key(name))
    materialization = event.asset_materialization if event else None
    return dict(materialization.tags or {}) if materialization else {}


def pointer_tags(instance: dg.DagsterInstance, names: Iterable[str]) -> dict[str, str]:
    """For each upstream stage, where in Dagster's event log its newest materialization stands."""
    found = {}
    for name in names:
        record = instance.get_latest_data_version_record(asset_key(name))
        found[INPUT_POINTER + asset_name(name)] = str(record.storage_id) if record else "NULL"
    return found


def _event(instance: dg.DagsterInstance, project: Project, lock: Lock, name: str, tags: dict[str, str]) -> dg.AssetMaterialization:
    stage = project.graph[name]
    metadata: dict[str, Any] = {
        "id": lock.entries[name].output_id(stage) or "",
        "door": _door(project, name, lock.entries[name].output_id(stage)),
        "outputs": dict(lock.entries[name].outs),
        **_facts(project, stage, lock.entries[name]),
    }
    return dg.AssetMaterialization(
        asset_key=asset_key(name),
        description="recorded by DVC outside Dagster",
        metadata=metadata,
        tags=tags | pointer_tags(instance, project.graph.upstream(name)),
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
