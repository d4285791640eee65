import contextlib
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy
import pytest

from training.tracking import sender as tracking_sender
from training.tracking import tracker as tracking
from training.tracking.journal import has_unsent
from training.tracking.tracker import InputArtifact, Tracker, TrackingError, open_tracker, replay, tracked_series

pytest.importorskip("mlflow", reason="mlflow is not installed (the `track` extra)")

MOLECULES_ID = "3b1127045dd6f39cee4dd68fed155449.dir"


@pytest.fixture(autouse=True)
def quick_sending(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracking_sender, "_SEND_EVERY_S", 0.05)
    monkeypatch.setattr(tracking_sender, "_RETRY_AT_CLOSE_S", 0.05)


@pytest.fixture
def opened(state_dir: Path, tmp_path: Path, reporter: Any) -> Callable[..., Tracker]:
    def open_one(run_key: str = "0123456789abcdef", *, resume_step: int | None = None, **changed: Any) -> Tracker:
        settings = {
            "config": {"width": 64, "optimizer": {"learning_rate": 1e-3}, "betas": [0.9, 0.95]},
            "inputs": [InputArtifact("molecules", tmp_path / "data" / "molecules", MOLECULES_ID)],
            "state_dir": state_dir,
            "reporter": reporter,
        }
        return open_tracker("polygpt", run_key=run_key, resume_step=resume_step, **{**settings, **changed})

    return open_one


@pytest.fixture
def runs(state_dir: Path, client_of: Callable[[Path], Any]) -> Callable[[], list[Any]]:
    def every_run() -> list[Any]:
        client = client_of(state_dir)
        return client.search_runs([experiment.experiment_id for experiment in client.search_experiments()], order_by=["attributes.start_time ASC"])

    return every_run


@pytest.fixture
def history(state_dir: Path, client_of: Callable[[Path], Any]) -> Callable[[str, str], list[tuple[int, float]]]:
    def of(run_id: str, name: str) -> list[tuple[int, float]]:
        return sorted((metric.step, metric.value) for metric in client_of(state_dir).get_metric_history(run_id, name))

    return of


def test_a_run_holds_params_inputs_metrics_tags_and_files(opened, runs, history, state_dir, client_of, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("FIGMENT_GIT_COMMIT", "c0ffee")
    monkeypatch.setenv("FIGMENT_RUN_URL", "http://127.0.0.1:3000/runs/abc")
    monkeypatch.setenv("FIGMENT_DAGSTER_RUN_ID", "abc")
    picture = tmp_path / "grid.png"
    picture.write_bytes(b"png")
    with opened() as tracker:
        for step in range(1, 4):
            tracker.metrics(step, {"loss": 1 / step, "uniqueness@1000": 0.5})
        tracker.artifact(picture, "samples")
        picture.write_bytes(b"overwritten later")
        tracker.tags({"note": "first try"})
    (run,) = runs()
    assert (run.info.status, run.info.run_name) == ("FINISHED", "polygpt 01234567")
    assert client_of(state_dir).get_experiment(run.info.experiment_id).name == "polygpt"
    assert run.data.params == {"width": "64", "optimizer.learning_rate": "0.001", "betas": "[0.9, 0.95]"}
    assert history(run.info.run_id, "loss") == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert history(run.info.run_id, "uniqueness_at_1000") == [(1, 0.5), (2, 0.5), (3, 0.5)]
    (used,) = run.inputs.dataset_inputs
    assert (used.dataset.name, used.dataset.digest) == ("molecules", MOLECULES_ID)
    wanted = {
        "figment.run_key": "0123456789abcdef",
        "figment.input.molecules": MOLECULES_ID,
        "figment.git_commit": "c0ffee",
        "mlflow.source.git.commit": "c0ffee",
        "figment.dagster_run_url": "http://127.0.0.1:3000/runs/abc",
        "figment.dagster_run_id": "abc",
        "note": "first try",
    }
    assert wanted.items() <= run.data.tags.items()
    assert "http://127.0.0.1:3000/runs/abc" in run.data.tags["mlflow.note.content"]
    kept = Path(client_of(state_dir).download_artifacts(run.info.run_id, "samples/grid.png", str(tmp_path)))
    assert kept.read_bytes() == b"png"
    assert not list((state_dir / "tracking").rglob("grid.png"))


def test_the_caller_is_told_the_run_and_its_page(opened, runs, reporter, monkeypatch) -> None:
    monkeypatch.setenv("FIGMENT_MLFLOW_URL", "http://127.0.0.1:5000/")
    with opened() as tracker:
        tracker.metrics(1, {"loss": 1.0})
    (run,) = runs()
    assert tracker.run_id == run.info.run_id == reporter.facts["mlflow_run_id"]
    page = f"http://127.0.0.1:5000/#/experiments/{run.info.experiment_id}/runs/{run.info.run_id}?workflowType=machine_learning"
    assert tracker.url() == page == reporter.links["mlflow_run"]


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError("no"), "FAILED"), (KeyboardInterrupt(), "KILLED"), (SystemExit(143), "KILLED"), (SystemExit(1), "FAILED")]
)
def test_the_status_tells_how_the_training_ended(opened, runs, error: BaseException, status: str) -> None:
    with pytest.raises(type(error)):
        _train(opened(), range(1), then=error)
    assert [run.info.status for run in runs()] == [status]


