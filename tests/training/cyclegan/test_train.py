"""The CycleGAN stage: what it writes, exact resume after any death, training on, grey and missing sets, and words for what is wrong."""

import json
import math
import signal
from pathlib import Path

import numpy
import pytest
import torch
from safetensors.torch import load_file

from bench import plain_cyclegan
from stages.reporting import Reporter
from tests.training.cyclegan.toy_pictures import TINY, figures, write_paintings, write_set
from tests.training.harness import Harness
from training.cyclegan import load_generators
from training.cyclegan.domains import read_domains
from training.cyclegan.junyanz import import_checkpoints
from training.cyclegan.losses import CycleGANLosses
from training.gans.grids import load_picture

STAGE = "cyclegan_paintings"
# Twenty-five iterations of two pairs; the rate falls from the tenth on, and a snapshot comes every ten.
PARAMS = {
    **TINY,
    "snap": 0.02,
    "tick": 0.01,
    "checkpoint_kimg": 0.014,
    "grid": [6, 3],
    "metrics": [],
    "guard_images": 4,
    # Twenty steps say little about a distance: these tests are about other things.
    "guard": {"distance": 100.0, "diversity": 0.01},
}
WEIGHTS = ["D_A.safetensors", "D_B.safetensors", "G_A.safetensors", "G_B.safetensors"]
HARNESS = Harness(STAGE, "training.cyclegan.train", ("data/paintings",))
project, run_here, start, output = HARNESS.project, HARNESS.run_here, HARNESS.start, HARNESS.output


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A project folder with the four sets."""
    folder = tmp_path_factory.mktemp("project")
    write_paintings(folder / "data", numbers={"trainA": 7, "trainB": 5, "testA": 4, "testB": 3})
    (folder / "params.yaml").write_text(json.dumps({STAGE: PARAMS}))
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
    snapshots = ["fakes000000.png", "fakes000000_020.png", "fakes000000_040.png", "fakes000000_050.png"]
    shown = [f"plots/fakes/{images}.png" for images in (0, 20, 40, 50)]
    others = ["config.json", "metrics.json", "reals.png", "stats.jsonl", "training_options.json", "snapshots/index.json"]
    named = sorted(name for name in files if not name.startswith("plots/curves/"))
    assert named == sorted([*others, *WEIGHTS, *shown, *(f"snapshots/{name}" for name in snapshots)])
    curves = {"g_loss", "d_a_loss", "d_b_loss", "cycle_a", "identity_b", "adversarial_a", "d_a_real", "cycle_l1", "identity_l1_a", "learning_rate"}
    assert {f"plots/curves/{name}.csv" for name in curves} <= set(files)
    options = json.loads(files["training_options.json"])
    assert options["pictures"] == {"A": 7, "B": 5} and options["measured_on"] == {"A": "testA", "B": "testB"} and options["finished"]
    both = load_generators(uninterrupted / "data" / STAGE)
    assert both.a_to_b(torch.zeros(1, 3, 24, 32)).shape == (1, 3, 24, 32) and both.config.domain_a == "paintings"
    assert options["parameters"]["G_A"] == sum(parameter.numel() for parameter in both.a_to_b.parameters())


def test_a_snapshot_shows_the_same_pictures_there_and_back_both_ways(prepared, uninterrupted):
    files = uninterrupted / "data" / STAGE / "snapshots"
    first, last = (
        load_picture(files / name).reshape(3, 16, 6, 16, 3).transpose(0, 2, 1, 3, 4) for name in ("fakes000000.png", "fakes000000_050.png")
    )
    # Columns: A, made of it, back; B, made of it, back. Of B there are three test pictures and of A four.
    for column, name in ((0, "testA"), (3, "testB")):
        shown = read_domains(prepared / "data/paintings", resolution=None, stage="x", reporter=Reporter()).test[name[-1]].images.numpy()
        there = {picture.transpose(1, 2, 0).tobytes() for picture in shown}
        assert {cell.tobytes() for cell in first[:, column]} <= there and numpy.array_equal(first[:, column], last[:, column])
    both = load_generators(uninterrupted / "data" / STAGE)
    real = torch.from_numpy(last[:, 0].transpose(0, 3, 1, 2).copy()).float() / 127.5 - 1
    made = both.a_to_b(real)
    for column, wanted in ((1, made), (2, both.b_to_a(made))):
        cells = torch.from_numpy(last[:, column].transpose(0, 3, 1, 2).copy()).float()
        assert float((cells - (wanted * 127.5 + 128).clamp(0, 255).floor()).abs().max()) <= 1
    metrics = json.loads((files.parent / "metrics.json").read_text())
    assert metrics["cycle_l1"] == pytest.approx((metrics["cycle_l1_a"] + metrics["cycle_l1_b"]) / 2, abs=2e-6)


def test_patch_distances_are_told_both_ways_beside_those_of_pictures_that_nobody_translated(prepared, tmp_path):
    folder = project(prepared, tmp_path / "p")
    assert run_here(folder, "kimg=0.002", "metrics=[swd]", "metric_images=4") == 0
    index = json.loads(output(folder)["snapshots/index.json"])["snapshots"]
    names = {f"swd_x1000_{way}{suffix}" for way in ("a_to_b", "b_to_a") for suffix in ("", "_untouched")}
    assert all(names <= set(row["metrics"]) for row in index) and len(index) == 2
    # What nobody translated does not change.
    for name in names:
        first, last = (row["metrics"][name] for row in index)
        assert (first == last) == name.endswith("_untouched"), name


class Died(BaseException):
    """The process, as far as a test in the same one can tell."""


def test_stopped_in_any_turn_it_ends_with_the_same_bytes(prepared, uninterrupted, tmp_path, monkeypatch, capsys):
    """Both optimizers, both pools and the schedule go on as if nothing had been, and nobody says how many epochs there have been.

    junyanz' #448, #1594, #1700 (epoch_count), #1380 (optimizers that were not saved).
    """
    folder = project(prepared, tmp_path / "p")
    optimise, taken = torch.optim.Adam.step, []

    def optimise_or_die(self, *args):
        taken.append(1)
        # Three optimizers an iteration: in the turn of D_A of the nineteenth, when the rate falls, after the checkpoint at 28 pairs.
        if len(taken) == 3 * 18 + 2:
            raise Died
        return optimise(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(torch.optim.Adam, "step", optimise_or_die)
        with pytest.raises(Died):
            run_here(folder)
    assert not (folder / "data" / STAGE).exists()
    assert run_here(folder) == 0
    assert "continuing after 28 of 50" in capsys.readouterr().err
    assert output(folder) == output(uninterrupted)


@pytest.mark.slow
def test_killed_again_and_again_or_terminated_it_ends_with_the_same_bytes(prepared, uninterrupted, tmp_path):
    folder = project(prepared, tmp_path / "p")
    for step in (1, 56, 30, 9):
        HARNESS.kill(folder, step)
    assert start(folder, die_at_step=5, number=signal.SIGTERM).returncode == 143
    assert start(folder).returncode == 0
    assert output(folder) == output(uninterrupted)


def test_more_kimg_trains_the_finished_model_on_to_the_same_weights(prepared, uninterrupted, tmp_path, capsys):
    folder = project(prepared, tmp_path / "p")
    assert run_here(folder, "kimg=0.03") == 0 and run_here(folder, "kimg=0.05") == 0
    assert "continuing after 30 of 50" in capsys.readouterr().err
    assert {name: output(folder)[name] for name in WEIGHTS} == {name: output(uninterrupted)[name] for name in WEIGHTS}
    # And never back: what has been trained for 50 pairs is no model of 30.
    assert run_here(folder, "kimg=0.03") == 1
    assert "this training has gone on for 50 images, and kimg asks for 30; raise kimg" in capsys.readouterr().err


def test_a_checkpoint_holds_optimizers_pools_and_place(uninterrupted):
    from training.loop.checkpoint import read_checkpoint

    (path,) = (uninterrupted / ".figment/checkpoints" / STAGE).rglob("samples-*.pt")
    state = read_checkpoint(path)["state"]
    assert state["samples_seen"] == 50
    parts = state["parts"]
    assert {f"optimizer {name}" for name in ("G", "D_A", "D_B")} <= set(parts)
    assert all(float(moments["step"]) == 25 for name in ("G", "D_A", "D_B") for moments in parts[f"optimizer {name}"]["state"].values())
    assert [len(parts[f"other pool of {name}"]["kept"]) for name in ("D_A", "D_B")] == [4, 4]


def test_another_start_takes_the_weights_of_a_model(prepared, uninterrupted, tmp_path, capsys):
    folder, model = project(prepared, tmp_path / "p"), uninterrupted / "data" / STAGE
    assert run_here(folder, f"resume_from={model}", "kimg=0.002", "lr=1e-9") == 0
    assert "starting from the weights in" in capsys.readouterr().err
    for name in WEIGHTS:
        theirs, ours = (load_file(place / name) for place in (model, folder / "data" / STAGE))
        assert all(torch.allclose(value, ours[key], atol=1e-7) for key, value in theirs.items())
    assert run_here(folder, f"resume_from={model}", "ngf=3") == 1
    assert "ngf is 2, this training has 3; train with theirs, or start" in capsys.readouterr().err
    assert run_here(folder, f"resume_from={model}", "ndf=3") == 1
    assert "ndf is 2, this training has 3; train with theirs, or start" in capsys.readouterr().err


def test_imported_generators_without_discriminators_are_a_start(prepared, tmp_path, capsys):
    folder, theirs = project(prepared, tmp_path / "p"), tmp_path / "theirs"
    theirs.mkdir()
    networks = {name: plain_cyclegan.residual(ngf=2, blocks=1) for name in ("G_A", "G_B")}
    for name, network in networks.items():
        torch.save(network.state_dict(), theirs / f"latest_net_{name}.pth")
    import_checkpoints(theirs, tmp_path / "imported", resolution=16)
    assert run_here(folder, f"resume_from={tmp_path / 'imported'}", "kimg=0.002", "lr=1e-9") == 0
    assert "no D_A and no D_B; what is missing starts from random weights" in capsys.readouterr().err
    ours = load_file(folder / "data" / STAGE / "G_A.safetensors")
    assert all(torch.allclose(value, ours[name], atol=1e-7) for name, value in networks["G_A"].state_dict().items())


# Unlike sets


def test_grey_beside_colour_is_taken_for_colour(prepared, tmp_path, capsys):
    """junyanz' #309, #320: the identity loss gives pictures of both domains to both generators, so both have three channels."""
    write_paintings(tmp_path / "data", numbers={"trainA": 4, "trainB": 4, "testA": 2, "testB": 2}, channels={"A": 1})
    (tmp_path / "params.yaml").symlink_to(prepared / "params.yaml")
    assert run_here(tmp_path, "kimg=0.004") == 0
    assert "testA, trainA grey, the others in colour; grey is taken for colour" in capsys.readouterr().err
    config = load_generators(tmp_path / "data" / STAGE).config
    assert (config.channels_a, config.channels_b) == (3, 3)
    shown = load_picture(tmp_path / "data" / STAGE / "snapshots/fakes000000.png")[:16, :16]
    assert (shown == shown[:, :, :1]).all()


