import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from training.tracking.sender import reap
from training.tracking.tracker import open_tracker, replay, tracked_series

pytest.importorskip("mlflow", reason="mlflow is not installed (the `track` extra)")

PROGRAM = Path(__file__).with_name("tracked_training.py")
WHOLE = [(step, 1 / (step + 1)) for step in range(120)]


@pytest.fixture
def train(state_dir: Path, project_root: Path) -> Callable[..., int]:
    def run_it(*arguments: object) -> int:
        return subprocess.run(_command(state_dir, *arguments), env=_environment(project_root), timeout=60, check=False).returncode

    return run_it


@pytest.mark.slow  # its quick twin, with one kill, is the next test
def test_a_training_killed_at_several_moments_is_one_run_with_every_step_once(train, state_dir, client_of) -> None:
    for moment in (("create_run", 1), ("log_batch", 4), ("step", 25), ("log_batch", 6)):
        assert train(*moment) == -signal.SIGKILL, moment
    assert train() == 0
    (run,) = _runs(client_of(state_dir))
    assert run.info.status == "FINISHED"
    assert _history(client_of(state_dir), run) == WHOLE
    assert tracked_series(state_dir, "toy", "feedbeef")["loss"] == WHOLE


def test_a_killed_run_is_marked_killed_by_a_replay_and_continued_by_the_same_command(train, state_dir, client_of) -> None:
    assert train("log_batch", 4) == -signal.SIGKILL
    assert [run.info.status for run in _runs(client_of(state_dir))] == ["RUNNING"]
    assert replay(state_dir).killed == ("toy/feedbeef",)
    assert [run.info.status for run in _runs(client_of(state_dir))] == ["KILLED"]
    assert train() == 0
    (run,) = _runs(client_of(state_dir))
    assert run.info.status == "FINISHED"
    assert _history(client_of(state_dir), run) == WHOLE


def test_a_killed_run_without_its_journal_is_marked_killed_and_a_living_one_left_alone(train, state_dir, client_of, reporter) -> None:
    assert train("log_batch", 4) == -signal.SIGKILL
    (dead,) = _runs(client_of(state_dir))
    (state_dir / "tracking").rename(state_dir / "lost")
    with open_tracker("toy", run_key="alive", config={}, inputs=[], state_dir=state_dir, resume_step=None, reporter=reporter) as tracker:
        deadline = time.monotonic() + 20
        while tracker.run_id is None and time.monotonic() < deadline:
            time.sleep(0.05)
        # The tracker itself reaps right after its own first sending, so the dead one may be gone already.
        assert reap(client_of(state_dir), str(state_dir.parent)) in ([dead.info.run_id], [])
        statuses = {run.data.tags["figment.run_key"]: run.info.status for run in _runs(client_of(state_dir))}
        assert statuses == {"feedbeef": "KILLED", "alive": "RUNNING"}


@pytest.mark.parametrize("name", ["SIGTERM", pytest.param("SIGINT", marks=pytest.mark.slow)])
def test_a_training_told_to_stop_says_so_right_away(state_dir, client_of, project_root, name: str) -> None:
    process = subprocess.Popen(_command(state_dir, "wait", 0), env=_environment(project_root), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None and process.stdout.readline() == b"waiting\n"
    process.send_signal(getattr(signal, name))
    # Seconds on an idle machine; the bound is for a busy one.
    assert process.wait(timeout=90) in (143, -signal.SIGINT, 130)
    process.stdout.close()
    (run,) = _runs(client_of(state_dir))
    assert run.info.status == "KILLED"


def test_a_second_process_with_the_same_key_is_refused_and_told_who_holds_it(tmp_path, project_root) -> None:
    environment = {**_environment(project_root), "FIGMENT_TRACK": "jsonl"}
    process = subprocess.Popen(_command(tmp_path, "wait", 0), env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout is not None and process.stdout.readline() == b"waiting\n"
    second = subprocess.run(_command(tmp_path), env=environment, capture_output=True, text=True, timeout=60, check=False)
    process.kill()
    process.wait()
    process.stdout.close()
    assert second.returncode == 1
    assert f"process {process.pid} is training toy with the same settings and inputs" in second.stderr


@pytest.mark.slow  # its quick twin makes the store from threads: test_tracking_store.py
def test_two_first_trainings_at_once_make_one_store_and_both_arrive(tmp_path, project_root) -> None:
    from training.tracking.store import open_client

    store = f"sqlite:///{tmp_path}/shared/mlflow.db"
    environment = {**_environment(project_root), "MLFLOW_TRACKING_URI": store}
    processes = [subprocess.Popen(_command(tmp_path / key / ".figment"), env={**environment, "TOY_KEY": key}) for key in ("a", "b")]
    assert [process.wait(timeout=60) for process in processes] == [0, 0]
    client = open_client(store)
    runs = _runs(client)
    assert [run.info.status for run in runs] == ["FINISHED", "FINISHED"]
    assert [_history(client, run) for run in runs] == [WHOLE, WHOLE]


def _command(state_dir: Path, *arguments: object) -> list[str]:
    return [sys.executable, str(PROGRAM), str(state_dir), *map(str, arguments)]


def _environment(project_root: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(project_root)}


def _runs(client: Any) -> list[Any]:
    return client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])


def _history(client: Any, run: Any) -> list[tuple[int, float]]:
    return sorted((metric.step, metric.value) for metric in client.get_metric_history(run.info.run_id, "loss"))
