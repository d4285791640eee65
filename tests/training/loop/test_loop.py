"""The shared loop: exact resume after any death, metrics without gap or repetition, and a guard against collapse."""

import json
import signal
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from stages.reporting import Reporter
from tests import warm
from tests.training.loop.toy_training import BATCH, FileSink, ListSink, ToyTraining, run
from training.loop.checkpoint import Checkpoints
from training.loop.devices import Devices
from training.loop.loop import Hook, Plan, TrainingError, TrainingLoop, linear_schedule
from training.loop.stats_files import MACHINE


class Told(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> tuple[dict[str, torch.Tensor], list]:
    training, sink = ToyTraining(), ListSink()
    outcome = run(training, tmp_path_factory.mktemp("whole"), sink)
    assert outcome.finished and outcome.samples_seen == 480
    return training.model.state_dict(), sink.rows


def assert_equal_weights(weights, expected) -> None:
    assert weights.keys() == expected.keys()
    assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())


def series(path: Path) -> list:
    """What counts in a file of metrics: of each step the line written last."""
    rows = {}
    for line in path.read_text().splitlines():
        step, values = json.loads(line)
        rows[step] = values
    return sorted(rows.items())


def start(folder: Path, *more: str) -> subprocess.CompletedProcess:
    return warm.run("-m", "tests.training.loop.toy_training", str(folder), *more, imports=["training.loop.loop"])