def test_two_grey_sets_make_grey_networks(prepared, tmp_path):
    write_paintings(tmp_path / "data", numbers={"trainA": 3, "trainB": 3, "testA": 2, "testB": 2}, channels={"A": 1, "B": 1})
    (tmp_path / "params.yaml").symlink_to(prepared / "params.yaml")
    assert run_here(tmp_path, "kimg=0.004") == 0
    assert load_generators(tmp_path / "data" / STAGE).a_to_b(torch.zeros(1, 1, 16, 16)).shape == (1, 1, 16, 16)


def test_without_test_sets_the_training_pictures_are_shown_and_that_is_said(prepared, tmp_path, capsys):
    write_paintings(tmp_path / "data", numbers={"trainA": 3, "trainB": 1})
    (tmp_path / "params.yaml").symlink_to(prepared / "params.yaml")
    assert run_here(tmp_path, "kimg=0.004", "batch=4") == 0
    assert "WARNING" in (said := capsys.readouterr().err) and "no testA and no testB" in said
    assert json.loads(output(tmp_path)["training_options.json"])["measured_on"] == {"A": "trainA", "B": "trainB"}


# What is wrong


@pytest.mark.parametrize(
    ("settings", "code", "message"),
    [
        (["lamda_a=3"], 2, "did you mean 'lambda_a'"),
        (["kimg=9"], 2, "the learning rate is 0 from constant_kimg + decay_kimg = 0.05 on"),
        (["resolution=32"], 1, "cannot be given at 32 px"),
        (["net_g=unet_256"], 1, "unet_256 takes sides that are multiples of 256 px, found 16 px; choose another resolution or net_g"),
        (["n_layers_d=3"], 1, "need squares of at least 24 px, found 16 px; raise the resolution, or lower n_layers_d"),
        (["load_size=8"], 1, "load_size is 8, smaller than the 16 px"),
        (["resume_from=/nowhere"], 1, "is no folder"),
        (["net_g=vgg"], 1, "net_g must be such as resnet_9blocks"),
    ],
)
def test_what_is_wrong_is_one_line(prepared, tmp_path, capsys, settings, code, message):
    folder = project(prepared, tmp_path / "p")
    HARNESS.check_refused(folder, capsys, code, message, *settings)


