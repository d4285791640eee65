"""One Dagster asset per stage of dvc.yaml. The body asks whether the stage is stale, runs its command under Pipes, and has DVC record it."""

import base64
import contextlib
import dataclasses
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import dagster as dg
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

from orchestration.bridge.automation import automation_condition, freshness_policy
from orchestration.bridge.dvc_repo import DvcBusy
from orchestration.bridge.executor import cancel_event
from orchestration.bridge.facts import output_facts, pictures_of
from orchestration.bridge.graph import GraphError, Stage
from orchestration.bridge.materialize import Materialized, Request, StageCancelled, StageFailed, Surroundings, materialize
from orchestration.bridge.meta import StageMeta, stage_meta
from orchestration.bridge.mirror import as_json, asset_key, pointer_tags, report_outside_changes
from orchestration.bridge.preludes import prepared
from orchestration.bridge.process import Hold, Outcome
from orchestration.bridge.project import Project
from orchestration.bridge.stage_lock import StageBusy
from orchestration.bridge.status import project_status
from orchestration.bridge.versions import current_code_version, provenance_tags

FORCE_TAG = "force"
_TO_READ = dg.MarkdownMetadataValue | dg.UrlMetadataValue | dg.PathMetadataValue
# A run tag: who asked, where it was not Dagster itself; remembered with the artifact.
DOOR_TAG = "door"
# Of the pictures in one description: every page that lists assets loads it.
_MOST_PICTURE_BYTES = 120_000
# How a stage's command is run: (stage, its meta, environment, what hears its lines, whether to stop, what to hold until then) -> how it ended.
StageRunner = Callable[[Stage, StageMeta, Mapping[str, str], Callable[[str, str], None], Callable[[], bool], Hold], Outcome]


class StageConfig(dg.Config):
    """Launch choices of one stage; what decides its bytes lives in params.yaml."""

    force: bool = False


def build_stage_assets(project: Project, run: StageRunner, *, door: str = "dagster") -> list[dg.AssetsDefinition]:
    """The assets of every artifact, with the code versions that hold at this moment.

    run: starts a command; the seam where a launcher decides how it reaches a processor.
    Raises GraphError when a stage's `meta.dagster` cannot be used.
    """
    project = prepared(project)
    lock = project.lock()
    statuses = project_status(project)
    return [
        _stage_asset(project, stage, stage_meta(stage), current_code_version(project, lock, statuses[name]), run, door)
        for name, stage in project.graph.stages.items()
    ]


def asset_description(project: Project, stage: Stage) -> str:
    """What the stage is, and below it the pictures that dvc.yaml lists under `plots` and the stage has made, as far as they are small.

    Dagster shows the description without a click, but any longer Markdown of a materialization behind one.
    """
    words = stage.desc or " && ".join(stage.cmd)
    pictures = []
    left = _MOST_PICTURE_BYTES
    for path in pictures_of(project, stage):
        picture = project.root / path
        # An output that is being replaced is not there for a moment. A grid of snapshots may be as large as 8K: its size is asked for first.
        with contextlib.suppress(OSError):
            if (size := picture.stat().st_size) <= left:
                content = base64.b64encode(picture.read_bytes()).decode("ascii")
                pictures.append(f"![{_escape(picture.stem)}](data:image/png;base64,{content})")
                left -= size
    return "\n\n".join([words, *pictures])


def op_name(stage: str) -> str:
    """A stage name as Dagster allows it for ops and jobs."""
    return re.sub(r"[^A-Za-z0-9_]", "_", stage)


