"""One Dagster asset per stage of dvc.yaml. The body asks whether the stage is stale, runs its command under Pipes, and has DVC record it."""

import dataclasses
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote

import dagster as dg
from dagster._core.storage.local_compute_log_manager import LocalComputeLogManager

from .dvc_repo import DvcBusy
from .executor import cancel_event
from .facts import output_facts
from .graph import GraphError, Stage, shown_command
from .growing_file import GrowingFileMessageReader
from .materialize import Materialized, Request, StageCancelled, StageFailed, Surroundings, materialize
from .meta import StageMeta, stage_meta
from .mirror import as_json, key_in, pointer_tags, report_outside_changes
from .process import Hold, Outcome
from .project import Project
from .stage_lock import StageBusy
from .translator import DagsterDvcTranslator, escaped, op_names, translate
from .versions import provenance_tags

FORCE_TAG = "force"
_TO_READ = dg.MarkdownMetadataValue | dg.UrlMetadataValue | dg.PathMetadataValue
# A run tag: who asked, where it was not Dagster itself; remembered with the artifact.
DOOR_TAG = "door"
# How a stage's command is run: (stage, its meta, environment, what hears its lines, whether to stop, what to hold until then) -> how it ended.
StageRunner = Callable[[Stage, StageMeta, Mapping[str, str], Callable[[str, str], None], Callable[[], bool], Hold], Outcome]
# A runner whose commands outlive this process also has `is_under_way(stage, made_from)`: whether one that makes the stage from the inputs of that
# name runs already, or has ended unseen, so that calling the runner only follows it.
IsUnderWay = Callable[[Stage, str], bool]
# One that shares its outputs with other machines has `take_turn`, as `Surroundings` wants it.


class StageConfig(dg.Config):
    """Launch choices of one stage; what decides its bytes lives in params.yaml."""

    force: bool = False


