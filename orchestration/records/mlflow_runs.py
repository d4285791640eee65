"""What MLflow knows of the project's artifacts, read back and kept right: for the command line, the doctor and Dagster.

A SQLite store is read straight from its file, so that a look costs milliseconds; a server is asked through MLflow's client. Only what changes
the store (reaping, retraction) imports mlflow for a SQLite store too. Every function takes the project root; a project that never trained has
no store, and then each answers with nothing and makes none.
"""

import contextlib
import dataclasses
import sqlite3
import sys
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestration.records.mlflow_sqlite import Row, SqliteStore
from training.tracking import process as tracking_process
from training.tracking.journal import REFUSED_NAME, FolderLock, is_open, journal_folders
from training.tracking.registry import CHAMPION, INPUT_TAG, OUTPUT_TAG, RETRACTED_TAG, withdraw
from training.tracking.sender import ended_without_a_word, first_line, is_wanted, reap, whose
from training.tracking.store import is_installed, open_client, run_link, sqlite_path, tracking_uri
from training.tracking.tracker import Replayed, replay


class MlflowUnreachableError(Exception):
    """The MLflow store cannot be read right now; nothing can be said about its records."""


@dataclasses.dataclass(frozen=True)
class DatasetUse:
    """A run that read the artifact `name` when its id was `digest`."""

    run_id: str
    experiment: str
    status: str
    name: str
    digest: str


@dataclasses.dataclass(frozen=True)
class ModelVersion:
    """A registered version. output_id: the id of its bytes ("" when it was not registered by figment); inputs: artifact name → id."""

    model: str
    version: str
    run_id: str | None
    output_id: str
    inputs: Mapping[str, str]
    is_champion: bool
    is_retracted: bool
    tags: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class RunSummary:
    """A run. Times are Unix milliseconds; metrics are the newest values; link is None where no web interface is known."""

    run_id: str
    experiment: str
    status: str
    start_ms: int | None
    end_ms: int | None
    link: str | None
    metrics: Mapping[str, float]
    params: Mapping[str, str]
    tags: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Finding:
    """One disagreement: `kind` for programs, the rest for humans."""

    kind: str
    subject: str
    detail: str
    remedy: str


def state_dir(root: Path) -> Path:
    """The project's folder for local state."""
    return root / ".figment"


def store_uri(root: Path) -> str:
    """Where the project's MLflow records are: MLFLOW_TRACKING_URI, or the SQLite file under `.figment/`."""
    return tracking_uri(state_dir(root))


def dataset_digests_in_use(root: Path) -> list[DatasetUse]:
    """Every dataset that a run in the store names, oldest run first. Raises MlflowUnreachableError."""
    with _reading(root) as store:
        return [DatasetUse(**row) for row in store.datasets()] if store else []


def model_versions(root: Path) -> list[ModelVersion]:
    """Every registered version of every model, by name and number. Raises MlflowUnreachableError."""
    with _reading(root) as store:
        return [_model_version(row) for row in store.versions()] if store else []


def champion(root: Path, model: str) -> ModelVersion | None:
    """The version of `model` that is champion now, or None. Raises MlflowUnreachableError."""
    return next((version for version in model_versions(root) if version.model == model and version.is_champion), None)


def run_summary(root: Path, run_id: str) -> RunSummary | None:
    """The run in short, or None when the store has no such run. Raises MlflowUnreachableError."""
    with _reading(root) as store:
        row = store.run(run_id) if store else None
    if row is None:
        return None
    link = run_link(store_uri(root), row.pop("experiment_id"), run_id)
    return RunSummary(link=link, **row)


def replay_missed(root: Path) -> Replayed:
    """Send MLflow what it missed while it was away, from the journals, and mark trainings that died as KILLED."""
    return replay(state_dir(root))


def reap_dead_runs(root: Path) -> list[str]:
    """Mark runs of this project that are RUNNING in the store, but whose process on this host is dead, as KILLED. Returns their ids.

    Raises MlflowUnreachableError.
    """
    dead = _dead_runs(root)
    if not dead:
        return []
    with _told_plainly(root):
        return reap(open_client(store_uri(root)), whose(store_uri(root), root))


def flag_models_trained_on(root: Path, ids: Collection[str], reason: str) -> list[ModelVersion]:
    """Tag versions made from any artifact in `ids`, directly or through another model, as retracted, and take `champion` from them.

    Returns the versions that were not tagged before. Raises MlflowUnreachableError.
    """
    # Read first, at the cost of a query: most withdrawals touch no model, and then mlflow is not imported.
    affected = models_made_from(root, ids)
    if affected:
        with _told_plainly(root):
            client = open_client(store_uri(root))
            for version in affected:
                withdraw(client, client.get_model_version(version.model, version.version), reason)
    return affected


