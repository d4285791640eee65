"""Move a project's records into a lab's stores: copied, compared, and only then set aside here. A move that was broken off is taken up again."""

import contextlib
import dataclasses
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import sqlalchemy as sa

from orchestration.bridge.materialize import running_stages
from orchestration.bridge.project import Project
from orchestration.moving import dagster_tables, mlflow_tables
from orchestration.moving.tables import Moved, MoveError, Source, copy, count, empty, has_rows, sqlite
from orchestration.records.dagster_records import DagsterRecords
from orchestration.records.lab import check_profile, s3_client
from orchestration.records.seals import read_seals, write_seals
from orchestration.runs.up import prepare_dagster_home
from stages.files import replacing
from stages.locks import read_note, take_lock
from stages.stores import Profile, with_driver
from training.tracking.journal import FolderLock, journal_folders, read_sent, write_sent
from training.tracking.store import sqlite_uri, store_name

_NOTE = "move-stores.json"
# Rows there that are not of an empty store.
_SIGNS = {"dagster": ("runs", "event_logs"), "mlflow": ("runs", "registered_models", "metrics")}


@dataclasses.dataclass(frozen=True)
class Done:
    """What was moved, or would be: tables by store, files, and where the old stores are now."""

    tables: dict[str, list[Moved]]
    files: int
    bytes: int
    set_aside: Path | None = None


def move_stores(project: Project, profile: Profile, *, is_dry: bool, hear: Callable[[str], None]) -> Done:
    """Copy, compare, set aside. Raises MoveError, and LabError where a store cannot be had; the stores here are whole then."""
    state = project.paths.state
    with _quiet(project):
        check_profile(profile)
        files = dagster_tables.DagsterFiles(state / "dagster")
        with contextlib.closing(files), contextlib.ExitStack() as opened:
            sources: dict[str, list[Source]] = {"dagster": files.sources()}
            path = state / "mlflow" / "mlflow.db"
            if path.is_file():
                sources["mlflow"] = mlflow_tables.sources(opened.enter_context(sqlite(path)), path)
            artifacts = [each for each in sorted((state / "mlflow" / "artifacts").rglob("*")) if each.is_file()]
            size = sum(each.stat().st_size for each in artifacts)
            if not any(sources.values()) and not artifacts:
                raise MoveError(f"{state}: no records of Dagster or MLflow to move; a profile can be used as it is")
            engines = {name: opened.enter_context(_engine(getattr(profile, name))) for name in sources}
            is_resumed = _begun(state, profile)
            _refuse_foreign(engines, is_resumed=is_resumed)
            if is_dry:
                return Done({name: [count(source) for source in each] for name, each in sources.items()}, len(artifacts), size)
            _prepare(state, profile, engines, is_resumed=is_resumed)
            moved: dict[str, list[Moved]] = {}
            for name, each in sources.items():

                def told(table: str, rows: int, store: str = name) -> None:
                    hear(f"{store}: {table}: {rows} rows")

                moved[name] = [copy(source, engines[name], told) for source in each]
            _move_files(state / "mlflow" / "artifacts", artifacts, profile, hear)
        _address_journals(state, profile)
        return Done(moved, len(artifacts), size, _set_aside(project))


@contextlib.contextmanager
def _quiet(project: Project) -> Iterator[None]:
    """Nothing of the project is at work, and its servers and trainings stay shut out meanwhile. Raises MoveError."""
    state = project.paths.state
    state.mkdir(exist_ok=True)
    with contextlib.ExitStack() as held:
        lock = take_lock(state / "up.lock")
        if lock is None:
            raise MoveError(f"the services are open ({read_note(state / 'up.lock') or 'just starting'}); stop `figment up` first")
        held.callback((state / "up.lock").unlink, missing_ok=True)
        held.callback(os.close, lock)
        if running := running_stages(project):
            raise MoveError(f"still being made: {', '.join(running)}; wait for the end, or cancel it")
        if runs := DagsterRecords(state / "dagster", is_local=True).unfinished_runs():
            remedy = "wait for the end; `figment doctor --repair` with FIGMENT_PROFILE=local marks those whose process is gone"
            raise MoveError(f"Dagster has {len(runs)} unfinished runs ({runs[0].run_id} is {runs[0].status}); {remedy}")
        for folder in journal_folders(state):
            journal = FolderLock(folder)
            if not journal.acquire():
                raise MoveError(f"a training writes {folder.relative_to(project.root)}; wait for its end, or cancel it")
            held.callback(journal.release)
        yield


