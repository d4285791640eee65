"""What Dagster does on its own: mirror DVC, notice edits, clean up after dead runs, start scheduled stages."""

import json
import os
import urllib.request
from pathlib import Path
from typing import Any

import dagster as dg

from .assets import FORCE_TAG
from .facts import pictures_of
from .lockfile import Lock
from .meta import Schedule, stage_meta
from .mirror import key_in, outside_changes
from .preludes import prepared
from .project import Project
from .status import project_status
from .translator import op_names
from .versions import current_code_version

_RUNNING = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]
_RELOAD = "mutation Reload($name: String!) { reloadRepositoryLocation(repositoryLocationName: $name) { __typename } }"


def build_mirror_sensor(project: Project, *, seconds: int = 15) -> dg.SensorDefinition:
    """Every few seconds: what DVC recorded outside Dagster becomes events, and edited files become new code versions in the UI.

    Dagster compares with the code versions its code server loaded; after an edit, and when pictures shown with an asset were made anew, the webserver
    (address in DAGSTER_WEBSERVER_URL; a file with its bearer token, if any, in DAGSTER_WEBSERVER_TOKEN_FILE) is asked to reload its code location,
    once per state of the files.
    """
    words = "Reports what `dvc repro` made outside Dagster as materializations, and reloads what is shown here after an edit."

    @dg.sensor(
        name="_".join([*project.key_prefix, "dvc_mirror"]),
        description=words,
        minimum_interval_seconds=seconds,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def dvc_mirror(context: dg.SensorEvaluationContext) -> dg.SensorResult | dg.SkipReason:
        """Reports what `dvc repro` made outside Dagster, and reloads code versions after edits."""
        now = prepared(project.again())
        versions = json.dumps(_what_is_shown(now, now.lock()), sort_keys=True)
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
    names = op_names(project.graph)
    for stage in project.graph.stages.values():
        meta = stage_meta(stage)
        if meta.schedule is None:
            continue
        words = f"Runs the command of {stage.name} again, although nothing that it is made from changed: its source may have."
        job = dg.define_asset_job(
            f"refresh_{names[stage.name]}", selection=[key_in(project.graph, stage.name)], description=words, tags={FORCE_TAG: "true"}
        )
        found.append(_schedule(job, stage.name, meta.schedule))
    return found


def _schedule(job: Any, stage: str, when: Schedule) -> dg.ScheduleDefinition:
    # Whoever writes a schedule into dvc.yaml wants it kept; the automation page can switch it off.
    running = dg.DefaultScheduleStatus.RUNNING
    words = f"Asks the source of {stage} anew ({when.cron}, {when.timezone}), unless a run of it is still under way."

    @dg.schedule(
        job=job, cron_schedule=when.cron, execution_timezone=when.timezone, name=f"{job.name}_schedule", description=words, default_status=running
    )
    def scheduled(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
        """Starts the stage unless a run of it is still under way."""
        busy = context.instance.get_runs(dg.RunsFilter(job_name=job.name, statuses=_RUNNING), limit=1)
        if busy:
            return dg.SkipReason(f"run {busy[0].run_id} of {job.name} is still under way")
        return dg.RunRequest(run_key=context.scheduled_execution_time.isoformat())

    return scheduled


def _what_is_shown(project: Project, lock: Lock) -> dict[str, Any]:
    """What a code server says of each stage when it starts: its code version, and the pictures in its description by their id."""
    shown = {}
    for name, status in project_status(project).items():
        pictures = pictures_of(project, project.graph[name])
        entry = lock.entries.get(name) if pictures else None
        shown[name] = [current_code_version(project, lock, status), entry.output_id(project.graph[name]) if entry else None]
    return shown


def _reload_webserver(context: dg.SensorEvaluationContext) -> None:
    address = os.environ.get("DAGSTER_WEBSERVER_URL")
    location = context.code_location_origin.location_name if context.code_location_origin else None
    if not address or not location:
        return
    body = json.dumps({"query": _RELOAD, "variables": {"name": location}}).encode()
    headers = {"Content-Type": "application/json"}
    try:
        if token_file := os.environ.get("DAGSTER_WEBSERVER_TOKEN_FILE"):
            headers["Authorization"] = f"Bearer {Path(token_file).read_text(encoding='utf-8').strip()}"
        request = urllib.request.Request(f"{address.rstrip('/')}/graphql", data=body, headers=headers)  # noqa: S310 - our own server
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - our own server
            answer.read()
    except OSError as error:
        context.log.warning("the webserver at %s did not reload its code versions (%s); press Reload in its deployment page", address, error)