def models_made_from(root: Path, ids: Collection[str]) -> list[ModelVersion]:
    """The versions made from any artifact in `ids`, directly or through another model, that are not tagged as retracted yet.

    Raises MlflowUnreachableError.
    """
    return [version for version in _made_from(model_versions(root), ids) if not version.is_retracted] if ids else []


def open_findings(root: Path, known_ids: Collection[str]) -> list[Finding]:
    """What MLflow says that nothing else bears out: datasets and model versions whose ids nobody has, dead runs, journals not sent.

    known_ids: every id that the project has or had, such as those in dvc.lock and its history and in Dagster's materializations.
    """
    try:
        return [
            *_unknown_datasets(dataset_digests_in_use(root), known_ids),
            *_unknown_models(model_versions(root), known_ids),
            *_dead_run_findings(root),
            *_journal_findings(root),
        ]
    except MlflowUnreachableError as error:
        remedy = "start the server, free the file, or unset MLFLOW_TRACKING_URI; then run `figment doctor` again"
        return [Finding("mlflow_unreachable", store_uri(root), str(error), remedy), *_journal_findings(root)]


def _unknown_datasets(uses: list[DatasetUse], known_ids: Collection[str]) -> Iterator[Finding]:
    # One finding for each version of a dataset, however many runs read it.
    runs: dict[tuple[str, str], list[DatasetUse]] = defaultdict(list)
    for use in uses:
        if use.digest not in known_ids:
            runs[use.name, use.digest].append(use)
    for (name, digest), found in runs.items():
        where = f"run {found[0].run_id} of {found[0].experiment}" + (f" and {len(found) - 1} more" if len(found) > 1 else "")
        detail = f"{where} read {name} with the id {digest}, which neither dvc.lock, its history nor Dagster has"
        remedy = f"if that version of {name} was never committed, delete the run in MLflow or train again; figment does not rewrite MLflow's records"
        yield Finding("mlflow_dataset_unknown", name, detail, remedy)


def _unknown_models(versions: list[ModelVersion], known_ids: Collection[str]) -> Iterator[Finding]:
    for version in versions:
        named = {"its bytes": version.output_id, **{f"its input {name}": id for name, id in version.inputs.items()}}
        for what, id in named.items():
            if id and id not in known_ids:
                detail = f"version {version.version} gives {what} the id {id}, which neither dvc.lock, its history nor Dagster has"
                remedy = f"materialize {version.model} again, or delete the version in MLflow's registry"
                yield Finding("mlflow_model_unknown", f"{version.model} version {version.version}", detail, remedy)


def _dead_run_findings(root: Path) -> Iterator[Finding]:
    for row in _dead_runs(root):
        detail = f"is marked RUNNING, but its process {row['tags'].get('figment.pid')} on this host is gone"
        yield Finding("mlflow_run_dead", f"{row['experiment']} run {row['run_id']}", detail, "`figment doctor --repair` marks it KILLED")


def _journal_findings(root: Path) -> Iterator[Finding]:
    for folder in journal_folders(state_dir(root)):
        # The lock tells a journal at work from one left behind.
        lock = FolderLock(folder)
        if not lock.acquire():
            continue  # a training is writing it right now, and sends it itself
        try:
            subject = f"{folder.parent.name} {folder.name[:15]}"
            if is_open(folder) and ended_without_a_word(folder):
                yield Finding("mlflow_journal_open", subject, "its training ended without a word", "`figment doctor --repair` marks it KILLED")
            elif is_wanted(folder) and is_installed():
                detail = f"MLflow has not received all of {folder.relative_to(root)}"
                yield Finding("mlflow_journal_unsent", subject, detail, "`figment doctor --repair` sends the rest")
            if (folder / REFUSED_NAME).exists():
                yield Finding(
                    "mlflow_refused", subject, f"MLflow refused values listed in {folder.relative_to(root) / REFUSED_NAME}", "read the reasons there"
                )
        finally:
            lock.release()


def _dead_runs(root: Path) -> list[Row]:
    with _reading(root) as store:
        running = store.running() if store else []
    # A server may be shared: runs of other projects, and of other machines, are not ours to judge.
    project = whose(store_uri(root), root)
    ours = [row for row in running if project in (None, row["tags"].get("figment.project"))]
    return [row for row in ours if tracking_process.is_dead(tracking_process.process_of(row["tags"]))]