@contextlib.contextmanager
def _engine(url: str) -> Iterator[sa.Engine]:
    engine = sa.create_engine(with_driver(url))
    yield engine
    engine.dispose()


def _begun(state: Path, profile: Profile) -> bool:
    """Whether a move into these very stores was broken off."""
    try:
        return bool(json.loads((state / _NOTE).read_text(encoding="utf-8")) == dataclasses.asdict(profile))
    except (OSError, ValueError):
        return False


def _refuse_foreign(engines: dict[str, sa.Engine], *, is_resumed: bool) -> None:
    for name, engine in engines.items():
        if not is_resumed and (full := has_rows(engine, _SIGNS[name])):
            raise MoveError(
                f"{name}: {engine.url.render_as_string()} has rows already ({', '.join(full)}), and numbers of both would meet; move into an empty "
                "database, or go on with what is there and leave the records here where they are"
            )


def _prepare(state: Path, profile: Profile, engines: dict[str, sa.Engine], *, is_resumed: bool) -> None:
    """The tables there, of the same release as here, and empty unless this goes on with an earlier move."""
    makers = {"dagster": dagster_tables.make_tables, "mlflow": mlflow_tables.make_tables}
    upgrades = {"dagster": "DAGSTER_HOME=.figment/dagster dagster instance migrate", "mlflow": f"mlflow db upgrade {sqlite_uri(state)}"}
    files = {"dagster": state / "dagster" / "history" / "runs.db", "mlflow": state / "mlflow" / "mlflow.db"}
    for name, engine in engines.items():
        makers[name](with_driver(getattr(profile, name)))
        if files[name].is_file():
            with sqlite(files[name]) as here, engine.connect() as there:
                old, new = dagster_tables.schema(here), dagster_tables.schema(there)
            if old != new:
                raise MoveError(f"{files[name]}: its tables are of revision {old}, those of the installed release of {new}; first `{upgrades[name]}`")
    if not is_resumed:
        for name, engine in engines.items():
            empty(engine, dagster_tables.tables() if name == "dagster" else reversed(mlflow_tables.tables()))
        with replacing(state / _NOTE) as unfinished:
            unfinished.write_text(json.dumps(dataclasses.asdict(profile)), encoding="utf-8")


def _move_files(folder: Path, paths: Sequence[Path], profile: Profile, hear: Callable[[str], None]) -> None:
    """Send each file that S3 does not have, and read every one back."""
    client = s3_client(profile)
    there = {item["Key"]: item["Size"] for page in client.get_paginator("list_objects_v2").paginate(Bucket=profile.bucket, Prefix=profile.prefix)
             for item in page.get("Contents", ())}  # fmt: skip
    for number, path in enumerate(paths, start=1):
        key = profile.prefix + path.relative_to(folder).as_posix()
        with path.open("rb") as stream:
            expected = hashlib.file_digest(stream, "sha256").hexdigest()
        if there.get(key) != path.stat().st_size or _digest(client, profile.bucket, key) != expected:
            client.upload_file(str(path), profile.bucket, key)
            if (found := _digest(client, profile.bucket, key)) != expected:
                raise MoveError(f"{path}: s3://{profile.bucket}/{key} has other bytes after sending (SHA-256 {found}, here {expected}); move again")
        hear(f"artifacts: {number} of {len(paths)}")


def _digest(client: object, bucket: str, key: str) -> str:
    digest = hashlib.sha256()
    for part in client.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(1 << 20):  # type: ignore[attr-defined]
        digest.update(part)
    return digest.hexdigest()


def _address_journals(state: Path, profile: Profile) -> None:
    """What a journal has sent to the store here, the other one has."""
    for folder in journal_folders(state):
        sent = read_sent(folder)
        if sent.get("store") == store_name(sqlite_uri(state), folder):
            write_sent(folder, {**sent, "store": store_name(profile.mlflow_server, folder)})


def _set_aside(project: Project) -> Path:
    """The old stores into a folder that nothing reads; whoever wants them back moves them back."""
    state = project.paths.state
    folder = state / "set-aside" / f"{time.strftime('%Y%m%d-%H%M%S')}-stores"
    for name in ("mlflow", "dagster/history", "dagster/schedules"):
        if (state / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.move(state / name, folder / name)
    gone = ("mlflow/", "dagster/history/", "dagster/schedules/")
    if seals := read_seals(state):
        write_seals(state, {name: seal for name, seal in seals.items() if not name.startswith(gone)})
    (state / _NOTE).unlink(missing_ok=True)
    prepare_dagster_home(project.root)
    return folder
