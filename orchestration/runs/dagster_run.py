"""One Dagster run in this process, shown on the terminal while it goes on. Importing this module imports dagster."""

import dataclasses
import logging
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.events import DagsterEvent, DagsterEventType
from dagster._core.events.log import EventLogEntry
from dagster._core.execution.api import execute_run

from orchestration.bridge.assets import DOOR_TAG
from orchestration.bridge.meta import stage_meta
from orchestration.bridge.mirror import asset_key, report_outside_changes
from orchestration.bridge.project import Project
from orchestration.bridge.translator import op_name
from orchestration.errors import CommandError
from orchestration.launch.compute import COMPUTE_FILE, load_compute
from orchestration.launch.local import gpu_limit
from orchestration.records.lab import LabError, reach_database
from orchestration.records.seals import seal
from orchestration.runs.display import RunDisplay
from orchestration.runs.forecast import Forecast
from orchestration.runs.selection import Plan
from orchestration.runs.up import prepare_dagster_home, service_addresses
from orchestration.runs.usual_times import usual_seconds
from orchestration.terminal import paint
from stages.params import ParamsError
from stages.stores import chosen_profile

DOOR = "figment"
# What Dagster says at length and the table says in a word: a stage that reports nothing, an unchanged one without checks.
_CHATTER = ("[pipes]", "op '")
# Of a step whose input failed; there is no event for it.
_ABANDONED = "Dependencies for step"


@dataclasses.dataclass
class StageResult:
    """How one artifact fared. how: `ran`, `restored`, `fresh`, `failed`, `cancelled` or `not run`."""

    name: str
    how: str = "not run"
    id: str = ""
    seconds: float | None = None
    error: str = ""


@dataclasses.dataclass
class RunResult:
    """How the run fared, in seconds of the clock. failed_checks: `artifact: check` of severity ERROR; error: of the run itself."""

    run_id: str
    stages: dict[str, StageResult]
    failed_checks: list[str] = dataclasses.field(default_factory=list)
    is_interrupted: bool = False
    is_success: bool = False
    error: str = ""
    seconds: float = 0.0


@contextmanager
def open_instance(root: Path) -> Iterator[dg.DagsterInstance]:
    """The project's own Dagster instance, under `.figment/dagster`, with its records where stores.yaml says."""
    try:
        home = prepare_dagster_home(root)
        if (profile := chosen_profile(root)) is not None:
            reach_database(profile.dagster, "dagster")
    except (ParamsError, LabError) as error:
        raise CommandError(str(error)) from error
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


def tell_outside_changes(project: Project) -> list[str]:
    """Report what DVC did without Dagster; the names of the stages reported."""
    with open_instance(project.root) as instance:
        return report_outside_changes(instance, project)


def run_plan(project: Project, plan: Plan, *, jobs: int | None, say: Callable[[str], None], is_verbose: bool = False) -> RunResult:
    """Materialize the plan in one run with steps as threads; independent artifacts go on when one fails.

    jobs: steps at once, the number of processors when None. say: gets one line at a time, a line a stage; is_verbose: also what stages say.
    """
    # What is recorded names its pages where they are served now, or would be by `figment up`.
    os.environ.setdefault("DAGSTER_WEBSERVER_URL", service_addresses(project.root)["dagster"])
    # Dagster hears first what DVC did without it, so that the run begins with what dvc.lock says.
    job = _job(project.root)
    with open_instance(project.root) as instance:
        for name in report_outside_changes(instance, project):
            say(f"{name}: dvc.lock has a version that Dagster did not know; reported")
        run = instance.create_run_for_job(
            job_def=job,
            run_config=_run_config(plan, jobs),
            tags={DOOR_TAG: DOOR},
            asset_selection=frozenset(asset_key(name) for name in plan.names),
        )
        # Ctrl-C is a cancellation; Dagster takes one that nobody announced for a crash.
        display = RunDisplay(len(plan.names), _forecast(project, plan, jobs), say, is_verbose=is_verbose)
        watcher = _Watcher(run.run_id, plan, display, on_interrupt=lambda: instance.report_run_canceling(run))
        instance.add_event_listener(run.run_id, watcher.hear)
        with _terminations_as_interrupts(), display, warnings.catch_warnings():
            # Dagster announces each of its preview and beta parts on first use.
            warnings.simplefilter("ignore", dg.PreviewWarning)
            warnings.simplefilter("ignore", dg.BetaWarning)
            try:
                result = execute_run(InMemoryJob(job), run, instance, raise_on_error=False)
                watcher.result.is_success = result.success
            except (DagsterExecutionInterruptedError, KeyboardInterrupt):
                watcher.result.is_interrupted = True
        ended = instance.get_run_by_id(run.run_id)
        if ended is not None and ended.status == dg.DagsterRunStatus.CANCELED:
            watcher.result.is_interrupted = True
    watcher.result.seconds = display.seconds()
    if any(stage.how == "ran" for stage in watcher.result.stages.values()):
        seal(project.paths.state)
    return watcher.result


def _forecast(project: Project, plan: Plan, jobs: int | None) -> Forecast:
    # All pools are taken for the one of the GPUs: with more of them, the forecast is too long, never too short.
    pooled = {name for name in plan.names if stage_meta(project.graph[name]).pool is not None}
    places = gpu_limit(load_compute(project.root / COMPUTE_FILE))
    at_once = jobs or os.cpu_count() or 1
    return Forecast(plan.names, usual_seconds(project), project.graph.upstream, at_once=at_once, pooled=pooled, places=places)