def test_killed_again_and_again_the_training_ends_with_the_same_bits(tmp_path, uninterrupted):
    weights, rows = uninterrupted
    # Before the first report, between report and checkpoint, right after a checkpoint, and near the end.
    for step in (3, 17, 13, 30):
        assert start(tmp_path, "--kill-at-step", str(step)).returncode == -signal.SIGKILL
    finished = start(tmp_path)
    assert finished.returncode == 0, finished.stderr
    assert "continuing after" in finished.stderr
    assert_equal_weights(torch.load(tmp_path / "weights.pt", weights_only=True), weights)
    assert series(tmp_path / "metrics.jsonl") == rows


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_to_end_finishes_the_step_saves_and_exits(tmp_path, uninterrupted, number, code):
    weights, rows = uninterrupted
    stopped = start(tmp_path, "--kill-at-step", "14", "--signal", str(int(number)))
    assert stopped.returncode == code and "Traceback" not in stopped.stderr
    # Fifteen steps were taken, and none of them is lost: that is past the checkpoint at twelve.
    assert "terminated after 120 samples" in stopped.stderr
    resumed = start(tmp_path)
    assert "continuing after 120 of 480" in resumed.stderr
    assert_equal_weights(torch.load(tmp_path / "weights.pt", weights_only=True), weights)
    lines = [json.loads(line)[0] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert lines == [step for step, _ in rows]


def test_a_damaged_newest_checkpoint_costs_some_steps_but_not_the_result(tmp_path, uninterrupted):
    start(tmp_path, "--kill-at-step", "40")
    newest = max((tmp_path / "checkpoints/key").glob("*.pt"))
    newest.write_bytes(newest.read_bytes()[:-1000])
    finished = start(tmp_path)
    assert "WARNING" in finished.stderr and "cut short" in finished.stderr
    assert_equal_weights(torch.load(tmp_path / "weights.pt", weights_only=True), uninterrupted[0])


def test_metrics_come_at_every_report_and_hooks_at_theirs(uninterrupted):
    rows = dict(uninterrupted[1])
    assert sorted(rows) == sorted({*range(40, 481, 40), *range(64, 481, 64), 480})
    assert "loss" in rows[40] and "noise" not in rows[40] and set(rows[480]) >= {"loss", "norm", "noise", "skipped_steps", "rollbacks"}
    assert rows[480]["loss"] < 0.5 * rows[40]["loss"]


def test_hooks_do_not_disturb_the_training(tmp_path, uninterrupted):
    training = ToyTraining()
    run(training, tmp_path, ListSink(), noise_hook=False)
    assert_equal_weights(training.model.state_dict(), uninterrupted[0])


def test_out_of_time_stops_at_a_checkpoint_and_the_next_start_goes_on(tmp_path, uninterrupted):
    first, second, sink = ToyTraining(), ToyTraining(), ListSink()
    outcome = run(first, tmp_path, sink, max_seconds=0.0)
    assert not outcome.finished and outcome.samples_seen == 8
    assert run(second, tmp_path, sink).finished
    assert second.steps_here == 59
    assert_equal_weights(second.model.state_dict(), uninterrupted[0])


def test_a_finished_training_is_not_repeated(tmp_path, uninterrupted):
    run(ToyTraining(), tmp_path, ListSink())
    again, sink = ToyTraining(), ListSink()
    outcome = run(again, tmp_path, sink)
    assert again.steps_here == 0 and sink.rows == [] and outcome.finished and outcome.values["loss"] == dict(uninterrupted[1])[480]["loss"]


def test_a_few_bad_steps_are_skipped_and_counted(tmp_path):
    training, sink = ToyTraining(poison=range(10, 13)), ListSink()
    outcome = run(training, tmp_path, sink)
    assert (outcome.skipped_steps, outcome.rollbacks, outcome.finished) == (3, 0, True)
    assert all(tensor.isfinite().all() for tensor in training.model.state_dict().values())
    assert sink.rows[-1][1]["skipped_steps"] == 3 and all(values.get("loss", 0) < 100 for _, values in sink.rows)


def test_many_bad_steps_in_a_row_roll_back_and_take_other_data(tmp_path):
    training, told, sink = ToyTraining(poison=range(20, 60), poison_until_salt=1), Told(), ListSink()
    outcome = run(training, tmp_path, sink, reporter=told)
    assert (outcome.rollbacks, outcome.skipped_steps, outcome.finished, training.salt) == (1, 5, True, 1)
    assert any("rolled back to 96 samples" in line for line in told.lines)
    steps = [step for step, _ in sink.rows]
    assert steps == sorted(set(steps)) and sink.rows[-1][1]["rollbacks"] == 1


def test_when_rolling_back_does_not_help_the_training_fails_and_says_why(tmp_path):
    training = ToyTraining(poison=range(20, 60))
    with pytest.raises(TrainingError, match="also after 3 roll-backs; lower the learning rate"):
        run(training, tmp_path, ListSink())
    assert training.salt == 3


class Penalised(ToyTraining):
    """Every fourth step tells a penalty too: 1, 2, 3, …"""

    def step(self):
        outcome = super().step()
        number = self.samples_seen // BATCH
        return replace(outcome, values={**outcome.values, "penalty": number / 4}) if number % 4 == 0 else outcome


def test_what_only_some_steps_tell_is_their_mean_and_stays_until_it_is_told_again(tmp_path):
    sink = ListSink()
    run(Penalised(), tmp_path, sink, noise_hook=False, total_samples=160, report_every_samples=24)
    # Reports at 24, 48, … samples; penalties at 32, 64, 96, 128 and 160. The first report has none to tell.
    assert [(step, values.get("penalty")) for step, values in sink.rows] == [
        (24, None), (48, 1.0), (72, 2.0), (96, 3.0), (120, 3.0), (144, 4.0), (160, 5.0),
    ]  # fmt: skip


def test_every_report_tells_time_and_memory_images_by_kimg(tmp_path):
    rows = []
    sink = SimpleNamespace(metrics=lambda step, values: rows.append(values))
    training = ToyTraining()
    training.flops_per_sample = 1e3  # type: ignore[attr-defined]
    run(training, tmp_path, sink, noise_hook=False, what="images")
    # Of a CPU no peak is known, and so no share of it.
    assert len(rows) == 12 and all(set(MACHINE) - {"model_flops_utilization"} == set(MACHINE) & set(values) for values in rows)
    assert all(values["model_flops_per_second"] == pytest.approx(1e6 / values["seconds_per_kimg"]) for values in rows)
    assert all(0 < values["seconds_per_kimg"] < 1000 and values["peak_memory_mib"] > 50 for values in rows)


class CountingGuard:
    """Finds a collapse in the reports named by number; what it counts is its state."""

    def __init__(self, *collapses: int, suspects: tuple[int, ...] = ()) -> None:
        self.collapses, self.suspects, self.reports, self.is_clean = collapses, suspects, 0, True

    def judge(self, values, samples) -> str | None:
        self.reports += 1
        self.is_clean = self.reports not in self.suspects
        return "it looks bad" if self.reports in self.collapses else None

    def forget_windows(self) -> None:
        self.is_clean = True

    def state_dict(self) -> dict:
        return {"reports": self.reports}

    def load_state_dict(self, state: dict) -> None:
        self.reports = state["reports"]


def guarded(folder: Path, guard: CountingGuard, **more):
    training, told, rollbacks = ToyTraining(), Told(), []
    more = {"good_states": 3, "report_every_samples": 40, "checkpoint_every_samples": 40, **more}
    outcome = run(
        training, folder, ListSink(), reporter=told, noise_hook=False, guard=guard, on_rollback=lambda *what: rollbacks.append(what), **more
    )
    return training, told, rollbacks, outcome


def test_a_collapse_goes_back_to_a_good_state_and_is_told(tmp_path):
    training, told, rollbacks, outcome = guarded(tmp_path, CountingGuard(5, suspects=(3, 4)))
    # Reports at 40, 80, …: those at 120 and 160 were suspect, so the state after 80 is the one to come back to.
    assert rollbacks == [(1, "after 200 samples: it looks bad")] and outcome.reasons == ("after 200 samples: it looks bad",)
    assert any("rolled back to 80 samples" in line for line in told.lines)
    assert outcome.finished and outcome.rollbacks == training.salt == 1


def test_a_second_collapse_goes_further_back(tmp_path):
    _, told, _, outcome = guarded(tmp_path, CountingGuard(4, 5))
    rolled = [line.split("rolled back to ")[1].split()[0] for line in told.lines if "rolled back" in line]
    # States after 40, 80 and 120 are kept; the one after 120 is used up by the first collapse, at 160.
    assert rolled == ["120", "80"] and outcome.finished


def test_a_guard_that_is_never_content_ends_the_training(tmp_path):
    with pytest.raises(TrainingError, match="it looks bad, also after 3 roll-backs"):
        guarded(tmp_path, CountingGuard(*range(2, 20)))


def test_killed_after_a_roll_back_the_new_way_is_taken_up(tmp_path):
    whole, *_ = guarded(tmp_path / "whole", CountingGuard(5, suspects=(3, 4)))
    guard = CountingGuard(5, suspects=(3, 4))
    # It stops right after the roll-back: nothing of the new way has been saved but its beginning.
    _, _, rollbacks, outcome = guarded(tmp_path / "cut", guard, max_seconds=0.0)
    while not rollbacks and not outcome.finished:
        _, _, rollbacks, outcome = guarded(tmp_path / "cut", guard, max_seconds=0.0)
    training, _, rollbacks, outcome = guarded(tmp_path / "cut", guard)
    assert outcome.finished and outcome.rollbacks == 1 and rollbacks == []
    assert_equal_weights(training.model.state_dict(), whole.model.state_dict())


def test_a_hook_may_run_before_the_first_step_once(tmp_path):
    training, sink, seen = ToyTraining(), ListSink(), []
    checkpoints = Checkpoints(tmp_path, "key", 2, Reporter())

    def look() -> dict[str, float]:
        seen.append(training.samples_seen)
        return {"look": 1.0}

    for _ in range(2):
        hooks = [Hook(80, look, at_start=True)]
        TrainingLoop(training, Plan(160, 80, 80), checkpoints, [sink], Told(), Devices(torch.device("cpu")), hooks).run(checkpoints.latest())
    assert seen == [0, 80, 160] and sink.rows[0] == (0, {"look": 1.0})


def test_outside_the_main_thread_the_loop_works_without_signals(tmp_path, uninterrupted):
    training = ToyTraining()
    thread = threading.Thread(target=run, args=(training, tmp_path, FileSink(tmp_path / "metrics.jsonl")))
    thread.start()
    thread.join()
    assert training.samples_seen == 480


@pytest.mark.parametrize(("samples", "factor"), [(0, 0.01), (99, 1.0), (100, 1.0), (600, 0.55), (1100, 0.1), (5000, 0.1)])
def test_the_learning_rate_rises_then_falls_in_a_straight_line(samples, factor):
    assert linear_schedule(samples, warmup_samples=100, total_samples=1100, final_fraction=0.1) == pytest.approx(factor)


def test_a_training_that_gains_nothing_stops_finished_and_says_why_and_is_not_taken_up_again(tmp_path):
    def train(training: ToyTraining, told: Told):
        return run(training, tmp_path, ListSink(), reporter=told, why_done=lambda: "enough" if training.samples_seen >= 200 else None)

    told = Told()
    outcome = train(ToyTraining(), told)
    assert outcome.finished and outcome.samples_seen == 200 and outcome.stopped == "enough"
    assert "stopped after 200 of 480 samples: enough" in told.lines
    again = ToyTraining()
    assert train(again, told).samples_seen == 200 and again.steps_here == 0


def test_a_reason_to_stop_that_comes_with_the_last_step_is_none(tmp_path):
    training = ToyTraining()
    outcome = run(training, tmp_path, ListSink(), why_done=lambda: "enough" if training.samples_seen >= 480 else None)
    assert outcome.finished and outcome.stopped == ""