def build_stage_assets(
    project: Project, run: StageRunner, *, door: str = "dagster", translator: DagsterDvcTranslator | None = None
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """The assets of every artifact, with the code versions that hold at this moment, and the external ones of what .dvc files track.

    run: starts a command; the seam where a launcher decides how it reaches a processor. translator: how they look.
    Raises GraphError when a stage's `meta.dagster` cannot be used.
    """
    return assets_of(*translate(project, translator), run, door)


def assets_of(
    project: Project, specs: Mapping[str, dg.AssetSpec], run: StageRunner, door: str = "dagster"
) -> list[dg.AssetsDefinition | dg.AssetSpec]:
    """The assets of what `translate` gave."""
    names = op_names(project.graph)
    assets = [_stage_asset(project, stage, specs[name], names[name], run, door) for name, stage in project.graph.stages.items()]
    return [*assets, *(specs[name] for name in project.graph.sources)]


def _stage_asset(project: Project, stage: Stage, spec: dg.AssetSpec, op: str, run: StageRunner, door: str) -> dg.AssetsDefinition:
    key, meta = spec.key, stage_meta(stage)

    @dg.multi_asset(
        name=op,
        specs=[spec],
        check_specs=reported_checks(stage, key),
        pool=meta.pool,
        can_subset=True,
    )
    def stage_asset(context: dg.AssetExecutionContext, config: StageConfig) -> Iterator[Any]:
        if key not in context.selected_asset_keys:
            # Only checks were asked for; those the stage reports itself exist after a run and not before.
            return
        yield from materialize_in_dagster(context, project, stage, run, door, force=config.force)

    return stage_asset


def reported_checks(stage: Stage, key: dg.AssetKey) -> list[dg.AssetCheckSpec]:
    """The checks that the stage's command makes itself, by its `meta.dagster.checks`."""
    return [dg.AssetCheckSpec(name, asset=key, description="reported by the stage itself") for name in stage_meta(stage).checks]


def _is_forced(context: dg.AssetExecutionContext) -> bool:
    return context.run.tags.get(FORCE_TAG, "").lower() == "true"


def materialize_in_dagster(
    context: dg.AssetExecutionContext, project: Project, stage: Stage, run: StageRunner, door: str, *, force: bool = False
) -> Iterator[Any]:
    """Bring one stage up to date within a step; its check results and its MaterializeResult. Raises dg.Failure."""
    project, meta = project.again(), stage_meta(stage)
    door, force = context.run.tags.get(DOOR_TAG, door), force or _is_forced(context)
    # What `dvc repro` made meanwhile must stand in Dagster before something is said to be made from it.
    report_outside_changes(context.instance, project, project.graph.upstream(stage.name))
    cancelled = cancel_event(context.run.run_id).is_set
    reports = _Reports()
    is_under_way: IsUnderWay = getattr(run, "is_under_way", lambda stage, made_from: False)

    def run_under_pipes(stage: Stage, environment: Mapping[str, str], hold: Hold) -> Outcome:
        # Opened for a run only: an unchanged stage has nothing to say. Messages lie in the project's own folder, which the nodes of a cluster see as
        # well; what a command that is under way has said before is heard again.
        messages = project.paths.state / "pipes" / quote(stage.name, safe="@")
        if not is_under_way(stage, hold.made_from):
            messages.unlink(missing_ok=True)
        with dg.open_pipes_session(
            context=context, context_injector=dg.PipesEnvContextInjector(), message_reader=GrowingFileMessageReader(messages)
        ) as session:
            variables = {**environment, **session.get_bootstrap_env_vars(), **run_variables(context)}
            outcome = run(stage, meta, variables, _speaker(stage.name), cancelled, hold)
        messages.unlink(missing_ok=True)
        heard = [event for event in session.get_results(implicit_materializations=False) if isinstance(event, dg.AssetCheckResult)]
        # Dagster fails a step for a check that nobody announced: work of hours must not be lost for a line that dvc.yaml lacks.
        reports.checks = [event for event in heard if event.check_name in meta.checks]
        if unannounced := sorted({str(event.check_name) for event in heard} - set(meta.checks)):
            named = ", ".join(unannounced)
            context.log.warning("%s reported checks that its `meta.dagster.checks` in dvc.yaml does not name: %s; add them", stage.name, named)
        reports.metadata = reported_metadata(session.get_custom_messages())
        return outcome

    surroundings = Surroundings(run_under_pipes, log=context.log.info, is_cancelled=cancelled, is_under_way=is_under_way)
    if take_turn := getattr(run, "take_turn", None):

        def take_turn_aloud(name: str, made_from: str, tell: Callable[[str], None], is_cancelled: Callable[[], bool]) -> Any:
            # Who waits for another machine wants to see it where the command's lines would stand.
            def tell_both(words: str) -> None:
                tell(words)
                _speaker(name)("stderr", words)

            return take_turn(name, made_from, tell_both, is_cancelled)

        surroundings = dataclasses.replace(surroundings, take_turn=take_turn_aloud)
    try:
        done = materialize(project, Request(stage.name, door, force), surroundings)
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
    tags = provenance_tags(project, lock, stage.name) | pointer_tags(context.instance, project.graph, stage.name)
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
        metadata["made because"] = dg.MetadataValue.md("\n".join(f"- {escaped(cause.text)}" for cause in done.causes))
    if done.outcome:
        used = done.outcome
        metadata |= {"seconds": round(used.seconds, 3), "cpu_seconds": used.cpu_seconds, "peak_rss_bytes": used.peak_rss_bytes}
    if done.trespasses:
        metadata["written outside its output"] = as_json(list(done.trespasses[:100]))
    kept = {key: value for key, value in metadata.items() if value is not None}
    return dg.MaterializeResult(asset_key=key_in(project.graph, stage.name), data_version=dg.DataVersion(done.id), metadata=kept, tags=tags)


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
    metadata: dict[str, Any] = {"command": shown_command(stage.cmd)}
    metadata |= step_log(context, has_run=outcome is not None)
    if outcome:
        metadata |= {"status": outcome.returncode, "signal": outcome.signal or 0, "stderr": dg.MetadataValue.md(f"```\n{outcome.stderr_tail}\n```")}
    # A command ended by a signal from outside (out of memory, a machine going down) is worth another try; its own errors are not.
    return dg.Failure(str(error), metadata=metadata, allow_retries=bool(outcome and outcome.signal))


def _speaker(name: str) -> Callable[[str, str], None]:
    def speak(stream: str, line: str) -> None:
        print(f"{name} | {line}", file=sys.stderr if stream == "stderr" else sys.stdout, flush=True)

    return speak