def _job(root: Path) -> dg.JobDefinition:
    """The job of all assets. Raises CommandError when compute.yaml cannot be used."""
    from orchestration.assembly import build_definitions

    try:
        return build_definitions(root).resolve_implicit_global_asset_job_def()
    except ParamsError as error:
        raise CommandError(str(error)) from error


def _run_config(plan: Plan, jobs: int | None) -> dict[str, Any]:
    config: dict[str, Any] = {"ops": {op_name(name): {"config": {"force": True}} for name in plan.names if name in plan.forced}}
    # Dagster's own log lines go to its event log; the terminal shows what the stages say.
    config["loggers"] = {"console": {"config": {"log_level": "CRITICAL"}}}
    if jobs is not None:
        config["execution"] = {"config": {"max_concurrent": jobs}}
    return config


class _Watcher:
    """Hears every event of the run, from any thread, and keeps what a person wants to know."""

    def __init__(self, run_id: str, plan: Plan, display: RunDisplay, *, on_interrupt: Callable[[], object]) -> None:
        self._on_interrupt = on_interrupt
        self.result = RunResult(run_id, {name: StageResult(name) for name in plan.names})
        self._display = display
        # Reporting the interruption is an event, too.
        self._lock = threading.RLock()
        self._by_step = {op_name(name): name for name in plan.names}
        self._by_key = {asset_key(name): name for name in plan.names}

    def hear(self, entry: EventLogEntry) -> None:
        with self._lock:
            if entry.dagster_event is not None:
                self._hear_event(entry.dagster_event)
            elif entry.step_key in self._by_step:
                self._hear_words(self._by_step[entry.step_key], entry.user_message, self._level(entry))

    def _hear_words(self, name: str, text: str, level: int) -> None:
        if text.startswith(_ABANDONED):
            self._display.ended(name, "not run")
        elif text.startswith(_CHATTER):
            return
        elif level >= logging.WARNING:
            self._display.note(_prefixed(name, text))
        else:
            self._display.words(name, _prefixed(name, text), is_passing=level < logging.INFO)

    def _hear_event(self, event: DagsterEvent) -> None:
        # Of Dagster's many kinds of event these few matter to a person at a terminal.
        kind = event.event_type
        if kind == DagsterEventType.STEP_START and event.step_key in self._by_step:
            self._display.began(self._by_step[event.step_key])
        elif kind == DagsterEventType.ASSET_MATERIALIZATION and event.asset_key in self._by_key:
            self._hear_materialization(event, self._by_key[event.asset_key])
        elif kind == DagsterEventType.ASSET_CHECK_EVALUATION:
            self._hear_check(event)
        elif kind == DagsterEventType.STEP_FAILURE:
            self._hear_failure(event)
        elif kind == DagsterEventType.ENGINE_EVENT and "steps_interrupted" in event.engine_event_data.metadata and not self.result.is_interrupted:
            self.result.is_interrupted = True
            self._on_interrupt()
        elif kind == DagsterEventType.RUN_FAILURE and event.job_failure_data.error:
            self.result.error = event.job_failure_data.error.message.strip()

    def _hear_materialization(self, event: DagsterEvent, name: str) -> None:
        materialization = event.step_materialization_data.materialization
        metadata = {key: value.value for key, value in materialization.metadata.items()}
        seconds = metadata.get("seconds")
        how = str(metadata.get("how", "ran"))
        self.result.stages[name] = StageResult(name, how, str(metadata.get("id", "")), float(seconds) if isinstance(seconds, int | float) else None)
        self._display.ended(name, how, self.result.stages[name].seconds)

    def _hear_check(self, event: DagsterEvent) -> None:
        evaluation = event.asset_check_evaluation_data
        if evaluation.passed:
            return
        details = "; ".join(f"{key}: {value.value}" for key, value in evaluation.metadata.items())
        words = f"{evaluation.asset_key.to_user_string()}: {evaluation.check_name}" + (f" ({details})" if details else "")
        if evaluation.severity == dg.AssetCheckSeverity.ERROR:
            self.result.failed_checks.append(words)
        else:
            self._display.note(paint(f"warning: check did not pass: {words}", "yellow"))

    def _hear_failure(self, event: DagsterEvent) -> None:
        data = event.step_failure_data
        name = self._by_step.get(event.step_key or "")
        # A stage says in its own words why it failed; anything else is a defect, and its traceback stays.
        words = data.user_failure_data.description if data.user_failure_data else None
        text = (words or (data.error.to_string() if data.error else "failed without a word")).strip()
        if name is None:
            self.result.failed_checks.append(f"step {event.step_key}: {text}")
        elif "was cancelled" in text.partition("\n")[0] or "cancelled while waiting" in text.partition("\n")[0]:
            self.result.stages[name] = StageResult(name, "cancelled", error=text)
        else:
            self.result.stages[name] = StageResult(name, "failed", error=text)
        if name is not None:
            self._display.ended(name, self.result.stages[name].how)

    def _level(self, entry: EventLogEntry) -> int:
        return entry.level if isinstance(entry.level, int) else logging.getLevelNamesMapping().get(entry.level, 0)


def _prefixed(name: str, text: str) -> str:
    return text if text.startswith(f"{name}:") else f"{name}: {text}"


@contextmanager
def _terminations_as_interrupts() -> Iterator[None]:
    """Within the block, SIGTERM ends the run as Ctrl-C does: every stage's process tree is ended too."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
