"""The stage `pggan_pages`: what it writes, exact switches, exact resume inside any phase, training on, several processes, words for what is wrong."""

import copy
import json
import math
import signal
from pathlib import Path

import numpy
import pytest
import torch
from safetensors.torch import load_file

from stages.params import load_params
from stages.reporting import Reporter
from tests.training.harness import Harness
from tests.training.progressive.tiny import images, write_pages
from training.gans.grids import load_picture
from training.gans.options import MetricName
from training.gans.snapshots import Snapshots
from training.loop.collapse_guard import CollapseGuard, GuardLimits
from training.loop.devices import Devices
from training.loop.job import Workplace
from training.progressive import load_generator, train
from training.progressive.options import ProgressiveOptions
from training.tracking.tracker import Tracker

ROOT = Path(__file__).resolve().parents[3]
# Five phases of 16, 20, 16, 20, … pictures in batches of 8 and, from 16 px on, 4; 104 pictures in all, none of them a multiple of a batch.
PARAMS = {
    "dataset_size": 16,
    "z_dim": 8,
    "filters": {4: 8, 8: 6, 16: 5},
    "mbstd_group": 2,
    "kimg": 0.104,
    "stable_kimg": 0.016,
    "fade_kimg": 0.02,
    "batch": 8,
    "batch_by_px": {16: 4},
    "lr": 0.002,
    "lr_by_px": {16: 0.003},
    "ema_kimg": 0.02,
    "snap": 0.036,
    "tick": 0.012,
    "checkpoint_kimg": 0.012,
    "grid": [3, 2],
    "metrics": ["swd", "fd"],
    "metric_images": 16,
    "guard_images": 8,
    # A hundred pictures say little about a distance: these tests are about other things.
    "guard": {"distance": 100.0, "diversity": 0.01, "sign_mean": 1.0},
}
SNAPSHOTS = ["fakes000000.png", "fakes000000_036.png", "fakes000000_072.png", "fakes000000_104.png"]
HARNESS = Harness("pggan_pages", "training.progressive.train", ("data/page_dataset@16",))
project, run_here, start, output = HARNESS.project, HARNESS.run_here, HARNESS.start, HARNESS.output


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A project folder with a page dataset."""
    folder = tmp_path_factory.mktemp("project")
    write_pages(folder / "data")
    # Python writes these as YAML reads them, numbers as keys included.
    (folder / "params.yaml").write_text("pggan_pages:\n" + "".join(f"  {name}: {value}\n" for name, value in PARAMS.items()))
    return folder


def rows(folder: Path) -> list[dict]:
    return [json.loads(line) for line in output(folder)["stats.jsonl"].splitlines()]


def training(**settings) -> train.ProgressiveTraining:
    metrics: tuple[MetricName, ...] = ("swd",)
    values = {**PARAMS, "grid": (3, 2), "metrics": metrics, "guard": GuardLimits(**PARAMS["guard"]), **settings}
    return train.ProgressiveTraining(images(), ProgressiveOptions(**values), Devices(torch.device("cpu")), Reporter())


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
    shown = [f"plots/fakes/{seen}.png" for seen in (0, 36, 72, 104)]
    named = sorted(name for name in files if not name.startswith("plots/curves/"))
    assert named == sorted([*others, *shown, *(f"snapshots/{name}" for name in SNAPSHOTS), "snapshots/index.json"])
    assert {f"plots/curves/{name}.csv" for name in ("px", "alpha", "phase", "g_loss", "gradient_penalty", "swd_x1000")} <= set(files)
    # Every snapshot has the size of the finished picture, also those of the time when pictures had 4 x 4 pixels of their own.
    sheets = [load_picture(uninterrupted / "data/pggan_pages/snapshots" / name) for name in SNAPSHOTS]
    assert {sheet.shape for sheet in sheets} == {(32, 48, 3)}
    assert all((block == block[0, 0]).all() for block in (sheets[0][y : y + 4, x : x + 4] for y in range(0, 32, 4) for x in range(0, 48, 4)))
    options = json.loads(files["training_options.json"])
    assert options["images_seen"] == 104 and options["finished"] and options["grown_px"] == 16 and options["alpha"] == 1.0
    assert load_generator(uninterrupted / "data/pggan_pages")(torch.randn(2, 8)).shape == (2, 1, 16, 16)
    assert {"fd_rand0", "swd_x1000", "spread", "kimg"} <= set(json.loads(files["metrics.json"]))


def test_phases_switch_at_the_exact_picture_and_batches_and_rates_with_them():
    of = training()
    steps = []
    while of.trainer.samples_seen < 104:
        before = of.trainer.samples_seen
        samples = of.trainer.step().samples
        rate = of.trainer.players["D"].optimizer.param_groups[0]["lr"]
        config = of.generator.config
        assert of.discriminator.config == config
        steps.append((before, samples, config.grown_px, round(config.alpha, 6), round(rate, 6)))
    assert steps[:8] == [
        (0, 8, 4, 1.0, 0.002),
        (8, 8, 4, 1.0, 0.002),
        # 20 pictures of fade in batches of 8: the last one is cut.
        (16, 8, 8, 0.0, 0.002),
        (24, 8, 8, 0.4, 0.002),
        (32, 4, 8, 0.8, 0.002),
        (36, 8, 8, 1.0, 0.002),
        (44, 8, 8, 1.0, 0.002),
        (52, 4, 16, 0.0, 0.003),
    ]
    assert [(before, alpha) for before, _, px, alpha, _ in steps if px == 16 and alpha < 1] == [(52, 0.0), (56, 0.2), (60, 0.4), (64, 0.6), (68, 0.8)]
    assert steps[12] == (72, 4, 16, 1.0, 0.003) and sum(samples for _, samples, *_ in steps) == 104


def test_curves_tell_phase_side_and_alpha_of_the_moment_they_are_told(uninterrupted):
    told = {row["images"]: (row["phase"], row["px"], row["alpha"]) for row in rows(uninterrupted) if "px" in row}
    schedule = ProgressiveOptions(**{**PARAMS, "guard": GuardLimits(), "grid": (), "metrics": ("swd",)}).schedule(16)
    assert told == {seen: (now.phase, now.px, now.alpha) for seen, now in ((seen, schedule.at(seen)) for seen in told)}
    assert {phase for phase, _, _ in told.values()} == {0, 1, 2, 3, 4} and 0 in told


def test_optimizers_begin_anew_at_each_new_side():
    of = training()
    taken = {}
    while of.trainer.samples_seen < 60:
        before = of.trainer.samples_seen
        of.trainer.step()
        state = of.trainer.players["D"].optimizer.state
        taken[before] = max(float(one["step"]) for one in state.values())
    # Iterations since the beginning, or since a fade began: at 16 and at 52 pictures, and not between a fade and its stable phase.
    assert [taken[before] for before in (8, 16, 36, 44, 52, 56)] == [2, 1, 4, 5, 1, 2]


@pytest.fixture(scope="module")
def whole() -> train.ProgressiveTraining:
    of = training()
    while of.trainer.samples_seen < 104:
        of.trainer.step()
    return of


# Within the stable phases of 4, 8 and 16 px, within both fades, and at the borders of phases.
@pytest.mark.parametrize("seen", [8, 16, 24, 36, 44, 60, 72, 80])
def test_stopped_in_any_phase_and_at_its_borders_it_goes_on_bit_by_bit(whole, seen):
    """Defects 3 and 13 of DeepZine: a stage that starts from random weights, and no optimiser to go on with within a stage."""
    first, second = training(), training()
    while first.trainer.samples_seen < seen:
        first.trainer.step()
    assert first.trainer.samples_seen == seen
    second.trainer.load_state_dict(first.trainer.state_dict())
    while second.trainer.samples_seen < 104:
        second.trainer.step()
    for one, other in ((whole.generator, second.generator), (whole.discriminator, second.discriminator)):
        assert all(torch.equal(theirs, ours) for theirs, ours in zip(one.state_dict().values(), other.state_dict().values(), strict=True))
    assert all(torch.equal(whole.ema.average[name], tensor) for name, tensor in second.ema.average.items())


def test_a_state_of_a_gpu_goes_on_without_one():
    """A GPU has channels last and fused steps, which go by place in memory: moments in another order than weights are wrong in silence."""
    first, second = training(), training()
    while first.trainer.samples_seen < 60:
        first.trainer.step()
    state = copy.deepcopy(first.trainer.state_dict())
    for part in (part for name, part in state["parts"].items() if name.startswith("optimizer")):
        part["param_groups"][0]["fused"] = True
        for values in part["state"].values():
            values |= {name: moment.contiguous(memory_format=torch.channels_last) for name, moment in values.items() if moment.dim() == 4}
    second.trainer.load_state_dict(state)
    for one in (first, second):
        one.trainer.step()
    for one, other in ((first.generator, second.generator), (first.discriminator, second.discriminator)):
        assert all(torch.equal(theirs, ours) for theirs, ours in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_every_new_side_starts_from_what_the_smaller_ones_learned_that_after_the_seventh_too():
    """Defect 3 of DeepZine: restoring was skipped at depth 7, so that 256 px started from random weights. Here all sides are taken, to 256."""
    of = training(filters={4: 3, 256: 2}, stable_kimg=0.002, fade_kimg=0.002, batch=2, batch_by_px={}, lr_by_px={}, mbstd_group=1)
    of = train.ProgressiveTraining(images(2, side=256), of.options, of.devices, Reporter())
    latents = of.generator.latents(torch.randn(2, 8))
    sizes = []
    while of.generator.config.grown_px < 256:
        drawn, px = of.generator.draw(latents), of.generator.config.grown_px
        of.grow(of.trainer.samples_seen)
        if of.generator.config.grown_px > px:
            torch.testing.assert_close(of.generator.draw(latents), drawn.repeat_interleave(2, 2).repeat_interleave(2, 3), rtol=0, atol=1e-6)
            sizes.append(of.generator.config.grown_px)
        of.trainer.step()
    assert sizes == [8, 16, 32, 64, 128, 256]


@pytest.mark.parametrize("seen", [28, 76])
def test_interrupted_inside_a_phase_the_same_command_gives_the_same_bytes(prepared, uninterrupted, tmp_path, capsys, monkeypatch, seen):
    folder = project(prepared, tmp_path / "p")
    step = train.AdversarialTrainer.step

    def step_or_die(self):
        if self.samples_seen >= seen:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(train.AdversarialTrainer, "step", step_or_die)
    assert run_here(folder) == 130
    assert not (folder / "data/pggan_pages").exists()
    monkeypatch.setattr(train.AdversarialTrainer, "step", step)
    assert run_here(folder) == 0
    assert "continuing after" in capsys.readouterr().err
    assert output(folder) == output(uninterrupted)


@pytest.mark.slow
def test_killed_again_and_again_or_terminated_it_ends_with_the_same_bytes(prepared, uninterrupted, tmp_path):
    folder = project(prepared, tmp_path / "p")
    for step in (3, 8, 9, 12):
        assert start(folder, die_at_step=step).returncode == -signal.SIGKILL
    assert start(folder, die_at_step=5, number=signal.SIGTERM).returncode == 143
    assert start(folder).returncode == 0
    assert output(folder) == output(uninterrupted)


def test_more_kimg_trains_on_through_the_phases_and_never_back(prepared, uninterrupted, tmp_path, capsys):
    folder = project(prepared, tmp_path / "p")
    # It ends within the fade to 8 px, and the model says how far it has grown: no stable phase is overwritten by it (defect 13 of DeepZine).
    assert run_here(folder, "kimg=0.028") == 0
    half = load_generator(folder / "data/pggan_pages")
    assert (half.config.grown_px, half.config.alpha) == (8, 0.8) and half(torch.randn(1, 8)).shape == (1, 1, 16, 16)
    assert run_here(folder) == 0
    assert "continuing after 32 of 104" in capsys.readouterr().err
    for name in ("generator.safetensors", "discriminator.safetensors", "config.json"):
        assert output(folder)[name] == output(uninterrupted)[name]
    assert run_here(folder, "kimg=0.028") == 1
    assert "raise kimg, or train anew" in capsys.readouterr().err


def test_out_of_time_it_leaves_a_model_that_knows_its_size_and_goes_on(prepared, uninterrupted, tmp_path, capsys):
    folder = project(prepared, tmp_path / "p")
    assert run_here(folder, more=("--max-seconds", "0")) == 0
    config = json.loads(output(folder)["config.json"])
    assert config["grown_px"] == 4 and config["resolution"] == 16
    assert run_here(folder) == 0
    assert "continuing after 8 of 104" in capsys.readouterr().err
    assert output(folder)["generator.safetensors"] == output(uninterrupted)["generator.safetensors"]


def test_a_grown_network_is_no_collapse_for_the_guard(tmp_path):
    place = Workplace(tmp_path, tmp_path, {"page_dataset@16": "1.dir"}, Tracker(), Reporter())
    guard = training().begin(place).guard
    told = [{"px": 4.0, "swd_x1000": 10.0}, {"px": 8.0, "swd_x1000": 9000.0}, {"px": 8.0, "swd_x1000": 8000.0}, {"px": 8.0, "swd_x1000": 9e6}]
    found = [guard.judge(values, 200_000 * number) for number, values in enumerate([*told, told[-1]])]
    assert found[:4] == [None] * 4 and "the images get worse" in found[4]


def test_after_a_roll_back_across_a_growth_the_guard_knows_bests_of_the_side_of_the_moment_only(prepared, tmp_path, monkeypatch, capsys):
    """A collapse when 16 px begin, at 52 pictures; the newest good state is of 32, in the fade to 8 px."""
    # Best spreads of 8 px are far above what 16 px have, before the roll-back and after it.
    spreads = iter([50.0, 100.0, 100.0, math.nan, 100.0, 1.0, 1.0, 1.0, 1.0])
    judge, told = CollapseGuard.judge, []

    def judged(self, values, samples):
        reason = judge(self, values, samples)
        told.append((samples, values["px"], self._best_spread))
        return reason

    monkeypatch.setattr(CollapseGuard, "judge", judged)
    monkeypatch.setattr(Snapshots, "measure", lambda self, paint: {"spread": next(spreads)})
    folder = project(prepared, tmp_path / "p")
    settings = ("snap=0.016", "tick=0.004", "checkpoint_kimg=0.016", "metrics=[]", "guard={diversity: 0.5}")
    assert run_here(folder, *settings) == 0
    assert "after 52 images: spread is nan; rolled back to 32 images (roll-back 1)" in capsys.readouterr().err
    # What is best at 16 px counts no more at 8, where the training is again, and what is best at 8 px not at 16.
    crossing = told.index((52, 16, None))
    assert told[crossing - 1 : crossing + 4] == [(44, 8, 100.0), (52, 16, None), (36, 8, None), (44, 8, None), (52, 16, 100.0)]
    assert json.loads(output(folder)["training_options.json"])["rollbacks"] == 1


def test_fewer_pages_than_a_batch_are_enough(tmp_path):
    """Defect 11 of DeepZine: a set smaller than two batches was divided by zero."""
    write_pages(tmp_path / "data", number=3)
    (tmp_path / "params.yaml").write_text("pggan_pages:\n" + "".join(f"  {name}: {value}\n" for name, value in PARAMS.items()))
    assert run_here(tmp_path) == 0
    assert json.loads(output(tmp_path)["training_options.json"])["pictures"] == 3


@pytest.mark.parametrize("channels", [1, 3])
def test_grey_and_coloured_pages_both_with_the_other_loss(prepared, tmp_path, channels):
    write_pages(tmp_path / "data", channels=channels)
    (tmp_path / "params.yaml").symlink_to(prepared / "params.yaml")
    assert run_here(tmp_path, "loss=non-saturating", "gamma=1", "n_critic=2", "kimg=0.04", "metrics=[]") == 0
    assert load_generator(tmp_path / "data/pggan_pages").config.channels == channels
    assert any("r1_penalty" in row and "r_t" in row for row in rows(tmp_path))


def test_any_pictures_can_be_trained_on_without_the_graph(prepared, tmp_path):
    from PIL import Image

    from tests.training.progressive.tiny import page_images

    (tmp_path / "mine").mkdir()
    for number, page in enumerate(page_images(8, 24)):
        Image.fromarray(page[0]).save(tmp_path / f"mine/{number}.png")
    flags = ("--params", str(prepared / "params.yaml"), "--images", str(tmp_path / "mine"), "--out", str(tmp_path / "out"), "--resolution", "16")
    assert train.main([*flags, "--kimg", "0.008", "--set", "metrics=[]"]) == 0
    assert load_generator(tmp_path / "out/pggan_pages").config.resolution == 16
    assert (tmp_path / "out/page_dataset@16").is_dir()


@pytest.mark.parametrize(
    ("settings", "code", "message"),
    [
        (["stable_kimgs=3"], 2, "did you mean 'stable_kimg'"),
        (["batch_by_px={16: 1}"], 2, "mbstd_group is 2, but only 1"),
        (["batch_by_px=[4]"], 2, "batch_by_px must be a mapping, found a list"),
        (["dataset_size=64"], 1, "page_dataset@64"),
        (["resolution=32"], 1, "cannot be given at 32 px"),
    ],
)
def test_what_is_wrong_is_one_line(prepared, tmp_path, capsys, settings, code, message):
    folder = project(prepared, tmp_path / "p")
    assert run_here(folder, *settings) == code
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("figment: ") and message in last
    assert not (folder / "data/pggan_pages").exists()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_with_the_demos_settings_the_distance_falls_by_sixty_percent_and_phases_switch_on_time(tmp_path):
    """512 drawn pages, from 4 to 16 px."""
    write_pages(tmp_path / "data", number=512, channels=3)
    (tmp_path / "params.yaml").symlink_to(ROOT / "presets/demo.yaml")
    assert run_here(tmp_path, "dataset_size=16", "resolution=null") == 0
    swd = [row["swd_x1000"] for row in rows(tmp_path) if "swd_x1000" in row]
    assert swd[-1] <= 0.4 * swd[0], swd
    options = load_params(ROOT / "presets/demo.yaml", "pggan_pages", ProgressiveOptions)
    schedule = options.schedule(16)
    assert all((row["px"], row["alpha"]) == ((now := schedule.at(row["images"])).px, now.alpha) for row in rows(tmp_path) if "px" in row)
    assert json.loads(output(tmp_path)["training_options.json"])["rollbacks"] == 0


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(prepared, tmp_path):
    outputs = HARNESS.run_alone_and_together(prepared, tmp_path, "kimg=0.06", "metrics=[]", "mbstd_group=1")
    one, two = (load_file(model / "generator.safetensors") | load_file(model / "discriminator.safetensors") for model in outputs)
    for name, tensor in one.items():
        assert numpy.allclose(two[name], tensor, atol=1e-4 * max(1.0, float(tensor.abs().max()))), name
