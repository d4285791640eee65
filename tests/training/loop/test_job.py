"""A training stage from its parameters to its output: what continues and what begins anew, what is recorded, and words for what is wrong."""

import json
from pathlib import Path

import pytest

from stages.artifact_id import content_id
from tests.training.harness import Harness
from tests.training.loop.toy_job import JOB, ToyOptions
from training.loop import job as module
from training.loop.loop import TrainingError
from training.tracking.tracker import tracked_series

CURVES = ("look", "loss", "norm")
ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def journal_only(monkeypatch):
    monkeypatch.setenv("FIGMENT_TRACK", "jsonl")


@pytest.fixture
def project(tmp_path) -> Path:
    return make_project(tmp_path / "p")


def make_project(folder: Path) -> Path:
    (folder / "data/numbers").mkdir(parents=True)
    (folder / "data/numbers/one").write_text("1")
    (folder / "params.yaml").write_text("toy: {seed: 5}")
    return folder


def journal(folder: Path) -> list[dict]:
    (path,) = (folder / ".figment/tracking/toy").rglob("*.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


HARNESS = Harness("toy", "tests.training.loop.toy_job", ("data/numbers",))
run, output = HARNESS.run_here, HARNESS.output


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    folder = make_project(tmp_path_factory.mktemp("uninterrupted") / "p")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIGMENT_TRACK", "jsonl")
        assert run(folder) == 0
    return folder


def test_numbers_go_to_the_journal_the_stats_and_the_event_files_and_the_model_is_registered(uninterrupted):
    assert sorted(output(uninterrupted)) == [*(f"plots/curves/{name}.csv" for name in CURVES), "stats.jsonl", "weights.pt"]
    assert output(uninterrupted)["plots/curves/look.csv"].startswith(b"numbers,look\n160,")
    stats = [json.loads(line) for line in output(uninterrupted)["stats.jsonl"].splitlines()]
    assert [row["numbers"] for row in stats] == sorted({*range(40, 481, 40), 160, 320, 480}) and "loss" in stats[0]
    events = journal(uninterrupted)
    opening, model = (next(event for event in events if event["kind"] == kind) for kind in ("open", "model"))
    assert opening["config"]["seed"] == 5 and opening["inputs"][0]["id"] == content_id(uninterrupted / "data/numbers")
    assert (model["model"], model["output_id"]) == ("toy", content_id(uninterrupted / "data/toy"))
    series = tracked_series(uninterrupted / ".figment", "toy", opening["run_key"])
    assert [step for step, _ in series["look"]] == [160, 320, 480]
    assert list((uninterrupted / ".figment/tensorboard/toy" / opening["run_key"]).glob("events.out.tfevents.*"))


@pytest.mark.parametrize("step", [4, 25, 59])
def test_killed_at_any_step_the_same_command_ends_with_the_same_bytes(project, uninterrupted, step):
    HARNESS.kill(project, step)
    assert run(project) == 0
    assert output(project) == output(uninterrupted)


def test_out_of_time_the_output_holds_what_was_reached_and_the_next_start_goes_on(project, uninterrupted, capsys):
    assert run(project, more=("--max-seconds", "0")) == 0
    assert "toy: max_seconds reached after 8 of 480 numbers" in capsys.readouterr().err
    assert run(project) == 0
    told = capsys.readouterr().err
    assert "continuing after 8 of 480 numbers" in told and "toy: 480 numbers seen; parameters 97,000, seen 480" in told
    assert output(project) == output(uninterrupted)


def test_what_decides_no_weights_may_change_and_anything_else_begins_anew(project, capsys):
    assert run(project, "max_seconds=0") == 0
    assert run(project, "max_seconds=0", "checkpoint_every_samples=8") == 0
    assert "continuing after 8" in capsys.readouterr().err
    assert run(project, "max_seconds=0", "seed=6") == 0
    told = capsys.readouterr().err
    assert "not used" in told and "continuing" not in told
    (project / "data/numbers/one").write_text("2")
    assert run(project, "max_seconds=0") == 0
    assert "continuing" not in capsys.readouterr().err


def test_from_scratch_forgets_this_training_and_what_it_kept(project, capsys):
    assert run(project, "max_seconds=0") == 0
    (own,) = (project / ".figment/trainings/toy").iterdir()
    (own / "kept").touch()
    assert run(project, "max_seconds=0") == 0 and (own / "kept").exists()
    assert "continuing" in capsys.readouterr().err
    assert run(project, "max_seconds=0", more=("--from-scratch",)) == 0 and not (own / "kept").exists()
    assert "continuing" not in capsys.readouterr().err


def test_a_training_goes_on_but_never_back(project, uninterrupted, capsys):
    assert run(project, "samples=240") == 0
    assert run(project) == 0
    assert "continuing after 240 of 480" in capsys.readouterr().err
    assert output(project)["weights.pt"] == output(uninterrupted)["weights.pt"]
    assert run(project, "samples=240") == 1
    assert "this training has gone on for 480 numbers, and samples asks for 240; raise samples, or train anew" in capsys.readouterr().err


def test_a_roll_back_is_noted_where_the_numbers_go(project):
    assert run(project, "bad_from=20") == 0
    (row,) = [row for row in map(json.loads, output(project)["stats.jsonl"].splitlines()) if "rollback" in row]
    assert row["rollback"] == 1 and "not finite" in row["why"]
    tags = {name: value for event in journal(project) if event["kind"] == "tags" for name, value in event["values"].items()}
    assert tags["figment.rollbacks"] == "1" and "not finite" in tags["figment.rollback_1"]


def test_nothing_is_recorded_of_a_training_that_cannot_be_opened(project, capsys):
    (project / "data/numbers/one").unlink()
    (project / "data/numbers").rmdir()
    assert run(project) == 1
    assert capsys.readouterr().err == "figment: no numbers\n" and not (project / ".figment").exists()


@pytest.mark.parametrize(
    ("batch", "side_by_side", "processes", "divides"),
    [(8, 8, 1, True), (8, 8, 2, True), (8, 4, 2, True), (8, 3, 1, False), (8, 8, 3, False), (4, 4, 8, False), (12, 3, 2, True), (12, 4, 2, False)],
)
def test_a_batch_must_divide_among_processes_in_equal_parts(batch, side_by_side, processes, divides):
    options = ToyOptions(batch_size=batch, side_by_side=side_by_side)
    if divides:
        module._check_batch(JOB.stage, options, processes)
        return
    with pytest.raises(TrainingError, match=f"toy: a batch of {batch}, {side_by_side} at a time, does not divide among {processes} processes"):
        module._check_batch(JOB.stage, options, processes)
