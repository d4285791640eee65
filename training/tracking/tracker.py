"""Record a training: metrics by step, inputs by id, files, the model; in a journal first, in MLflow when it can be had.

The journal under `<state_dir>/tracking/<stage>/<run key>/` is written before anything else and needs nothing but a disk. A background thread
copies it to MLflow (a SQLite file under `<state_dir>/mlflow`, or the server at MLFLOW_TRACKING_URI); what could not be sent is sent by the next
training or report of the project, or by `replay`. A training never fails, and never waits longer than a bounded time at its end, because of MLflow.

FIGMENT_TRACK says how: `mlflow` (the default), `jsonl` (the journal alone) or `none`. Under torchrun only rank 0 records.

    with open_tracker("polygpt", run_key=key, config=config, inputs=inputs, state_dir=Path(".figment"), resume_step=None, reporter=r) as tracker:
        tracker.metrics(step, {"loss": 0.3})
"""

import dataclasses
import hashlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Literal, Self

from stages.reporting import Reporter
from training.tracking import process as tracking_process
from training.tracking.appearance import Field, Signature
from training.tracking.journal import FolderLock, Journal, TrackingError, jsonable_number, last_event, series
from training.tracking.registry import PromotionRule
from training.tracking.replica import Replica
from training.tracking.sender import TROUBLED_CLOSE_S, Replayed, Sender, describe_store, drop_sent_copies, first_line, mark_if_dead, replay
from training.tracking.store import is_installed, open_client, tracking_uri

__all__ = [
    "Field",
    "InputArtifact",
    "PromotionRule",
    "Replayed",
    "Signature",
    "Tracker",
    "TrackingError",
    "attach_metrics",
    "open_tracker",
    "replay",
    "tracked_series",
]

Mode = Literal["mlflow", "jsonl", "none"]
Status = Literal["FINISHED", "FAILED", "KILLED"]

_CLOSE_TIMEOUT_S = 60.0
# A process that is just ending may hold its journal for a moment longer.
_LOCK_WAIT_S = 2.0
_SAMPLE_EVERY_S = 10.0
_COPY_UP_TO_BYTES = 64 * 1024 * 1024
_TERMINATED = 128 + signal.SIGTERM


@dataclasses.dataclass(frozen=True)
class InputArtifact:
    """One artifact a training reads. `id` is `content_id(path)`, the id DVC gives it; `name` is that of the stage that made it."""

    name: str
    path: Path
    id: str


