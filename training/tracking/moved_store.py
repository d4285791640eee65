"""What a SQLite store of MLflow says of places, without any path of this machine: a project may be moved or copied, and its store is still right.

MLflow itself keeps absolute paths of a store that no server serves. Here artifacts have addresses as a server gives them, `mlflow-artifacts:/…`,
which both the server of `figment up` and our own client look up in the folder `artifacts` beside the file.
"""

import contextlib
import sqlite3
from pathlib import Path

from training.tracking.process import project_label

PLACE = "mlflow-artifacts:/"
_BUSY_S = 30.0
# Where MLflow 3 keeps the places of files.
_PLACES = {"experiments": "artifact_location", "runs": "artifact_uri", "logged_models": "artifact_location", "model_versions": "storage_location"}


def settle(path: Path) -> None:
    """Give everything in the SQLite store `<root>/<state>/mlflow/mlflow.db` such an address, and hide MLflow's own experiment while it is empty.

    Artifacts that somebody put outside of the project stay where they are, and stores of another layout are left alone.
    """
    if not path.exists():
        return
    artifacts = path.resolve().parent / "artifacts"
    with contextlib.closing(sqlite3.connect(path, timeout=_BUSY_S)) as connection, connection:
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'model_versions'").fetchone() is None:
            return
        for former in _absolute_places(connection, artifacts):
            _rewrite(connection, former)
            # As releases before wrote the project that a run belongs to: by its folder.
            label = project_label(artifacts.parents[2])
            connection.execute("UPDATE tags SET value = ? WHERE key = 'figment.project' AND value LIKE '/%'", (label,))
        _hide_default(connection)


def _absolute_places(connection: sqlite3.Connection, artifacts: Path) -> set[str]:
    """The `file:` addresses of the folder of artifacts, in this root or one before, that experiments lie in, by the end of their places."""
    root = artifacts.parents[2]
    end = artifacts.as_uri().removeprefix(root.as_uri())
    found = set()
    for name, location in connection.execute("SELECT name, artifact_location FROM experiments"):
        rest = (artifacts / name).as_uri().removeprefix(root.as_uri())
        if location.startswith("file:///") and location.endswith(rest):
            found.add(location.removesuffix(rest) + end + "/")
    return found


def _rewrite(connection: sqlite3.Connection, former: str) -> None:
    for table, column in _PLACES.items():
        statement = f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?"  # noqa: S608 (names of our own)
        connection.execute(statement, (PLACE, len(former) + 1, len(former), former))


def _hide_default(connection: sqlite3.Connection) -> None:
    """As deleting it by hand does: MLflow makes the experiment `Default` with every store, and it stays empty."""
    is_wanted = (
        "experiment_id = 0 AND name = 'Default' AND (lifecycle_stage = 'active' OR artifact_location != ?) "
        "AND NOT EXISTS (SELECT 1 FROM runs WHERE runs.experiment_id = 0)"
    )
    # Looked at first: an update waits for whoever writes, even where it has nothing to do.
    if connection.execute(f"SELECT 1 FROM experiments WHERE {is_wanted}", (f"{PLACE}0",)).fetchone():  # noqa: S608 (words of our own)
        statement = f"UPDATE experiments SET lifecycle_stage = 'deleted', artifact_location = ? WHERE {is_wanted}"  # noqa: S608
        connection.execute(statement, (f"{PLACE}0", f"{PLACE}0"))
