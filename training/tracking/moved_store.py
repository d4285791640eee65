"""A project's MLflow store after the project was moved or copied. MLflow keeps absolute paths: they are rewritten for where the project is now."""

import contextlib
import sqlite3
import urllib.parse
import urllib.request
from pathlib import Path

_BUSY_S = 30.0
# Where MLflow 3 keeps the places of files.
_PLACES = {"experiments": "artifact_location", "runs": "artifact_uri", "logged_models": "artifact_location", "model_versions": "storage_location"}
# The project that a run belongs to is a tag of ours, by which runs of dead processes are found.
_PROJECT_TAG = "figment.project"


def settle(path: Path) -> None:
    """Make the SQLite store `<root>/<state>/mlflow/mlflow.db` point into this `root`, if it was made in another.

    Artifacts that somebody put outside of the other root stay where they are, and stores of another layout are left alone.
    """
    if not path.exists():
        return
    artifacts = path.resolve().parent / "artifacts"
    root = artifacts.parents[2]
    with contextlib.closing(sqlite3.connect(path, timeout=_BUSY_S)) as connection, connection:
        for former in _former_roots(connection, root, artifacts):
            _rewrite(connection, former, root, artifacts)


def _former_roots(connection: sqlite3.Connection, root: Path, artifacts: Path) -> set[str]:
    """The `file:` addresses of roots other than `root` that experiments point into, going by the rest of their artifacts' places."""
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'experiments'").fetchone() is None:
        return set()
    former = set()
    for name, location in connection.execute("SELECT name, artifact_location FROM experiments"):
        here = (artifacts / name).as_uri()
        rest = here.removeprefix(root.as_uri())
        if location != here and location.startswith("file:///") and location.endswith(rest):
            former.add(location.removesuffix(rest))
    return former


def _rewrite(connection: sqlite3.Connection, former_uri: str, root: Path, artifacts: Path) -> None:
    former = urllib.request.url2pathname(urllib.parse.urlsplit(former_uri).path)
    moves = {
        former_uri + artifacts.as_uri().removeprefix(root.as_uri()) + "/": artifacts.as_uri() + "/",
        # MLflow's own experiment `Default` has a plain path.
        f"{former}/mlruns/": f"{root}/mlruns/",
    }
    for table, column in _PLACES.items():
        for old, new in moves.items():
            statement = f"UPDATE {table} SET {column} = ? || substr({column}, ?) WHERE substr({column}, 1, ?) = ?"  # noqa: S608 (names of our own)
            connection.execute(statement, (new, len(old) + 1, len(old), old))
    connection.execute("UPDATE tags SET value = ? WHERE key = ? AND value = ?", (str(root), _PROJECT_TAG, former))
