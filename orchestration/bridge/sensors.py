"""What Dagster does on its own: mirror DVC, notice edits, clean up after dead runs, start scheduled stages."""

import json
import os
import urllib.request
from typing import Any

import dagster as dg

from orchestration.bridge.assets import FORCE_TAG, op_name
from orchestration.bridge.lockfile import Lock
from orchestration.bridge.meta import stage_meta
from orchestration.bridge.mirror import asset_key, outside_changes
from orchestration.bridge.preludes import prepared
from orchestration.bridge.project import Project
from orchestration.bridge.status import project_status
from orchestration.bridge.versions import current_code_version

_RUNNING = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]
_RELOAD = "mutation Reload($name: String!) { reloadRepositoryLocation(repositoryLocationName: $name) { __typename } }"


def build_mirror_sensor(project: Project, *, seconds: int = 15) -> dg.SensorDefinition:
    """Every few seconds: what DVC recorded outside Dagster becomes events, and edited files become new code versions in the UI.

    Dagster compares with the code versions its code server loaded; after an edit the webserver (address in DAGSTER_WEBSERVER_URL) is
    asked to reload its code location, once per state of the files.
    """

    @dg.sensor(name="dvc_mirror", minimum_interval_seconds=seconds, default_status=dg.DefaultSensorStatus.RUNNING)
    def dvc_mirror(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        """Reports what `dvc repro` made outside Dagster, and reloads code versions after edits."""
        now = prepared(project.again())
        versions = json.dumps(_code_versions(now, now.lock()), sort_keys=True)
        changes = outside_changes(context.instance, now)
        if context.cursor != versions:
            _reload_webserver(context)
        elif not changes:
            return dg.SkipReason("dvc.lock and the files agree with what Dagster knows")
        return dg.SensorResult(asset_events=changes, cursor=versions)

    return dvc_mirror


def build_schedules(project: Project) -> list[dg.ScheduleDefinition]:
    """A job and a schedule for every stage whose meta has one; a tick is skipped while a run of its job is under way."""
    found = []
    for stage in project.graph.stages.values():
        meta = stage_meta(stage)
        if meta.schedule is None:
            continue
        job = dg.define_asset_job(f"refresh_{op_name(stage.name)}", selection=[asset_key(stage.name)], tags={FORCE_TAG: "true"})
        found.append(_schedule(job, meta.schedule.cron, meta.schedule.timezone))
    return found


def _schedule(job: Any, cron: str, timezone: str) -> dg.ScheduleDefinition:
    # Whoever writes a schedule into dvc.yaml wants it kept; the automation page can switch it off.
    running = dg.DefaultScheduleStatus.RUNNING

    @dg.schedule(job=job, cron_schedule=cron, execution_timezone=timezone, name=f"{job.name}_schedule", default_status=running)
    def scheduled(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        """Starts the stage unless a run of it is still under way."""
        busy = context.instance.get_runs(dg.RunsFilter(job_name=job.name, statuses=_RUNNING), limit=1)
        if busy:
            return dg.SkipReason(f"run {busy[0].run_id} of {job.name} is still under way")
        return dg.RunRequest(run_key=context.scheduled_execution_time.isoformat())

    return scheduled


def _code_versions(project: Project, lock: Lock) -> dict[str, str]:
    return {name: current_code_version(project, lock, status) for name, status in project_status(project).items()}


def _reload_webserver(context: dg.SensorEvaluationContext) -> None:
    address = os.environ.get("DAGSTER_WEBSERVER_URL")
    location = context.code_location_origin.location_name if context.code_location_origin else None
    if not address or not location:
        return
    body = json.dumps({"query": _RELOAD, "variables": {"name": location}}).encode()
    request = urllib.request.Request(f"{address.rstrip('/')}/graphql", data=body, headers={"Content-Type": "application/json"})  # noqa: S310 - our own server
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own server
            answer.read()
    except OSError as error:
        context.log.warning("the webserver at %s did not reload its code versions (%s); press Reload in its deployment page", address, error)