def test_the_same_key_continues_the_same_run_without_gap_or_duplicate(opened, runs, history, state_dir) -> None:
    with pytest.raises(RuntimeError):
        _train(opened(), range(10), then=RuntimeError())
    _train(opened(resume_step=6), range(7, 15))
    (run,) = runs()
    assert run.info.status == "FINISHED"
    assert history(run.info.run_id, "loss") == [(step, float(step)) for step in range(15)]
    assert tracked_series(state_dir, "polygpt", "0123456789abcdef")["loss"] == [(step, float(step)) for step in range(15)]


def test_a_start_with_another_budget_says_so_beside_the_parameter_that_mlflow_keeps(opened, runs) -> None:
    for resume_step, budget in ((None, 40), (6, 80), (12, 40)):
        _train(opened(resume_step=resume_step, config={"kimg": budget, "seed": 1}), range((resume_step or 0) + 1, (resume_step or 0) + 3))
        (run,) = runs()
        assert run.data.params == {"kimg": "40", "seed": "1"}
        now = {key: value for key, value in run.data.tags.items() if key.startswith("figment.now.")}
        assert now == ({} if resume_step is None else {"figment.now.kimg": str(budget)})


def test_another_key_is_another_run(opened, runs) -> None:
    for key in ("aaaa", "bbbb"):
        with opened(key) as tracker:
            tracker.metrics(1, {"loss": 1.0})
    assert len(runs()) == 2


def test_a_training_done_again_from_nothing_after_it_finished_gets_a_run_of_its_own(opened, runs, history) -> None:
    for value in (1.0, 2.0):
        with opened() as tracker:
            tracker.metrics(1, {"loss": value})
    first, second = runs()
    assert history(first.info.run_id, "loss") == [(1, 1.0)]
    assert history(second.info.run_id, "loss") == [(1, 2.0)]


@pytest.mark.parametrize("lost_after", ["log_batch", "create_run", "set_terminated", "log_inputs"])
def test_a_request_that_was_carried_out_but_not_answered_is_not_sent_twice(opened, runs, history, monkeypatch, lost_after: str) -> None:
    from mlflow import MlflowClient

    original = getattr(MlflowClient, lost_after)
    failures = iter([True, True])

    def answers_too_late(self: Any, *args: Any, **kwargs: Any) -> Any:
        answer = original(self, *args, **kwargs)
        if next(failures, False):
            raise ConnectionError("the answer was lost")
        return answer

    monkeypatch.setattr(MlflowClient, lost_after, answers_too_late)
    with opened() as tracker:
        for step in range(5):
            tracker.metrics(step, {"loss": float(step)})
            time.sleep(0.02)
    (run,) = runs()
    assert run.info.status == "FINISHED"
    assert history(run.info.run_id, "loss") == [(step, float(step)) for step in range(5)]


def test_lines_out_of_order_and_repeated_steps_arrive_once_each(opened, runs, history) -> None:
    with opened() as tracker:
        for step in (5, 3, 5, 4, 3):
            tracker.metrics(step, {"loss": float(step)})
            # MLflow takes equal values of one millisecond for one.
            time.sleep(0.002)
    (run,) = runs()
    assert history(run.info.run_id, "loss") == [(3, 3.0), (4, 4.0), (5, 5.0)]


