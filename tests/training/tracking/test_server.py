"""Tracking against a real `mlflow server` that is killed and started again. The quick twins with SQLite are in test_tracking.py."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.records import mlflow_runs
from training.tracking import sender as tracking_sender
from training.tracking.journal import has_unsent
from training.tracking.store import open_client
from training.tracking.tracker import InputArtifact, PromotionRule, attach_metrics, open_tracker, replay

pytest.importorskip("mlflow", reason="mlflow is not installed (the `track` extra)")
pytestmark = pytest.mark.slow

MOLECULES_ID = "3b1127045dd6f39cee4dd68fed155449.dir"
STEPS = [(step, float(step)) for step in range(30)]


class Server:
    """An MLflow server on loopback whose process group ends with it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        stores = ["--backend-store-uri", f"sqlite:///{self._folder}/mlflow.db", "--artifacts-destination", str(self._folder / "artifacts")]
        environment = {key: value for key, value in os.environ.items() if key != "MLFLOW_TRACKING_URI"}
        with (self._folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen([*command, *stores], stdout=log, stderr=log, start_new_session=True, env=environment, cwd=self._folder)
        deadline = time.monotonic() + 120
        while not self._answers():
            assert self._process.poll() is None and time.monotonic() < deadline, (self._folder / "server.log").read_text()
            time.sleep(0.2)

    def kill(self) -> None:
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.uri}/health", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False


@pytest.fixture
def server(tmp_path: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    folder = tmp_path / "server"
    folder.mkdir()
    shutil.copyfile(empty_store, folder / "mlflow.db")
    server = Server(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
    monkeypatch.setattr(tracking_sender, "_SEND_EVERY_S", 0.2)
    monkeypatch.setattr(tracking_sender, "_LONGEST_PAUSE_S", 1.0)
    server.start()
    yield server
    server.kill()


def test_a_server_killed_in_the_middle_of_trainings_gets_everything_in_the_end(server: Server, tmp_path: Path, reporter: Any) -> None:
    state_dir = tmp_path / "project" / ".figment"
    grid = tmp_path / "grid.png"
    grid.write_bytes(b"png")

    def train(run_key: str, at_third: Callable[[Any], None], at_two_thirds: Callable[[], None]) -> None:
        inputs = [InputArtifact("molecules", tmp_path / "molecules", MOLECULES_ID)]
        with open_tracker(
            "polygpt", run_key=run_key, config={"width": 8}, inputs=inputs, state_dir=state_dir, resume_step=None, reporter=reporter
        ) as tracker:
            for step, loss in STEPS:
                tracker.metrics(step, {"loss": loss})
                if step == 10:
                    at_third(tracker)
                if step == 20:
                    at_two_thirds()
            tracker.artifact(grid, "samples")
            tracker.register_model("polygpt", Path("data/polygpt"), output_id=f"{run_key}.dir")

    def when_sent_kill(tracker: Any) -> None:
        _wait_until(lambda: tracker.run_id is not None)
        server.kill()

    # The server comes back while the training still runs: nothing is left to do afterwards.
    train("back", when_sent_kill, server.start)
    assert not has_unsent(state_dir / "tracking" / "polygpt" / "back")
    assert reporter.links["mlflow_run"].startswith(f"{server.uri}/#/experiments/")

    # The server stays away: the training ends in bounded time, and a replay sends the rest once it is back.
    train("away", when_sent_kill, lambda: None)
    assert any("the next run sends it" in line for line in reporter.lines)
    asked = time.monotonic()
    assert replay(state_dir).troubles != ()
    (finding,) = [found for found in mlflow_runs.open_findings(state_dir.parent, ()) if found.kind == "mlflow_unreachable"]
    assert server.uri in finding.subject
    assert time.monotonic() - asked < 30
    server.start()
    assert replay(state_dir).journals == ("polygpt/away",)

    client = open_client(server.uri)
    experiment = client.get_experiment_by_name("polygpt")
    runs = client.search_runs([experiment.experiment_id], order_by=["attributes.start_time ASC"])
    assert [(run.data.tags["figment.run_key"], run.info.status) for run in runs] == [("back", "FINISHED"), ("away", "FINISHED")]
    for run in runs:
        assert sorted((metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, "loss")) == STEPS
        assert Path(client.download_artifacts(run.info.run_id, "samples/grid.png", str(tmp_path))).read_bytes() == b"png"
    _check_registry_and_reading_back(state_dir, server, runs, grid, reporter)


def _check_registry_and_reading_back(state_dir: Path, server: Server, runs: list[Any], grid: Path, reporter: Any) -> None:
    rule = PromotionRule("validity", at_least=0.5)
    attach_metrics("polygpt", output_id="back.dir", metrics={"validity": 0.9}, artifacts=[grid], promote=rule, reporter=reporter, state_dir=state_dir)
    root = state_dir.parent
    by_server = [
        mlflow_runs.dataset_digests_in_use(root),
        mlflow_runs.model_versions(root),
        mlflow_runs.champion(root, "polygpt"),
        mlflow_runs.run_summary(root, runs[0].info.run_id),
        mlflow_runs.run_summary(root, "0" * 32),
    ]
    assert [use.digest for use in by_server[0]] == [MOLECULES_ID] * 2
    assert by_server[2].output_id == "back.dir"
    # The same answers straight from the server's own database.
    os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{server._folder}/mlflow.db"
    os.environ["FIGMENT_MLFLOW_URL"] = server.uri
    assert by_server == [
        mlflow_runs.dataset_digests_in_use(root),
        mlflow_runs.model_versions(root),
        mlflow_runs.champion(root, "polygpt"),
        mlflow_runs.run_summary(root, runs[0].info.run_id),
        mlflow_runs.run_summary(root, "0" * 32),
    ]


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "waited a minute in vain"
        time.sleep(0.05)
