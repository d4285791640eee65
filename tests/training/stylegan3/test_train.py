"""The StyleGAN3 stage: what it writes, exact resume after any death, training on, transfer, the guard, and words for what is wrong."""

import json
import math
import shutil
import signal
from pathlib import Path

import numpy
import pytest
import torch
from safetensors.torch import load_file, save_file

from stages.reporting import Reporter
from tests.training.harness import Harness
from tests.training.stylegan3.toy_gan import TINY
from tests.training.stylegan3.toy_images import write_toy_dataset
from training.gans.grids import load_picture
from training.gans.image_stream import read_images
from training.loop.collapse_guard import GuardLimits
from training.loop.devices import Devices
from training.loop.stats_files import MACHINE
from training.stylegan3 import load_generator, train
from training.stylegan3.generator import TRAINED
from training.stylegan3.options import StyleGAN3Options
from training.tracking.tracker import tracked_series

# Twenty iterations of four images, with a snapshot every five.
PARAMS = {
    **TINY,
    "dataset_size": 16,
    "kimg": 0.08,
    "snap": 0.02,
    "tick": 0.012,
    "checkpoint_kimg": 0.028,
    "reg_interval": 4,
    "aug": "ada",
    "ada_kimg": 0.2,
    "target": 0.2,
    "grid": [3, 2],
    "metrics": ["swd", "fd"],
    "metric_images": 16,
    "guard_images": 8,
    # Twenty steps say little about a distance: these tests are about other things.
    "guard": {"distance": 100.0, "diversity": 0.01, "sign_mean": 1.0},
}
SNAPSHOTS = ["fakes000000.png", "fakes000000_020.png", "fakes000000_040.png", "fakes000000_060.png", "fakes000000_080.png"]
HARNESS = Harness("stylegan3_toc", "training.stylegan3.train", ("data/toc_dataset@16",))
project, run_here, start, output = HARNESS.project, HARNESS.run_here, HARNESS.start, HARNESS.output


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A project folder with a dataset."""
    folder = tmp_path_factory.mktemp("project")
    write_toy_dataset(folder / "data", number=24, side=16, classes=2)
    (folder / "params.yaml").write_text(json.dumps({"stylegan3_toc": PARAMS}))
    return folder


@pytest.fixture(autouse=True)
def quiet_tracking(monkeypatch):
    monkeypatch.setenv("FIGMENT_TRACK", "none")


@pytest.fixture(scope="module")
def uninterrupted(prepared, tmp_path_factory) -> Path:
    folder = project(prepared, tmp_path_factory.mktemp("uninterrupted") / "p")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIGMENT_TRACK", "jsonl")
        assert run_here(folder) == 0
    return folder


def test_the_output_has_what_the_stage_promises(uninterrupted):
    files = output(uninterrupted)
    others = [
        "config.json",
        "discriminator.safetensors",
        "generator.safetensors",
        "metrics.json",
        "reals.png",
        "stats.jsonl",
        "training_options.json",
    ]
    shown = [f"plots/fakes/{images}.png" for images in (0, 20, 40, 60, 80)]
    named = sorted(name for name in files if not name.startswith("plots/curves/"))
    assert named == sorted([*others, *shown, *(f"snapshots/{name}" for name in SNAPSHOTS), "snapshots/index.json"])
    assert {"plots/curves/g_loss.csv", "plots/curves/swd_x1000.csv"} <= set(files)
    index = json.loads(files["snapshots/index.json"])
    assert [row["file"] for row in index["snapshots"]] == SNAPSHOTS and [row["images"] for row in index["snapshots"]] == [0, 20, 40, 60, 80]
    options = json.loads(files["training_options.json"])
    assert options["gamma"] == pytest.approx(0.5 / 64 * 8) and options["pictures"] == 24 and options["images_seen"] == 80 and options["finished"]
    metrics = json.loads(files["metrics.json"])
    assert {"fd_rand0", "swd_x1000", "spread", "kimg"} <= set(metrics) and "fid" not in metrics
    assert load_generator(uninterrupted / "data/stylegan3_toc")(torch.randn(2, 8)).shape == (2, 3, 16, 16)
    assert load_picture(uninterrupted / "data/stylegan3_toc/snapshots" / SNAPSHOTS[0]).shape == (32, 48, 3)


def test_numbers_go_to_the_stats_file_the_journal_and_the_event_files(uninterrupted):
    rows = [json.loads(line) for line in output(uninterrupted)["stats.jsonl"].splitlines()]
    images = [row["images"] for row in rows]
    assert images == sorted(set(images)) and images[0] == 0 and images[-1] == 80 and all(row["kimg"] == row["images"] / 1000 for row in rows)
    (journal,) = (uninterrupted / ".figment/tracking/stylegan3_toc").iterdir()
    series = tracked_series(uninterrupted / ".figment", "stylegan3_toc", journal.name)
    assert [step for step, _ in series["swd_x1000"]] == [0, 20, 40, 60, 80]
    # At every report, also where no iteration since the last one had its turn of the penalty.
    players = {"g_loss", "d_loss", "g_gradient_norm", "d_gradient_norm"}
    of_steps = {*players, "r1_penalty", "real_logit", "fake_logit", "r_t", "fake_sign", "p"}
    reports = [row for row in rows if "r_t" in row]
    assert len(reports) == 7 and all(of_steps <= set(row) for row in reports)
    # What the machine decides is in the journal and beside it, and not in the output.
    assert all(len(series[name]) == 7 for name in of_steps) and not set(MACHINE) & {name for row in rows for name in row}
    (kept,) = (uninterrupted / ".figment/trainings/stylegan3_toc").rglob("stats.jsonl")
    last = json.loads(kept.read_text().splitlines()[-1])
    assert last["seconds_per_kimg"] > 0 and 50 < last["peak_memory_mib"] < 100_000
    # Its operations are not counted, and so it tells no rate of them.
    assert set(MACHINE) & set(series) == {"samples_per_second", "seconds_per_kimg", "peak_memory_mib"}


def test_the_event_files_have_them_too(uninterrupted):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed (extra: gan)")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    (events,) = (uninterrupted / ".figment/tensorboard/stylegan3_toc").rglob("events.out.tfevents.*")
    read = EventAccumulator(str(events))
    read.Reload()
    assert {"r1_penalty", "real_logit", "fake_logit", "seconds_per_kimg", "peak_memory_mib", "swd_x1000"} <= set(read.Tags()["scalars"])


def test_killed_in_the_middle_it_ends_with_the_same_bytes(prepared, uninterrupted, tmp_path, capsys):
    folder = project(prepared, tmp_path / "p")
    # In the thirteenth iteration, after the checkpoint at 28 images and the snapshot at 40.
    HARNESS.kill(folder, 29)
    assert run_here(folder) == 0
    assert "continuing after 28 of 80" in capsys.readouterr().err
    assert output(folder) == output(uninterrupted)


@pytest.mark.slow
def test_killed_again_and_again_or_terminated_it_ends_with_the_same_bytes(prepared, uninterrupted, tmp_path):
    folder = project(prepared, tmp_path / "p")
    for step in (1, 17, 20, 9):
        HARNESS.kill(folder, step)
    assert start(folder, die_at_step=5, number=signal.SIGTERM).returncode == 143
    assert start(folder).returncode == 0
    assert output(folder) == output(uninterrupted)


def test_more_kimg_trains_the_finished_model_on_and_numbering_goes_on(prepared, uninterrupted, tmp_path, capsys):
    folder = project(prepared, tmp_path / "p")
    assert run_here(folder, "kimg=0.04") == 0
    first = output(folder)
    assert [name for name in first if name.startswith("snapshots/fakes")] == [f"snapshots/{name}" for name in SNAPSHOTS[:3]]
    assert run_here(folder, "kimg=0.08") == 0
    assert "continuing after 40 of 80" in capsys.readouterr().err
    names = ("generator.safetensors", "discriminator.safetensors", *(f"snapshots/{name}" for name in SNAPSHOTS))
    assert {name: output(folder)[name] for name in names} == {name: output(uninterrupted)[name] for name in names}
    # And never back: what has been trained for 80 images is no model of 40.
    assert run_here(folder, "kimg=0.04") == 1
    assert "this training has gone on for 80 images, and kimg asks for 40; raise kimg" in capsys.readouterr().err
    assert run_here(folder, "kimg=0.04", more=("--from-scratch",)) == 0
    assert output(folder) == first
    # Nor does anything of the forgotten training come back when other snapshots are asked for.
    assert run_here(folder, "kimg=0.04", "snap=0.03", "metrics=[]", more=("--from-scratch",)) == 0
    names = sorted(path.name for path in (folder / "data/stylegan3_toc/snapshots").glob("*.png"))
    assert names == ["fakes000000.png", "fakes000000_030.png", "fakes000000_040.png"]


def test_an_end_between_two_snapshots_has_a_number_of_its_own(prepared, tmp_path):
    folder = project(prepared, tmp_path / "p")
    assert run_here(folder, "kimg=0.03", "metrics=[]") == 0
    index = json.loads(output(folder)["snapshots/index.json"])["snapshots"]
    assert [(row["images"], row["file"]) for row in index] == [(0, "fakes000000.png"), (20, "fakes000000_020.png"), (32, "fakes000000_030.png")]


def test_another_start_takes_the_weights_of_a_model_and_its_discriminator(prepared, uninterrupted, tmp_path, capsys):
    folder = project(prepared, tmp_path / "p")
    model = uninterrupted / "data/stylegan3_toc"
    assert run_here(folder, f"resume_from={model}", "kimg=0.02", "freezed=2", "seed=9") == 0
    assert "starting from the weights in" in capsys.readouterr().err
    theirs, ours = (load_file(path / "data/stylegan3_toc/discriminator.safetensors") for path in (uninterrupted, folder))
    assert torch.equal(theirs["b16.fromrgb.weight"], ours["b16.fromrgb.weight"]) and not torch.equal(theirs["b4.out.weight"], ours["b4.out.weight"])
    # The first snapshot is drawn by the average it starts from, not by an untrained network.
    spreads = [json.loads(output(path)["snapshots/index.json"])["snapshots"][0]["metrics"]["spread"] for path in (uninterrupted, folder)]
    assert spreads[1] != pytest.approx(spreads[0])
    assert run_here(folder, f"resume_from={model}", "cbase=128") == 1
    assert "cbase is 64, this training has 128" in capsys.readouterr().err


def test_another_start_goes_on_with_the_weights_that_were_trained_on_and_with_their_average(prepared, uninterrupted, tmp_path, capsys):
    folder, model = project(prepared, tmp_path / "p"), tmp_path / "model"
    shutil.copytree(uninterrupted / "data/stylegan3_toc", model)
    average = load_file(model / "generator.safetensors")
    trained = {name: tensor + 1 if name.endswith("weight") else tensor for name, tensor in average.items()}
    save_file(trained, model / TRAINED)
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | {"mbstd_group": 4}))
    options = StyleGAN3Options(**{**PARAMS, "resume_from": model, "guard": GuardLimits(), "grid": (3, 2), "metrics": ("swd",)})
    data = read_images(folder / "data/toc_dataset@16", resolution=None, with_labels=False, stage="x", reporter=Reporter())
    training = train.StyleGAN3Training(data, options, Devices(torch.device("cpu")), Reporter())
    assert "its discriminator saw 4 pictures together, mbstd_group is 1" in capsys.readouterr().err
    assert torch.equal(training.generator.state_dict()["mapping.fc0.weight"], trained["mapping.fc0.weight"])
    assert torch.equal(training.ema.average["mapping.fc0.weight"], average["mapping.fc0.weight"])


def test_labels_make_a_conditional_model(prepared, tmp_path):
    folder = project(prepared, tmp_path / "p")
    assert run_here(folder, "kimg=0.008", "cond=true", "metrics=[]") == 0
    assert load_generator(folder / "data/stylegan3_toc").config.label_dim == 2


def test_a_lower_resolution_is_the_mean_of_boxes(prepared, tmp_path):
    write_toy_dataset(tmp_path / "data", number=8, side=32)
    (tmp_path / "params.yaml").symlink_to(prepared / "params.yaml")
    assert run_here(tmp_path, "kimg=0.004", "metrics=[]", "dataset_size=32", "resolution=16", "grid=[4,2]") == 0
    assert load_picture(tmp_path / "data/stylegan3_toc/reals.png").shape == (32, 64, 3)


@pytest.mark.parametrize(
    ("settings", "code", "message"),
    [
        (["gama=3"], 2, "did you mean 'gamma'"),
        (["batch=6", "batch_gpu=4"], 2, "batch 6 is not a multiple of batch_gpu 4"),
        (["dataset_size=64"], 1, "toc_dataset@64"),
        (["resolution=32"], 1, "cannot be given at 32 px"),
        (["num_critical=9"], 1, "num_critical must lie in"),
        (["resume_from=/nowhere"], 1, "is no folder"),
        (["inception=/nowhere.pt"], 1, "nowhere.pt"),
    ],
)
def test_what_is_wrong_is_one_line(prepared, tmp_path, capsys, settings, code, message):
    folder = project(prepared, tmp_path / "p")
    HARNESS.check_refused(folder, capsys, code, message, *settings)


def test_cond_without_labels_is_one_line(prepared, tmp_path, capsys):
    write_toy_dataset(tmp_path / "data", number=8, side=16)
    (tmp_path / "params.yaml").symlink_to(prepared / "params.yaml")
    assert run_here(tmp_path, "cond=true") == 1
    assert "the set has no labels" in capsys.readouterr().err


# Sabotage


def sabotaged(monkeypatch, at_iteration: int, damage) -> None:
    """Once, before iteration `at_iteration`, `damage(trainer)` is done."""
    step, done = train.AdversarialTrainer.step, []

    def step_or_damage(self):
        if self.iteration == at_iteration and not done:
            done.append(1)
            damage(self)
        return step(self)

    monkeypatch.setattr(train.AdversarialTrainer, "step", step_or_damage)


def raise_discriminator_rate(trainer) -> None:
    """Until it has rolled back."""
    set_learning_rates = trainer._set_learning_rates

    def set_them_wrong() -> None:
        set_learning_rates()
        for group in trainer.players["D"].optimizer.param_groups:
            group["lr"] *= 1 if trainer.rollback else 100

    trainer._set_learning_rates = set_them_wrong


def test_batches_that_are_not_numbers_are_survived_and_recorded(prepared, tmp_path, monkeypatch, capsys):
    folder = project(prepared, tmp_path / "p")
    monkeypatch.setenv("FIGMENT_TRACK", "jsonl")
    reals = train.StyleGAN3Losses._reals

    def bad_reals(self, phase, now):
        images, labels = reals(self, phase, now)
        # Bad until the training has rolled back, from the ninth iteration on.
        return (images * math.nan if now.iteration >= 8 and not now.rollback else images), labels

    monkeypatch.setattr(train.StyleGAN3Losses, "_reals", bad_reals)
    assert run_here(folder) == 0
    err = capsys.readouterr().err
    # The fifth bad step is found when something is due: at the checkpoint that follows the sixth.
    assert "6 steps in a row had a loss or gradient that is not finite; rolled back to 28 images" in err
    options = json.loads(output(folder)["training_options.json"])
    assert options["rollbacks"] == 1 and options["skipped_steps"] == 6 and "not finite" in options["rollback_reasons"][0]
    assert any("rollback" in json.loads(line) for line in output(folder)["stats.jsonl"].splitlines())
    journal = next((folder / ".figment/tracking/stylegan3_toc").rglob("*.jsonl")).read_text()
    assert "figment.rollback_1" in journal
    assert all(tensor.isfinite().all() for tensor in load_file(folder / "data/stylegan3_toc/generator.safetensors").values())


LARGER = {
    **PARAMS,
    "dataset_size": 32,
    "cbase": 512,
    "cmax": 32,
    "z_dim": 64,
    "w_dim": 64,
    "num_layers": 6,
    "num_critical": 2,
    "margin": 4,
    "batch": 8,
    "mbstd_group": 4,
    "aug": "noaug",
    "reg_interval": 16,
    "kimg": 1.6,
    "snap": 0.2,
    "tick": 0.1,
    "checkpoint_kimg": 0.2,
    "metric_images": 128,
    "guard_images": 128,
    # Three reports and two snapshots.
    "guard": {"sign_kimg": 0.3, "distance_kimg": 0.2},
}


@pytest.fixture(scope="module")
def clean(tmp_path_factory) -> Path:
    """The tiny net of 63,581 parameters, trained for 200 steps at 32 px."""
    folder = tmp_path_factory.mktemp("clean")
    write_toy_dataset(folder / "data", number=200, side=32)
    (folder / "params.yaml").write_text(json.dumps({"stylegan3_toc": LARGER}))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIGMENT_TRACK", "none")
        assert run_here(folder) == 0
    return folder


def measured(folder: Path, name: str) -> list[float]:
    return [row["metrics"][name] for row in json.loads(output(folder)["snapshots/index.json"])["snapshots"]]


@pytest.mark.slow
def test_two_hundred_steps_halve_the_distance(clean):
    distances = measured(clean, "fd_rand0")
    assert distances[-1] < 0.5 * distances[0]
    assert json.loads(output(clean)["training_options.json"])["parameters"]["generator"] == 63_581


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_discriminator_made_a_hundred_times_too_fast_does_not_ruin_the_training(clean, tmp_path, monkeypatch):
    folder = tmp_path / "p"
    (folder / "data").mkdir(parents=True)
    (folder / "data/toc_dataset@32").symlink_to(clean / "data/toc_dataset@32")
    (folder / "params.yaml").symlink_to(clean / "params.yaml")
    sabotaged(monkeypatch, 100, raise_discriminator_rate)
    assert run_here(folder) == 0
    options = json.loads(output(folder)["training_options.json"])
    assert 1 <= options["rollbacks"] <= 3
    assert all(tensor.isfinite().all() for tensor in load_file(folder / "data/stylegan3_toc/generator.safetensors").values())
    ours, theirs = measured(folder, "swd_x1000"), measured(clean, "swd_x1000")
    assert ours[-1] <= 1.2 * theirs[-1]


# Several processes


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(prepared, tmp_path):
    outputs = HARNESS.run_alone_and_together(prepared, tmp_path, "kimg=0.012", "metrics=[]", "aug=fixed", "p=0.5")
    one, two = (load_file(model / "generator.safetensors") | load_file(model / "discriminator.safetensors") for model in outputs)
    for name, tensor in one.items():
        assert numpy.allclose(two[name], tensor, atol=1e-5 * max(1.0, float(tensor.abs().max()))), name
    assert one["mapping.w_avg"].any()
    assert numpy.allclose(two["mapping.w_avg"], one["mapping.w_avg"], rtol=1e-4, atol=1e-8)
