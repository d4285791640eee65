"""Dagster's newest materializations against dvc.lock, and runs whose worker is dead."""

import functools
from collections.abc import Collection, Iterator, Mapping

from orchestration.bridge.lockfile import Lock
from orchestration.bridge.project import Project
from orchestration.bridge.versions import CODE_VERSION, DATA_VERSION, INPUT_VERSION, asset_name, provenance_tags
from orchestration.doctor.findings import Finding
from orchestration.records.dagster_records import DagsterRecords, Materialization, untold_stages
from orchestration.records.history import makings

_REMEDY = "restore it from a backup; or `figment doctor --repair` tells a new store what dvc.lock has, without the runs of before"
_WORKER_TAG = ".dagster/bridge_worker"


def examine_dagster(project: Project, lock: Lock, records: DagsterRecords, *, but: Collection[str]) -> Iterator[Finding]:
    """One finding for each stage of which Dagster's record is not dvc.lock's; those in `but` have a worse illness. Raises DagsterUnreadableError."""
    if not records.exists:
        if any(making.door in ("dagster", "figment") for making in makings(project, lock).values()):
            detail = "is gone, although Dagster made what dvc.lock records"
            yield Finding("dagster_missing", ".figment/dagster/history/runs/index.db", detail, _REMEDY, functools.partial(_report_all, project, lock))
        return
    # dvc.lock is the truth: what Dagster does not say of it was made outside, or its record is damaged.
    newest = records.newest()
    if newest and lock.entries and not any(asset_name(name) in newest for name in project.graph.stages):
        others = ", ".join(list(newest)[:3])
        detail = f"knows none of this project's artifacts, but {others}: it is another project's"
        yield Finding("dagster_foreign", ".figment/dagster/history/runs/index.db", detail, "bring back this project's own, or move it away")
    for name in untold_stages(project, records):
        if name in but:
            continue
        known = newest.get(asset_name(name))
        kind = "dagster_untold" if known is None else "dagster_disagrees"
        detail = "Dagster has no materialization of it; dvc.lock has one" if known is None else _differences(project, lock, name, known)
        remedy = "`figment doctor --repair` (or the mirror sensor of `figment up`) reports dvc.lock's version to Dagster"
        yield Finding(kind, name, detail, remedy, functools.partial(_report, project, name))
    yield from _not_in_lock(project, lock, newest)
    yield from _dead_runs(project, records)


def _report_all(project: Project, lock: Lock) -> str:
    for name in lock.entries:
        if name in project.graph.stages:
            _report(project, name)
    return "reported all of dvc.lock to a new Dagster store; its runs and events of before are lost"


def _not_in_lock(project: Project, lock: Lock, newest: Mapping[str, Materialization]) -> Iterator[Finding]:
    """Artifacts that Dagster takes for made although dvc.lock lost, or never had, their entry."""
    for name in project.graph.stages:
        known = newest.get(asset_name(name))
        if known is not None and name not in lock.entries:
            detail = f"Dagster's newest materialization has the id {known.id}, dvc.lock has no entry for it"
            yield Finding(
                "dagster_disagrees", name, detail, f"`git checkout {project.graph[name].lock_file}` if it had one, else `figment materialize {name}`"
            )


def _differences(project: Project, lock: Lock, name: str, known: Materialization) -> str:
    tags = provenance_tags(project, lock, name)
    # What differs, tag by tag, in words: the artifact's id, what it was made by, and what it read.
    gone = [key.removeprefix(INPUT_VERSION) for key in known.tags if key.startswith(INPUT_VERSION) and key not in tags]
    words = [f"Dagster says it read {before}, which it does not any more" for before in gone]
    for key, value in tags.items():
        said = known.tags.get(key)
        if said == value:
            continue
        if key == DATA_VERSION:
            words.append(f"Dagster's newest materialization has the id {said}, dvc.lock {value}")
        elif key == CODE_VERSION:
            words.append("Dagster recorded another command, parameters or code than dvc.lock")
        elif key.startswith(INPUT_VERSION):
            words.append(f"Dagster says it read {key.removeprefix(INPUT_VERSION)} as {said}, dvc.lock as {value}")
        else:
            words.append(f"Dagster's record has {key} = {said}, expected {value}")
    return "; ".join(words)


def _report(project: Project, name: str) -> str:
    from orchestration.bridge.mirror import report_outside_changes
    from orchestration.runs.dagster_run import open_instance

    with open_instance(project.root) as instance:
        report_outside_changes(instance, project.again(), [name])
    return f"reported dvc.lock's version of {name} to Dagster"


def _dead_runs(project: Project, records: DagsterRecords) -> Iterator[Finding]:
    begun = [run for run in records.unfinished_runs() if _WORKER_TAG in run.tags]
    if not begun:
        return
    from orchestration.bridge.dead_runs import is_dead

    for run in begun:
        if is_dead(run.tags[_WORKER_TAG]):
            pid = run.tags[_WORKER_TAG].rsplit(".", maxsplit=2)[1]
            detail = f"is {run.status} in Dagster, but the process that worked on it (pid {pid}) is gone"
            yield Finding(
                "dagster_run_dead", f"run {run.run_id}", detail, "`figment doctor --repair` marks it failed", functools.partial(_reap, project)
            )


def _reap(project: Project) -> str:
    from orchestration.bridge.dead_runs import reap_dead_runs
    from orchestration.runs.dagster_run import open_instance

    with open_instance(project.root) as instance:
        reaped = reap_dead_runs(instance)
    return f"marked as ended: {', '.join(reaped)}" if reaped else "all dead runs are marked already"