def _made_from(versions: list[ModelVersion], ids: Collection[str]) -> list[ModelVersion]:
    """The versions made from any of `ids`: a model made from such a model counts, however long the chain."""
    # Until nothing is added: a model made from a tainted model taints what is made from it in turn.
    tainted = set(ids)
    found: dict[tuple[str, str], ModelVersion] = {}
    while True:
        new = [v for v in versions if (v.model, v.version) not in found and (v.output_id in tainted or tainted.intersection(v.inputs.values()))]
        if not new:
            return [version for version in versions if (version.model, version.version) in found]
        found |= {(version.model, version.version): version for version in new}
        tainted |= {version.output_id for version in new if version.output_id}


def _model_version(row: Row) -> ModelVersion:
    tags = row["tags"]
    return ModelVersion(
        model=row["model"],
        version=row["version"],
        run_id=row["run_id"],
        output_id=tags.get(OUTPUT_TAG, ""),
        inputs={key.removeprefix(INPUT_TAG): value for key, value in tags.items() if key.startswith(INPUT_TAG)},
        is_champion=CHAMPION in row["aliases"] and tags.get(RETRACTED_TAG) != "true",
        is_retracted=tags.get(RETRACTED_TAG) == "true",
        tags=tags,
    )


@contextlib.contextmanager
def _reading(root: Path) -> Iterator["SqliteStore | _ServerStore | None"]:
    """The store to read from; None when it does not exist yet."""
    uri = store_uri(root)
    path = sqlite_path(uri)
    with _told_plainly(root):
        if path is None:
            yield _ServerStore(uri)
        else:
            yield SqliteStore(path) if path.is_file() else None


@contextlib.contextmanager
def _told_plainly(root: Path) -> Iterator[None]:
    """Trouble with the store as MlflowUnreachableError."""
    try:
        yield
    except _store_errors() as error:
        raise MlflowUnreachableError(f"{store_uri(root)}: {first_line(error)}") from error


def _store_errors() -> tuple[type[Exception], ...]:
    """What a store that is not well raises; of MLflow and SQLAlchemy where they were loaded, for else they have raised nothing."""
    bases = {"mlflow.exceptions": "MlflowException", "sqlalchemy.exc": "SQLAlchemyError"}
    loaded = (getattr(sys.modules[module], name) for module, name in bases.items() if module in sys.modules)
    return (sqlite3.Error, UnicodeDecodeError, OSError, ImportError, *loaded)


class _ServerStore:
    """The same answers as `SqliteStore`, from a server through MLflow's client."""

    def __init__(self, uri: str) -> None:
        self._client = open_client(uri)

    def datasets(self) -> list[Row]:
        return [
            {
                "run_id": run.info.run_id,
                "experiment": experiment,
                "status": run.info.status,
                "name": used.dataset.name,
                "digest": used.dataset.digest,
            }
            for experiment, run in sorted(self._runs(""), key=lambda found: found[1].info.start_time)
            for used in sorted(run.inputs.dataset_inputs if run.inputs else [], key=lambda used: used.dataset.name)
        ]

    def versions(self) -> list[Row]:
        aliases = {model.name: model.aliases for model in _pages(self._client.search_registered_models)}
        rows = [
            {
                "model": version.name,
                "version": str(version.version),
                "run_id": version.run_id,
                "tags": dict(version.tags),
                "aliases": [alias for alias, number in aliases.get(version.name, {}).items() if str(number) == str(version.version)],
            }
            for version in _pages(self._client.search_model_versions)
        ]
        return sorted(rows, key=lambda row: (row["model"], int(row["version"])))

    def running(self) -> list[Row]:
        return [self._row(experiment, run) for experiment, run in self._runs("attributes.status = 'RUNNING'")]

    def run(self, run_id: str) -> Row | None:
        from mlflow.exceptions import MlflowException

        try:
            run = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
        experiment = self._client.get_experiment(run.info.experiment_id).name
        return self._row(experiment, run) | {"metrics": dict(run.data.metrics), "params": dict(run.data.params)}

    def _runs(self, wanted: str) -> Iterator[tuple[str, Any]]:
        for experiment in _pages(self._client.search_experiments):
            for run in _pages(self._client.search_runs, [experiment.experiment_id], wanted, order_by=["attributes.start_time ASC"]):
                yield experiment.name, run

    def _row(self, experiment: str, run: Any) -> Row:
        info = run.info
        times = {"start_ms": info.start_time, "end_ms": info.end_time}
        return {
            "run_id": info.run_id,
            "experiment": experiment,
            "experiment_id": info.experiment_id,
            "status": info.status,
            "tags": run.data.tags,
            **times,
        }


def _pages(search: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
    # MLflow gives lists in pages; the first alone would look like all there is.
    token = None
    while True:
        page = search(*args, max_results=500, page_token=token, **kwargs)
        yield from page
        token = page.token
        if not token:
            return