def _stage_asset(project: Project, stage: Stage, meta: StageMeta, code_version: str, run: StageRunner, door: str) -> dg.AssetsDefinition:
    key = asset_key(stage.name)

    @dg.multi_asset(
        name=op_name(stage.name),
        specs=[
            dg.AssetSpec(
                key,
                deps=[asset_key(before) for before in project.graph.upstream(stage.name)],
                description=asset_description(project, stage),
                code_version=code_version,
                group_name=meta.group,
                kinds=set(meta.kinds) or {"dvc"},
                owners=list(meta.owners),
                tags=dict(meta.tags),
                automation_condition=automation_condition(meta),
                freshness_policy=freshness_policy(meta),
                metadata={"command": " && ".join(stage.cmd), "outputs": [out.path for out in stage.outs]},
            )
        ],
        check_specs=[dg.AssetCheckSpec(name, asset=key, description="reported by the stage itself") for name in meta.checks],
        pool=meta.pool,
        can_subset=True,
    )
    def stage_asset(context: dg.AssetExecutionContext, config: StageConfig) -> Iterator[Any]:
        if key not in context.selected_asset_keys:
            # Only checks were asked for; those the stage reports itself exist after a run and not before.
            return
        asked_through = context.run.tags.get(DOOR_TAG, door)
        yield from _materialize_in_dagster(context, project.again(), stage, meta, run, asked_through, force=config.force or _is_forced(context))

    return stage_asset


def _is_forced(context: dg.AssetExecutionContext) -> bool:
    return context.run.tags.get(FORCE_TAG, "").lower() == "true"


def _materialize_in_dagster(
    context: dg.AssetExecutionContext, project: Project, stage: Stage, meta: StageMeta, run: StageRunner, door: str, *, force: bool
) -> Iterator[Any]:
    # What `dvc repro` made meanwhile must stand in Dagster before something is said to be made from it.
    report_outside_changes(context.instance, project, project.graph.upstream(stage.name))
    cancelled = cancel_event(context.run.run_id).is_set
    reports = _Reports()

    def run_under_pipes(stage: Stage, environment: Mapping[str, str], hold: Hold) -> Outcome:
        # Opened for a run only: an unchanged stage has nothing to say.
        with dg.open_pipes_session(
            context=context, context_injector=dg.PipesTempFileContextInjector(), message_reader=dg.PipesTempFileMessageReader()
        ) as session:
            variables = {**environment, **session.get_bootstrap_env_vars(), **run_variables(context)}
            outcome = run(stage, meta, variables, _speaker(stage.name), cancelled, hold)
        reports.checks = [event for event in session.get_results(implicit_materializations=False) if isinstance(event, dg.AssetCheckResult)]
        reports.metadata = reported_metadata(session.get_custom_messages())
        return outcome

    request = Request(stage.name, door, force)
    surroundings = Surroundings(run_under_pipes, log=context.log.info, is_cancelled=cancelled)
    try:
        done = materialize(project, request, surroundings)
    except (StageFailed, StageBusy, GraphError, DvcBusy, InterruptedError) as error:
        # Check results that arrived before a failure are kept: they often say why.
        yield from reports.checks
        raise _dagster_failure(context, stage, error) from None
    yield from reports.checks
    yield _result(context, project.again(), stage, done, reports.metadata)


@dataclasses.dataclass
class _Reports:
    """What a stage said over Pipes while it ran."""

    checks: list[dg.AssetCheckResult] = dataclasses.field(default_factory=list)
    metadata: dict[str, Any] = dataclasses.field(default_factory=dict)


def run_variables(context: dg.AssetExecutionContext) -> dict[str, str]:
    """What a command may want to know of the Dagster run that started it, for links back."""
    address = os.environ.get("DAGSTER_WEBSERVER_URL", "")
    variables = {"DAGSTER_RUN_ID": context.run.run_id}
    if address:
        variables["DAGSTER_RUN_URL"] = f"{address.rstrip('/')}/runs/{context.run.run_id}"
    return variables


def reported_metadata(messages: Any) -> dict[str, Any]:
    """The metadata a stage sent over Pipes as `{"metadata": …}` messages; later values win."""
    merged: dict[str, Any] = {}
    for message in messages:
        if isinstance(message, Mapping):
            merged.update(message.get("metadata", {}))
    return {key: _metadata_value(value) for key, value in merged.items()}


