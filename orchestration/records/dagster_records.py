"""What Dagster has on record, read straight from its SQLite files, or the PostgreSQL of a lab: a look costs milliseconds and imports no dagster.

Reads only. A test compares every answer with that of Dagster's own instance.
"""

import contextlib
import dataclasses
import json
import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from orchestration.bridge.materialize import running_stages
from orchestration.bridge.project import Project
from orchestration.bridge.versions import DATA_VERSION, INPUT_VERSION, asset_name, provenance_tags
from orchestration.records.lab import LabError, reading
from stages.stores import chosen_profile

_UNFINISHED = ("STARTED", "STARTING", "CANCELING", "NOT_STARTED", "QUEUED")
_WAIT_S = 10.0


class DagsterUnreadableError(Exception):
    """Dagster's records exist and cannot be read."""


@dataclasses.dataclass(frozen=True)
class Materialization:
    """The newest materialization of one asset, named as `asset_name` names it. at: Unix seconds; run_id is "" for what was reported without a run."""

    asset: str
    at: float
    run_id: str
    tags: Mapping[str, str]

    @property
    def id(self) -> str:
        """The data version: the artifact's id, as Dagster knows it."""
        return self.tags.get(DATA_VERSION, "")


@dataclasses.dataclass(frozen=True)
class RunRecord:
    """A run that has not ended, as Dagster believes."""

    run_id: str
    status: str
    started: float | None
    tags: Mapping[str, str]


class DagsterRecords:
    """Dagster's records of one project; `exists` is false, and every answer empty, when Dagster never ran there.

    home: `.figment/dagster` of the project, whose stores.yaml may name a database instead; is_local: never a database.
    """

    def __init__(self, home: Path, *, is_local: bool = False) -> None:
        self._events = home / "history" / "runs" / "index.db"
        self._runs = home / "history" / "runs.db"
        profile = None if is_local else chosen_profile(home.resolve().parent.parent)
        self._database = profile.dagster if profile else None

    @property
    def exists(self) -> bool:
        """Whether Dagster has written anything yet. Raises DagsterUnreadableError for a database that does not answer."""
        if self._database is None:
            return self._events.is_file()
        with self._open(self._events) as connection:
            return connection is not None

    def newest(self) -> dict[str, Materialization]:
        """The newest materialization of every asset, by `asset_name`."""
        with self._open(self._events) as connection:
            if connection is None:
                return {}
            # Dagster keeps the newest materialization of an asset in the asset's own row, so the log of events is not searched.
            rows = connection.execute("SELECT asset_key, last_materialization FROM asset_keys WHERE last_materialization IS NOT NULL").fetchall()
        found = (_materialization(key, text) for key, text in rows)
        return {record.asset: record for record in found if record is not None}

    def known_ids(self) -> set[str]:
        """Every data version that any materialization ever had."""
        with self._open(self._events) as connection:
            if connection is None:
                return set()
            return {value for (value,) in connection.execute("SELECT DISTINCT value FROM asset_event_tags WHERE key = ?", (DATA_VERSION,))}

    def unfinished_runs(self) -> list[RunRecord]:
        """Runs that have not ended, oldest first."""
        with self._open(self._runs) as connection:
            if connection is None:
                return []
            marks = ",".join("?" * len(_UNFINISHED))
            rows = connection.execute(f"SELECT run_id, status, start_time FROM runs WHERE status IN ({marks}) ORDER BY id", _UNFINISHED).fetchall()  # noqa: S608
            return [RunRecord(run_id, status, started, self._tags(connection, run_id)) for run_id, status, started in rows]

    def _tags(self, connection: Any, run_id: str) -> dict[str, str]:
        return dict(connection.execute("SELECT key, value FROM run_tags WHERE run_id = ?", (run_id,)).fetchall())

    @contextlib.contextmanager
    def _open(self, path: Path) -> Iterator[Any]:
        """A connection, None where there are no records yet."""
        if self._database is not None:
            try:
                with reading(self._database, "dagster") as database:
                    yield database if database.execute("SELECT to_regclass('asset_keys')").fetchone()[0] else None
            except (LabError, ValueError) as error:
                raise DagsterUnreadableError(str(error)) from error
            return
        if not path.is_file():
            yield None
            return
        try:
            connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=_WAIT_S)
            with contextlib.closing(connection):
                yield connection
        except (sqlite3.Error, ValueError) as error:
            # Damaged bytes may also be no text: in a row, in JSON, or in what SQLite says of them.
            raise DagsterUnreadableError(f"{path}: {error}; if no Dagster process is running, move the file away and Dagster starts anew") from error


def _materialization(key: str, text: str) -> Materialization | None:
    path = json.loads(key)
    record = json.loads(text)
    # Older releases stored the entry bare, newer ones inside a record that also has its number.
    entry: Mapping[str, Any] = record.get("event_log_entry", record)
    event = entry.get("dagster_event") or {}
    materialization = (event.get("event_specific_data") or {}).get("materialization") or {}
    if not materialization:
        return None
    return Materialization("/".join(path), float(entry.get("timestamp") or 0.0), entry.get("run_id") or "", dict(materialization.get("tags") or {}))


def untold_stages(project: Project, records: DagsterRecords) -> list[str]:
    """The stages whose newest materialization does not say what dvc.lock says: what was made outside Dagster. Stages that run now are left out.

    The same judgement as `orchestration.bridge.mirror.outside_changes`, without dagster. Raises DagsterUnreadableError.
    """
    lock, newest, running = project.lock(), records.newest(), running_stages(project)
    untold = []
    for name in project.graph.stages:
        if name in lock.entries and name not in running:
            tags = provenance_tags(project, lock, name, lambda before: newest[asset_name(before)].id if asset_name(before) in newest else None)
            recorded = newest[asset_name(name)].tags if asset_name(name) in newest else {}
            # A dependency that was taken out of dvc.yaml must leave Dagster's record too.
            if tags != {key: value for key, value in recorded.items() if key in tags or key.startswith(INPUT_VERSION)}:
                untold.append(name)
    return untold
