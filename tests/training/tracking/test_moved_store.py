"""A project that is moved or copied with its MLflow store: what it has recorded is read, and what it records further lies beside the rest."""

import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.records import mlflow_runs
from orchestration.runs import up
from training.tracking import moved_store
from training.tracking.journal import REFUSED_NAME
from training.tracking.store import open_client
from training.tracking.tracker import PromotionRule, attach_metrics, open_tracker

pytest.importorskip("mlflow", reason="mlflow is not installed (the `track` extra)")


@pytest.fixture
def project(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose path has characters that addresses write in another way, with an empty store that MLflow made there."""
    root = tmp_path / "first pläce"
    (root / ".figment/mlflow").mkdir(parents=True)
    shutil.copyfile(empty_store, root / ".figment/mlflow/mlflow.db")
    _in_store(root, "UPDATE experiments SET artifact_location = ? WHERE name = 'Default'", f"{root}/mlruns/0")
    return root


@pytest.fixture
def train(reporter: Any, tmp_path: Path) -> Callable[..., Any]:
    """One tiny training of the project at `root` with a file, a registered model and its report; the MLflow run."""

    def train(root: Path, run_key: str, *, resume_step: int | None = None) -> Any:
        state_dir = root / ".figment"
        grid = tmp_path / "grid.png"
        grid.write_text(run_key if resume_step is None else f"{run_key} resumed")
        with open_tracker(
            "polygpt", run_key=run_key, config={"width": 8}, inputs=[], state_dir=state_dir, resume_step=resume_step, reporter=reporter
        ) as tracker:
            tracker.metrics(1 if resume_step is None else resume_step + 1, {"loss": 0.5})
            tracker.artifact(grid, "samples" if resume_step is None else "more")
            tracker.register_model("polygpt", Path("data/polygpt"), output_id=f"{run_key}.dir")
        rule = PromotionRule("validity", at_least=0.5)
        attach_metrics(
            "polygpt", output_id=f"{run_key}.dir", metrics={"validity": 0.9}, artifacts=[grid], promote=rule, reporter=reporter, state_dir=state_dir
        )
        return _client(root).get_run(tracker.run_id)

    return train


def test_a_moved_project_reads_its_artifacts_and_records_further_ones(project: Path, train: Callable[..., Any], tmp_path: Path) -> None:
    first = train(project, "one")
    moved = _move(project, tmp_path / "second")
    run_id = first.info.run_id

    assert _read(moved, run_id, "samples/grid.png") == b"one" and _read(moved, run_id, "report/grid.png") == b"one"
    client = _client(moved)
    version = client.get_model_version_by_alias("polygpt", "champion")
    files = client.list_logged_model_artifacts(version.source.removeprefix("models:/"))
    assert [file.path for file in files] == ["MLmodel"]
    assert client.get_model_version_download_uri("polygpt", version.version).startswith("mlflow-artifacts:/polygpt/models/")
    assert mlflow_runs.champion(moved, "polygpt").output_id == "one.dir"

    second = train(moved, "two")
    resumed = train(moved, "one", resume_step=1)

    assert resumed.info.run_id == run_id and _read(moved, run_id, "more/grid.png") == b"one resumed"
    assert _read(moved, second.info.run_id, "samples/grid.png") == b"two"
    assert [metric.step for metric in client.get_metric_history(run_id, "loss")] == [1, 2]
    # Nothing was sent twice, and nothing lies or is looked for in the old place, or would be in the new one.
    assert _read(moved, run_id, "samples/grid.png") == b"one" and list(moved.rglob(REFUSED_NAME)) == []
    assert not project.exists()
    assert [row for row in _dump(moved) if "first" in row or str(tmp_path) in row] == []


def test_a_store_with_absolute_places_from_elsewhere_loses_them_and_is_read(project: Path, train: Callable[..., Any], tmp_path: Path) -> None:
    run = train(project, "one")
    for table, column in moved_store._PLACES.items():
        places = f"{project.as_uri()}/.figment/mlflow/artifacts/"
        _in_store(project, f"UPDATE {table} SET {column} = replace({column}, 'mlflow-artifacts:/', ?) WHERE {column} LIKE '%polygpt%'", places)
    _in_store(project, "UPDATE tags SET value = ? WHERE key = 'figment.project'", str(project))
    assert [row for row in _dump(project) if project.as_uri() in row] != []
    moved = _move(project, tmp_path / "second")

    assert _read(moved, run.info.run_id, "samples/grid.png") == b"one" and _read(moved, run.info.run_id, "report/grid.png") == b"one"
    assert [row for row in _dump(moved) if str(tmp_path) in row or tmp_path.as_uri() in row] == []


def test_the_experiment_that_mlflow_makes_is_hidden_while_it_is_empty(project: Path, train: Callable[..., Any]) -> None:
    train(project, "one")
    client = _client(project)

    assert [experiment.name for experiment in client.search_experiments()] == ["polygpt"]

    client.restore_experiment("0")
    client.create_run("0")
    moved_store.settle(project / ".figment/mlflow/mlflow.db")
    assert {experiment.name for experiment in client.search_experiments()} == {"polygpt", "Default"}


def test_what_a_copy_records_does_not_reach_the_original(project: Path, train: Callable[..., Any], tmp_path: Path) -> None:
    train(project, "one")
    copy = shutil.copytree(project, tmp_path / "copy")
    _forget_places()
    before = {path: path.read_bytes() for path in project.rglob("*") if path.is_file()}

    run = train(copy, "two")

    assert _read(copy, run.info.run_id, "samples/grid.png") == b"two"
    assert {path: path.read_bytes() for path in project.rglob("*") if path.is_file()} == before


def test_a_run_whose_process_died_in_the_old_place_is_found_in_the_new_one(project: Path, train: Callable[..., Any], tmp_path: Path) -> None:
    run = train(project, "one")
    client = _client(project)
    client.set_tag(run.info.run_id, "figment.pid", "4194999")
    client.update_run(run.info.run_id, status="RUNNING")
    moved = _move(project, tmp_path / "second")
    open_client(mlflow_runs.store_uri(moved))

    assert mlflow_runs.reap_dead_runs(moved) == [run.info.run_id]


def test_artifacts_that_lie_outside_of_the_project_stay_where_they_are(project: Path, train: Callable[..., Any], tmp_path: Path) -> None:
    train(project, "one")
    elsewhere = (tmp_path / "disk").as_uri()
    _client(project).create_experiment("elsewhere", artifact_location=elsewhere)

    moved = _move(project, tmp_path / "first pläce 2")
    moved_store.settle(moved / ".figment/mlflow/mlflow.db")

    locations = {experiment.name: experiment.artifact_location for experiment in _client(moved).search_experiments()}
    assert locations == {"elsewhere": elsewhere, "polygpt": "mlflow-artifacts:/polygpt"}


@pytest.mark.parametrize("content", [None, b""])
def test_a_store_that_is_not_made_yet_is_left_to_mlflow(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / ".figment/mlflow/mlflow.db"
    path.parent.mkdir(parents=True)
    if content is not None:
        path.write_bytes(content)

    moved_store.settle(path)

    assert (path.read_bytes() if path.exists() else None) == content


@pytest.mark.slow
def test_the_server_of_a_moved_project_serves_its_artifacts_and_takes_further_runs(project: Path, train: Callable[..., Any], tmp_path: Path) -> None:
    run = train(project, "one")
    moved = _move(project, tmp_path / "second")
    with _served(moved) as address:
        page = f"{address}/get-artifact?path=samples/grid.png&run_uuid={run.info.run_id}"
        assert urllib.request.urlopen(page, timeout=30).read() == b"one"
        client = open_client(address)
        further = client.create_run(run.info.experiment_id)
        client.log_text(further.info.run_id, "by the server", "note.txt")
        assert Path(client.download_artifacts(run.info.run_id, "report/grid.png", str(tmp_path))).read_bytes() == b"one"

    assert (moved / f".figment/mlflow/artifacts/polygpt/{further.info.run_id}/artifacts/note.txt").read_text() == "by the server"


class _served:  # noqa: N801 (read as a context)
    """The address of MLflow's server as `figment up` starts it for the project at `root`."""

    def __init__(self, root: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._address = f"http://127.0.0.1:{port}"
        self._log = root / "server.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(up._mlflow_command(root, port), stdout=log, stderr=log, start_new_session=True, cwd=root)

    def __enter__(self) -> str:
        deadline = time.monotonic() + 120
        while not up._answers(f"{self._address}/health"):
            assert self._process.poll() is None and time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.2)
        return self._address

    def __exit__(self, *_: object) -> None:
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _move(project: Path, place: Path) -> Path:
    _forget_places()
    return project.rename(place)


def _forget_places() -> None:
    """What a new process does not know: MLflow remembers the places of runs as long as its process lives."""
    from mlflow.tracking._tracking_service.utils import _artifact_repos_cache

    _artifact_repos_cache.clear()


def _client(root: Path) -> Any:
    return open_client(mlflow_runs.store_uri(root))


def _read(root: Path, run_id: str, path: str) -> bytes:
    return Path(_client(root).download_artifacts(run_id, path)).read_bytes()


def _in_store(root: Path, statement: str, *values: str) -> None:
    with sqlite3.connect(root / ".figment/mlflow/mlflow.db") as connection:
        connection.execute(statement, values)
    connection.close()


def _dump(root: Path) -> Iterator[str]:
    connection = sqlite3.connect(root / ".figment/mlflow/mlflow.db")
    yield from connection.iterdump()
    connection.close()