def _metadata_value(value: Any) -> Any:
    if isinstance(value, Mapping) and set(value) == {"raw_value", "type"}:
        make = {"md": dg.MetadataValue.md, "url": dg.MetadataValue.url, "path": dg.MetadataValue.path, "json": as_json}.get(value["type"])
        return make(value["raw_value"]) if make else as_json(value["raw_value"])
    return value


def _result(
    context: dg.AssetExecutionContext, project: Project, stage: Stage, done: Materialized, reported: Mapping[str, Any]
) -> dg.MaterializeResult:
    lock = project.lock()
    tags = provenance_tags(project.graph, lock, stage.name) | pointer_tags(context.instance, project.graph.upstream(stage.name))
    if done.trespasses:
        named = ", ".join(done.trespasses[:20])
        context.log.warning("%s or somebody else wrote outside its output folder while it ran: %s", stage.name, named)
    # What was written for people comes first, then the numbers of its metric files; the page shows metadata in this order.
    to_read = {key: value for key, value in reported.items() if isinstance(value, _TO_READ)}
    metadata: dict[str, Any] = {
        **to_read,
        **output_facts(project, stage),
        **reported,
        "id": done.id,
        "how": done.how,
        "files": done.content.files,
        "bytes": done.content.bytes,
        **step_log(context, has_run=done.outcome is not None),
    }
    if done.causes:
        metadata["made because"] = dg.MetadataValue.md("\n".join(f"- {_escape(cause.text)}" for cause in done.causes))
    if done.outcome:
        used = done.outcome
        metadata |= {"seconds": round(used.seconds, 3), "cpu_seconds": used.cpu_seconds, "peak_rss_bytes": used.peak_rss_bytes}
    if done.trespasses:
        metadata["written outside its output"] = as_json(list(done.trespasses[:100]))
    kept = {key: value for key, value in metadata.items() if value is not None}
    return dg.MaterializeResult(asset_key=asset_key(stage.name), data_version=dg.DataVersion(done.id), metadata=kept, tags=tags)


def step_log(context: dg.AssetExecutionContext, *, has_run: bool = True) -> dict[str, dg.MetadataValue]:
    """Where what the stage's command printed is kept, and its page; nothing where no command ran, or Dagster keeps logs elsewhere."""
    manager, step = context.instance.compute_log_manager, context.get_step_execution_context().step.key
    found: dict[str, dg.MetadataValue] = {}
    if has_run and isinstance(manager, LocalComputeLogManager):
        path = manager.get_captured_local_path(manager.build_log_key_for_run(context.run.run_id, step), "err")
        found["log_file"] = dg.MetadataValue.path(os.path.relpath(path))
    if has_run and (address := run_variables(context).get("DAGSTER_RUN_URL")):
        found["log"] = dg.MetadataValue.url(f"{address}?logType=stderr&logFileKey={step}")
    return found


def _dagster_failure(context: dg.AssetExecutionContext, stage: Stage, error: Exception) -> Exception:
    if isinstance(error, StageCancelled | InterruptedError):
        return dg.Failure(str(error), allow_retries=False)
    outcome = error.outcome if isinstance(error, StageFailed) else None
    metadata: dict[str, Any] = {"command": " && ".join(stage.cmd)}
    metadata |= step_log(context, has_run=outcome is not None)
    if outcome:
        metadata |= {"status": outcome.returncode, "signal": outcome.signal or 0, "stderr": dg.MetadataValue.md(f"```\n{outcome.stderr_tail}\n```")}
    # A command ended by a signal from outside (out of memory, a machine going down) is worth another try; its own errors are not.
    return dg.Failure(str(error), metadata=metadata, allow_retries=bool(outcome and outcome.signal))


def _speaker(name: str) -> Callable[[str, str], None]:
    def speak(stream: str, line: str) -> None:
        print(f"{name} | {line}", file=sys.stderr if stream == "stderr" else sys.stdout, flush=True)

    return speak


def _escape(text: str) -> str:
    """Text from files and people, made safe to stand in Markdown."""
    return re.sub(r"([\\`*_{}\[\]<>#|])", r"\\\1", text)