class Tracker:
    """Records one training; a context manager that ends FINISHED, FAILED (an exception) or KILLED (SIGTERM, Ctrl-C).

    This class itself records nothing: it is what FIGMENT_TRACK=none and the ranks above 0 get.
    """

    run_id: str | None = None

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        """Values at a step. Quick (a line appended to a file); not-a-number and infinities are kept as such."""

    def artifact(self, path: Path, folder: str = "") -> None:
        """A file or folder to keep with the run, under `folder` there. Small files may be overwritten at once; larger ones only after the end."""

    def tags(self, values: Mapping[str, str]) -> None:
        """Facts about the run."""

    def register_model(self, name: str, output: Path, *, output_id: str, card: str = "", signature: Signature | None = None) -> None:
        """Register what lies in `output` as a version of `name`, tagged with its id and those of all inputs; once for each id.

        card: Markdown that says what the model is and was made from.
        """

    def name(self, title: str, outcome: str = "", columns: Sequence[str] = ()) -> None:
        """Call the run `title · outcome`, and show `columns` (such as `metrics.loss`) in the table of runs. A report may say another outcome."""

    def url(self) -> str | None:
        """The page of the run in MLflow's web interface; None while there is none."""
        return None

    def close(self, status: Status = "FINISHED") -> None:
        """End the recording; a `with` block does this."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close(_status_of(error))


class _JournalTracker(Tracker):
    def __init__(self, folder: Path, lock: FolderLock, inputs: Sequence[InputArtifact], reporter: Reporter) -> None:
        self._lock = lock
        self._inputs = inputs
        self._reporter = reporter
        self._journal = Journal(folder)
        self._sender: Sender | None = None
        self._sampler: tracking_process.SystemSampler | None = None
        self._system_step = (last_event(folder, "system") or {"step": -1})["step"]
        self._announced = False
        self._closed = False
        self._previous_handler: Any = None

    @property
    def run_id(self) -> str | None:  # type: ignore[override]
        """The MLflow run, once MLflow has answered."""
        return self._sender.run_id if self._sender else None

    def metrics(self, step: int, values: Mapping[str, float]) -> None:
        self._journal.append("metrics", step=int(step), values={name: jsonable_number(value) for name, value in values.items()})
        self._announce()

    def artifact(self, path: Path, folder: str = "") -> None:
        self._journal.append("artifact", folder=folder, **_kept_copy(self._journal.folder, path))

    def tags(self, values: Mapping[str, str]) -> None:
        self._journal.append("tags", values={key: str(value) for key, value in values.items()})

    def register_model(self, name: str, output: Path, *, output_id: str, card: str = "", signature: Signature | None = None) -> None:
        tags = {f"figment.input.{item.name}": item.id for item in self._inputs}
        shape = dataclasses.asdict(signature) if signature else None
        self._journal.append("model", model=name, output_id=output_id, path=output.as_posix(), tags=tags, card=card, signature=shape)

    def name(self, title: str, outcome: str = "", columns: Sequence[str] = ()) -> None:
        self._journal.append("name", title=title, outcome=outcome, columns=list(columns))

    def url(self) -> str | None:
        return self._sender.link if self._sender else None

    def start(self, opening: Mapping[str, Any], *, sender: Sender | None, sample_every_s: float) -> None:
        """Write the opening and set the background threads going."""
        self._journal.append("open", **opening)
        self._sender = sender
        if sender is not None:
            sender.start()
        self._sampler = tracking_process.SystemSampler(self._record_system, every_s=sample_every_s)
        self._sampler.start()

    def close(self, status: Status = "FINISHED") -> None:
        if self._closed:
            return
        self._closed = True
        if self._sampler is not None:
            self._sampler.stop()
        self._journal.append("status", status=status)
        self._journal.sync()
        if self._sender is not None:
            self._finish_sending(self._sender, status)
        self._journal.close()
        self._lock.release()

    def __enter__(self) -> Self:
        # A training that handles SIGTERM itself keeps its handler; by default SIGTERM would end the process before anything is written.
        if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            self._previous_handler = signal.signal(signal.SIGTERM, _exit_terminated)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.close(_status_of(error))
        finally:
            if self._previous_handler is not None:
                signal.signal(signal.SIGTERM, self._previous_handler)
                self._previous_handler = None

    def _finish_sending(self, sender: Sender, status: Status) -> None:
        # Whoever sent SIGTERM is waiting to send SIGKILL.
        if sender.close(timeout_s=TROUBLED_CLOSE_S if status == "KILLED" else _CLOSE_TIMEOUT_S):
            drop_sent_copies(self._journal.folder)
        else:
            why = f" ({sender.trouble})" if sender.trouble else ""
            self._reporter.log(f"MLflow has not taken all of this training{why}; the journal {self._journal.path} keeps it and the next run sends it")
        self._announce()

    def _record_system(self, values: Mapping[str, float]) -> None:
        self._system_step += 1
        self._journal.append("system", step=self._system_step, values={name: jsonable_number(value) for name, value in values.items()})
        self._journal.sync()

    def _announce(self) -> None:
        """Tell the caller where the run is to be seen, once that is known."""
        if self._announced or self.run_id is None:
            return
        self._announced = True
        self._reporter.metadata(mlflow_run_id=self.run_id)
        link = self.url()
        if link is not None:
            self._reporter.url("mlflow_run", link)
        self._reporter.log(f"MLflow run {self.run_id}{': ' + link if link else ''}")


def open_tracker(
    stage: str,
    *,
    run_key: str,
    config: Mapping[str, Any],
    inputs: Sequence[InputArtifact],
    state_dir: Path,
    resume_step: int | None,
    reporter: Reporter,
    title: str = "",
    description: str = "",
    program: str = "",
    sample_every_s: float = _SAMPLE_EVERY_S,
) -> Tracker:
    """A tracker for one training of `stage`; returns at once, MLflow is started in the background.

    run_key: a hash of all that decides the training. The same key continues the same MLflow run, unless that one finished and this starts afresh.
    state_dir: the project's folder for local state, `.figment`. resume_step: the last step done before the checkpoint this start
    continues from (None: from nothing); what the journal holds beyond it is superseded. title: of the run until `Tracker.name` says more.
    description, program: of the experiment, and the module that trains. Raises TrackingError when another process records the
    same key, or FIGMENT_TRACK is unknown, and so do the tracker's methods when the disk is full.
    """
    mode = _mode()
    if mode == "none" or os.environ.get("RANK", "0") != "0":
        return Tracker()
    # One journal for all that one set of parameters and inputs ever recorded; two processes on it would mix their steps.
    folder = state_dir / "tracking" / stage / run_key
    lock = FolderLock(folder)
    if not lock.acquire(timeout_s=_LOCK_WAIT_S):
        holder = (last_event(folder, "open") or {"process": {"pid": "unknown"}})["process"]
        raise TrackingError(f"{folder}: process {holder['pid']} is training {stage} with the same settings and inputs; wait for it or end it")
    mark_if_dead(folder)
    use_mlflow = mode == "mlflow" and is_installed()
    if mode == "mlflow" and not use_mlflow:
        reporter.log("mlflow is not installed: the training is recorded in its journal only (install the `track` extra)")
    # The opening says what a reader of the journal must know: which attempt, from which step on, by which process, from which inputs.
    tracker = _JournalTracker(folder, lock, inputs, reporter)
    opening = {
        "stage": stage,
        "run_key": run_key,
        "attempt": _attempt(folder, resume_step),
        "resume_step": resume_step,
        "mlflow": mode == "mlflow",
        "process": tracking_process.this_process(),
        "title": title,
        "description": description,
        "program": program,
        "config": _plain(config),
        "inputs": [{"name": item.name, "path": item.path.as_posix(), "id": item.id} for item in inputs],
    }
    opening["tags"] = _tags_of(opening, state_dir)
    tracker.start(opening, sender=Sender(tracker._journal, state_dir) if use_mlflow else None, sample_every_s=sample_every_s)
    return tracker


def attach_metrics(
    model: str,
    *,
    output_id: str,
    metrics: Mapping[str, float],
    artifacts: Sequence[Path],
    promote: PromotionRule | None,
    reporter: Reporter,
    report: str = "",
    headline: Sequence[str] = (),
    state_dir: Path = Path(".figment"),
) -> None:
    """Add a report's numbers and files to the run and the registered version of `model` that holds `output_id`, and judge it as champion.

    headline: those of `metrics` that the stage `report` tells first: columns of the table of runs, and in the version's card; the first, or the
    one that promotion looks at, is the outcome in the run's name.

    Goes through a journal too: with MLflow down it is done by the next training, report or `replay`. Raises nothing for MLflow trouble.
    """
    mode = _mode()
    if mode == "none":
        return
    folder = state_dir / "tracking" / model / f"report-{hashlib.sha256(output_id.encode()).hexdigest()[:16]}"
    lock = FolderLock(folder)
    if not lock.acquire(timeout_s=60):
        raise TrackingError(f"{folder}: another process has been reporting on this model for a minute; wait for it or end it")
    try:
        # Journal first, as for trainings; what cannot be sent now is in it for the next one.
        journal = Journal(folder)
        journal.append(
            "report",
            model=model,
            output_id=output_id,
            mlflow=mode == "mlflow",
            report=report,
            headline=[name for name in headline if name in metrics],
            metrics={name: jsonable_number(value) for name, value in metrics.items()},
            artifacts=[{"folder": "report", **_kept_copy(folder, path)} for path in artifacts],
            promote=dataclasses.asdict(promote) if promote else None,
        )
        journal.close()
        if mode == "mlflow" and is_installed():
            _send_report(folder, state_dir, f"{model} ({output_id})", reporter)
    finally:
        lock.release()


def tracked_series(state_dir: Path, stage: str, run_key: str) -> dict[str, list[tuple[int, float]]]:
    """Each metric of a training as (step, value) by rising step, from the journal: without gap or duplicate whatever killed it in between."""
    return series(state_dir / "tracking" / stage / run_key)


def _send_report(folder: Path, state_dir: Path, subject: str, reporter: Reporter) -> None:
    """Send the report in a thread, so that a store that hangs holds the caller up for a bounded time only."""
    outcome: dict[str, Any] = {}
    thread = threading.Thread(target=_send_report_now, args=(folder, state_dir, outcome), name="figment-mlflow-report", daemon=True)
    thread.start()
    thread.join(timeout=_CLOSE_TIMEOUT_S)
    # Nothing is lost by giving up: the journal has the report, and whoever tracks next sends it.
    if "trouble" in outcome or thread.is_alive():
        why = outcome.get("trouble", f"no answer in {_CLOSE_TIMEOUT_S:.0f} s")
        reporter.log(f"MLflow has not taken the report on {subject} ({why}); the journal {folder} keeps it and the next run sends it")
        return
    report = outcome["report"]
    if report is None:
        reporter.log(
            f"{describe_store(state_dir)}: no registered version holds {subject}, so the report was attached to none; train it with tracking on"
        )
        return
    reporter.metadata(mlflow_run_id=report.run_id, model_version=report.version)
    for name, link in report.links.items():
        reporter.url(name, link)
    if report.promotion is not None:
        reporter.metadata(promotion=report.promotion)
        reporter.log(f"version {report.version} of {subject} {report.promotion}")


def _send_report_now(folder: Path, state_dir: Path, outcome: dict[str, Any]) -> None:
    try:
        replay(state_dir)  # the training's own journal may still hold the registration
        uri = tracking_uri(state_dir)
        replica = Replica(folder, open_client(uri), uri)
        replica.send_pending()
        drop_sent_copies(folder)
        outcome["report"] = replica.report
    except Exception as error:  # noqa: BLE001 - the end of a thread; the report is in the journal, and whatever ails MLflow is told, not raised
        outcome["trouble"] = first_line(error)


def _mode() -> Mode:
    mode = os.environ.get("FIGMENT_TRACK") or "mlflow"
    if mode not in ("mlflow", "jsonl", "none"):
        raise TrackingError(f"FIGMENT_TRACK must be mlflow, jsonl or none, found {mode!r}; correct or unset it")
    return mode  # type: ignore[return-value]


def _attempt(folder: Path, resume_step: int | None) -> int:
    """1 for the first training with a key, one more for each that starts from nothing after one that finished: its values may differ."""
    opening, status = last_event(folder, "open"), last_event(folder, "status")
    if opening is None:
        return 1
    starts_over = resume_step is None and status is not None and status["status"] == "FINISHED" and status["time_ms"] >= opening["time_ms"]
    return opening["attempt"] + 1 if starts_over else opening["attempt"]


def _tags_of(opening: Mapping[str, Any], state_dir: Path) -> dict[str, str]:
    # Enough to find the process again and see whether it lives: `reap` asks by host, number and start.
    process = opening["process"]
    commit = os.environ.get("FIGMENT_GIT_COMMIT") or _git_commit(state_dir)
    dagster_url, dagster_id = os.environ.get("FIGMENT_RUN_URL"), os.environ.get("FIGMENT_DAGSTER_RUN_ID")
    tags = {
        "figment.stage": opening["stage"],
        "figment.project": tracking_process.project_label(state_dir.resolve().parent),
        "figment.host": process["host"],
        "figment.pid": str(process["pid"]),
        "figment.process_started": str(process["started"]),
        "figment.git_commit": commit,
        "mlflow.source.git.commit": commit,
        "figment.dagster_run_url": dagster_url,
        "figment.dagster_run_id": dagster_id,
        "mlflow.note.content": f"[Dagster run {dagster_id or ''}]({dagster_url})" if dagster_url else None,
        **{f"figment.input.{item['name']}": item["id"] for item in opening["inputs"]},
    }
    return {key: value for key, value in tags.items() if value}


def _git_commit(state_dir: Path) -> str | None:
    try:
        found = subprocess.run(["git", "rev-parse", "HEAD"], cwd=state_dir.resolve().parent, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return found.stdout.strip() if found.returncode == 0 else None


def _kept_copy(folder: Path, path: Path) -> dict[str, Any]:
    """Where an artifact is to be sent from: a copy in the journal when it is small enough, else the original, recognised by its time."""
    if not path.exists():
        raise TrackingError(f"{path}: no such file or folder; an artifact must exist when it is logged")
    described = {"path": str(path.resolve()), "mtime_ns": path.stat().st_mtime_ns, "copy": None}
    if path.is_dir() or path.stat().st_size > _COPY_UP_TO_BYTES:
        return described
    copies = folder / "artifacts"
    copies.mkdir(exist_ok=True)
    target = copies / str(len(list(copies.iterdir()))) / path.name
    target.parent.mkdir()
    shutil.copyfile(path, target)
    return described | {"copy": target.relative_to(folder).as_posix()}


def _plain(value: Any) -> Any:
    """`value` as JSON holds it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    return jsonable_number(value) if isinstance(value, float) else str(value)


def _status_of(error: BaseException | None) -> Status:
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return "FINISHED"
    if isinstance(error, KeyboardInterrupt) or (isinstance(error, SystemExit) and error.code in (_TERMINATED, 128 + signal.SIGINT)):
        return "KILLED"
    return "FAILED"


def _exit_terminated(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(_TERMINATED)