def test_a_locked_store_neither_stops_nor_delays_the_steps_and_gets_all_of_them_later(
    opened, runs, history, state_dir, reporter, monkeypatch
) -> None:
    monkeypatch.setattr(tracking_sender, "TROUBLED_CLOSE_S", 0.5)
    monkeypatch.setattr(tracking, "_CLOSE_TIMEOUT_S", 2.0)
    with _locked(state_dir):
        with opened() as tracker:
            started = time.monotonic()
            for step in range(500):
                tracker.metrics(step, {"loss": float(step)})
            assert time.monotonic() - started < 1.0
            closing = time.monotonic()
        assert time.monotonic() - closing < 4.0
        assert any("the next run sends it" in line for line in reporter.lines)
    _wait_for_threads()
    done = replay(state_dir)
    assert done.troubles == () and not has_unsent(state_dir / "tracking" / "polygpt" / "0123456789abcdef")
    (run,) = runs()
    assert run.info.status == "FINISHED"
    assert history(run.info.run_id, "loss") == [(step, float(step)) for step in range(500)]


def test_what_one_training_could_not_send_the_next_one_sends(opened, runs, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(tracking_sender, "TROUBLED_CLOSE_S", 0.1)
        patch.setattr(tracking_sender, "open_client", _raise_refused)
        with opened("aaaa") as tracker:
            tracker.metrics(1, {"loss": 1.0})
    assert runs() == []
    with opened("bbbb") as tracker:
        # A second is enough, but on a machine that is busy with other work.
        for step in range(400):
            tracker.metrics(step, {"loss": 1.0})
            time.sleep(0.05)
            if step > 10 and any(run.info.status == "FINISHED" for run in runs()):
                break
    assert [(run.data.tags["figment.run_key"], run.info.status) for run in runs()] == [("aaaa", "FINISHED"), ("bbbb", "FINISHED")]


def test_a_store_made_anew_receives_the_whole_training(opened, runs, history, state_dir, empty_store) -> None:
    with pytest.raises(RuntimeError):
        _train(opened(), range(2), then=RuntimeError())
    (state_dir / "mlflow" / "mlflow.db").write_bytes(empty_store.read_bytes())
    _train(opened(resume_step=1), range(2, 3))
    (run,) = runs()
    assert history(run.info.run_id, "loss") == [(0, 0.0), (1, 1.0), (2, 2.0)]


def test_a_run_deleted_while_it_trains_is_made_anew(opened, runs, history, state_dir, client_of) -> None:
    with opened() as tracker:
        tracker.metrics(1, {"loss": 1.0})
        _wait_until(lambda: tracker.run_id is not None)
        client_of(state_dir).delete_run(tracker.run_id)
        tracker.metrics(2, {"loss": 2.0})
    (run,) = runs()
    assert history(run.info.run_id, "loss") == [(1, 1.0), (2, 2.0)]


def test_the_background_draws_no_random_numbers_of_the_training(opened) -> None:
    random.seed(1)
    numpy.random.seed(1)  # noqa: NPY002 the global generator is what is at stake
    before = random.getstate(), numpy.random.get_state()[1].tolist()  # noqa: NPY002
    with opened() as tracker:
        tracker.metrics(1, {"loss": 1.0})
    assert (random.getstate(), numpy.random.get_state()[1].tolist()) == before  # noqa: NPY002


def test_one_value_that_mlflow_refuses_is_set_aside_and_the_rest_arrives(opened, runs, history, state_dir, monkeypatch) -> None:
    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException
    from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

    original = MlflowClient.log_batch

    def refuses_step_3(self: Any, run_id: str, metrics: Any = (), **kwargs: Any) -> Any:
        if any(metric.step == 3 for metric in metrics):
            raise MlflowException("step 3 is not to my liking", INVALID_PARAMETER_VALUE)
        return original(self, run_id, metrics=metrics, **kwargs)

    monkeypatch.setattr(MlflowClient, "log_batch", refuses_step_3)
    with opened() as tracker:
        for step in range(6):
            tracker.metrics(step, {"loss": float(step)})
    (run,) = runs()
    assert run.info.status == "FINISHED"
    assert [step for step, _ in history(run.info.run_id, "loss")] == [0, 1, 2, 4, 5]
    refused = (state_dir / "tracking" / "polygpt" / "0123456789abcdef" / "refused.jsonl").read_text()
    assert "not to my liking" in refused and '"step": 3' in refused


def test_settings_longer_than_mlflow_takes_are_cut_and_odd_names_are_made_fit(opened, runs) -> None:
    with opened(config={"long": "x" * 9000, "a (b)": 1, "none": None}):
        pass
    (run,) = runs()
    assert len(run.data.params["long"]) == 6000 and run.data.params["long"].endswith(" ...")
    assert run.data.params["a _b_"] == "1" and run.data.params["none"] == "None"


def test_system_metrics_are_sampled_and_go_on_where_they_stopped(opened, runs, history) -> None:
    counts = []
    for resume_step in (None, 1):
        with opened(resume_step=resume_step, sample_every_s=0.05):
            time.sleep(0.3)
        (run,) = runs()
        sampled = history(run.info.run_id, "system/process_memory_usage_megabytes")
        assert [step for step, _ in sampled] == list(range(len(sampled))) and all(value > 1 for _, value in sampled)
        counts.append(len(sampled))
    assert 0 < counts[0] < counts[1]


def test_with_jsonl_nothing_reaches_mlflow_then_or_later(opened, runs, state_dir, monkeypatch) -> None:
    monkeypatch.setenv("FIGMENT_TRACK", "jsonl")
    with opened() as tracker:
        tracker.metrics(1, {"loss": 1.0})
    assert replay(state_dir).journals == ()
    assert runs() == []
    assert tracked_series(state_dir, "polygpt", "0123456789abcdef") == {"loss": [(1, 1.0)]}


def test_with_none_nothing_is_written(opened, state_dir, monkeypatch) -> None:
    monkeypatch.setenv("FIGMENT_TRACK", "none")
    with opened() as tracker:
        tracker.metrics(1, {"loss": 1.0})
        tracker.register_model("polygpt", state_dir, output_id="x")
    assert not (state_dir / "tracking").exists()


def test_only_the_first_rank_of_several_records(opened, state_dir, monkeypatch) -> None:
    monkeypatch.setenv("RANK", "1")
    with opened() as tracker:
        tracker.metrics(1, {"loss": 1.0})
    assert not (state_dir / "tracking").exists()


def test_without_mlflow_the_journal_is_kept_and_sent_once_mlflow_is_there(opened, runs, state_dir, reporter, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(tracking, "is_installed", lambda: False)
        with opened() as tracker:
            tracker.metrics(1, {"loss": 1.0})
    assert any("mlflow is not installed" in line for line in reporter.lines)
    assert runs() == []
    replay(state_dir)
    assert [run.info.status for run in runs()] == ["FINISHED"]


def test_an_unknown_mode_is_an_error_that_names_the_known_ones(opened, monkeypatch) -> None:
    monkeypatch.setenv("FIGMENT_TRACK", "wandb")
    with pytest.raises(TrackingError, match="FIGMENT_TRACK must be mlflow, jsonl or none, found 'wandb'"):
        opened()


def test_an_artifact_that_is_not_there_is_an_error_that_names_it(opened, tmp_path) -> None:
    with pytest.raises(TrackingError, match="no such file or folder"), opened() as tracker:
        tracker.artifact(tmp_path / "absent.png")


def _train(tracker: Tracker, steps: range, *, then: BaseException | None = None) -> None:
    with tracker:
        for step in steps:
            tracker.metrics(step, {"loss": float(step)})
        if then is not None:
            raise then


@pytest.mark.parametrize("is_short", [True, False])
def test_the_next_training_of_another_kind_sends_what_a_lock_held_back(state_dir, runs, reporter, monkeypatch, is_short) -> None:
    monkeypatch.setattr(tracking_sender, "TROUBLED_CLOSE_S", 0.0 if is_short else 8.0)
    settings = {"run_key": "0123", "config": {}, "inputs": [], "state_dir": state_dir, "resume_step": None, "reporter": reporter}
    with monkeypatch.context() as locked:
        locked.setattr(tracking_sender, "open_client", _raise_refused)
        _train(open_tracker("polygpt", **settings), range(3))
    assert "MLflow has not taken all" in reporter.lines[-1] and runs() == []
    # A training that is over before the thread has begun to send, and one that goes on after it.
    if is_short:
        monkeypatch.setattr(tracking_sender, "TROUBLED_CLOSE_S", 8.0)
        monkeypatch.setattr(tracking_sender.Sender, "start", lambda self: (self._closing.set(), self._thread.start()))
    with open_tracker("toc_captions", **settings) as tracker:
        tracker.metrics(1, {"loss": 1.0})
        if not is_short:
            _wait_until(lambda: len(runs()) == 2)
    assert len(runs()) == 2 and {run.info.status for run in runs()} == {"FINISHED"}


@contextlib.contextmanager
def _locked(state_dir: Path) -> Iterator[None]:
    connection = sqlite3.connect(state_dir / "mlflow" / "mlflow.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        connection.execute("ROLLBACK")
        connection.close()


def _raise_refused(uri: str) -> Any:
    raise ConnectionError(f"{uri} refuses")


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline, "waited 20 s in vain"
        time.sleep(0.02)


def _wait_for_threads() -> None:
    """The sender that was given up on ends by itself; it must not send beside the one under test."""
    _wait_until(lambda: not any(thread.name == "figment-mlflow" for thread in threading.enumerate()))