def test_a_missing_set_and_sets_of_two_sizes_are_one_line(prepared, tmp_path, capsys):
    (tmp_path / "params.yaml").symlink_to(prepared / "params.yaml")
    write_set(tmp_path / "data/paintings/trainA", figures(2, "A"))
    assert run_here(tmp_path) == 1 and "trainB" in capsys.readouterr().err.strip().splitlines()[-1]
    write_set(tmp_path / "data/paintings/trainB", figures(2, "B", side=32))
    assert run_here(tmp_path) == 1
    assert "all sets must be of one size, found trainA 16 px, trainB 32 px; set resolution to the smallest" in capsys.readouterr().err
    assert run_here(tmp_path, "resolution=16", "kimg=0.002") == 0


def test_batches_that_are_not_numbers_are_survived_and_recorded(prepared, tmp_path, monkeypatch, capsys):
    folder = project(prepared, tmp_path / "p")
    batch = CycleGANLosses.batch

    def bad_batch(self, name, now):
        # One domain is bad from the ninth iteration on, until the training has rolled back.
        pictures = batch(self, name, now)
        return pictures * math.nan if name == "B" and now.iteration >= 8 and not now.rollback else pictures

    monkeypatch.setattr(CycleGANLosses, "batch", bad_batch)
    assert run_here(folder) == 0
    # The fifth bad step is found when something is due: at the checkpoint that follows the sixth.
    assert "6 steps in a row had a loss or gradient that is not finite; rolled back to 14 images" in capsys.readouterr().err
    options = json.loads(output(folder)["training_options.json"])
    assert options["rollbacks"] == 1 and options["skipped_steps"] == 6 and "not finite" in options["rollback_reasons"][0]
    for name in WEIGHTS:
        assert all(tensor.isfinite().all() for tensor in load_file(folder / "data" / STAGE / name).values())


# Several processes


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(prepared, tmp_path):
    outputs = HARNESS.run_alone_and_together(prepared, tmp_path, "kimg=0.016", "pool=3")
    one, two = ({f"{file} {key}": value for file in WEIGHTS for key, value in load_file(model / file).items()} for model in outputs)
    # Biases before a normalisation have no influence, and Adam moves them by the sign of rounding errors.
    for name, tensor in one.items():
        if name.endswith("weight"):
            assert numpy.allclose(two[name], tensor, atol=5e-5), name
