"""Read a local MLflow store straight from its SQLite file: a look costs milliseconds and imports no mlflow.

Reads only, in SQLite's read-only mode. Tables as MLflow 3 makes them; a test compares every answer with that of MLflow's own client.
"""

import contextlib
import sqlite3
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_WAIT_S = 5.0

Row = dict[str, Any]

_DATASETS = """
    SELECT runs.run_uuid AS run_id, experiments.name AS experiment, runs.status AS status, datasets.name AS name, datasets.digest AS digest
    FROM inputs
    JOIN datasets ON datasets.dataset_uuid = inputs.source_id
    JOIN runs ON runs.run_uuid = inputs.destination_id
    JOIN experiments ON experiments.experiment_id = runs.experiment_id
    WHERE inputs.source_type = 'DATASET' AND inputs.destination_type = 'RUN' AND runs.lifecycle_stage = 'active'
    ORDER BY runs.start_time, datasets.name
"""
_RUNS = """
    SELECT runs.run_uuid AS run_id, experiments.name AS experiment, runs.experiment_id AS experiment_id, runs.status AS status,
           runs.start_time AS start_ms, runs.end_time AS end_ms
    FROM runs JOIN experiments ON experiments.experiment_id = runs.experiment_id
    WHERE runs.lifecycle_stage = 'active'
"""


class SqliteStore:
    """The parts of an MLflow store that figment reads."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def datasets(self) -> list[Row]:
        """One row for each dataset a run read: run_id, experiment, status, name, digest."""
        with self._open() as connection:
            return [dict(row) for row in connection.execute(_DATASETS)]

    def versions(self) -> list[Row]:
        """One row for each registered version, oldest first: model, version, run_id, tags, aliases."""
        with self._open() as connection:
            # All tags and aliases in one query each, rather than two for each version.
            tags: dict[tuple[str, int], dict[str, str]] = defaultdict(dict)
            for name, version, key, value in connection.execute("SELECT name, version, key, value FROM model_version_tags"):
                tags[name, version][key] = value
            aliases: dict[tuple[str, int], list[str]] = defaultdict(list)
            for name, version, alias in connection.execute("SELECT name, version, alias FROM registered_model_aliases ORDER BY alias"):
                aliases[name, version].append(alias)
            # MLflow keeps deleted versions under a stage of their own.
            rows = connection.execute(
                "SELECT name, version, run_id FROM model_versions WHERE current_stage != 'Deleted_Internal' ORDER BY name, version"
            )
            return [
                {"model": name, "version": str(version), "run_id": run_id, "tags": tags[name, version], "aliases": aliases[name, version]}
                for name, version, run_id in rows
            ]

    def running(self) -> list[Row]:
        """Runs that are marked RUNNING, with their tags."""
        with self._open() as connection:
            return [self._with_tags(connection, row) for row in connection.execute(_RUNS + " AND runs.status = 'RUNNING'").fetchall()]

    def run(self, run_id: str) -> Row | None:
        """One run with its tags, params and newest metrics; None when there is none."""
        with self._open() as connection:
            row = connection.execute(_RUNS + " AND runs.run_uuid = ?", (run_id,)).fetchone()
            if row is None:
                return None
            metrics = connection.execute("SELECT key, value, is_nan FROM latest_metrics WHERE run_uuid = ? ORDER BY key", (run_id,)).fetchall()
            params = connection.execute("SELECT key, value FROM params WHERE run_uuid = ? ORDER BY key", (run_id,)).fetchall()
            return self._with_tags(connection, row) | {
                "metrics": {key: float("nan") if is_nan else value for key, value, is_nan in metrics},
                "params": {param["key"]: param["value"] for param in params},
            }

    def _with_tags(self, connection: sqlite3.Connection, row: sqlite3.Row) -> Row:
        tags = connection.execute("SELECT key, value FROM tags WHERE run_uuid = ?", (row["run_id"],)).fetchall()
        return dict(row) | {"experiment_id": str(row["experiment_id"]), "tags": {tag["key"]: tag["value"] for tag in tags}}

    @contextlib.contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(f"{self._path.resolve().as_uri()}?mode=ro", uri=True, timeout=_WAIT_S)
        connection.row_factory = sqlite3.Row
        try:
            yield connection
        finally:
            connection.close()
