"""What both players of StyleGAN3 minimise, and exact continuation of the whole; turns and bad steps are in tests/training/gans/test_players.py."""

import io
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.stylegan3.toy_gan import toy_training
from training.gans.players import Moment
from training.loop.devices import Devices
from training.stylegan3 import losses
from training.stylegan3.generator import StyleGAN3Error
from training.stylegan3.train import StyleGAN3Training

START = Moment(0, 0, 0)


def weights(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def changed(before: dict[str, torch.Tensor], network: torch.nn.Module) -> set[str]:
    return {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}


def test_one_step_moves_both_players_the_average_and_the_place_in_the_data():
    training = toy_training()
    trainer = training.trainer
    g, d = weights(training.generator), weights(training.discriminator)
    outcome = trainer.step()
    assert outcome.samples == trainer.samples_seen == 4 and trainer.iteration == 1 and not outcome.skipped
    assert {name for name, _ in training.generator.named_parameters()} - changed(g, training.generator) == set()
    assert {name for name, _ in training.discriminator.named_parameters()} - changed(d, training.discriminator) == set()
    # The ramp begins at zero: the first average is the network itself.
    assert all(torch.equal(training.ema.average[name], tensor) for name, tensor in training.generator.state_dict().items())
    signs = {"r_t", "fake_sign", "real_logit", "fake_logit"}
    assert {"g_loss", "d_loss", "p", "g_gradient_norm", "d_gradient_norm", "r1_penalty", *signs} == set(outcome.values)


def test_the_losses_at_the_start_are_those_of_the_formula():
    assert toy_training(loss="rpgan").trainer.step().numbers()["d_loss"] == pytest.approx(math.log(2), abs=0.2)
    assert toy_training().trainer.step().numbers()["d_loss"] == pytest.approx(2 * math.log(2), abs=0.4)


def test_gradients_in_parts_are_those_of_the_whole_batch():
    # The discriminator alone: the styles of a generator are normalised over the pictures that are drawn together.
    gradients = []
    for batch_gpu in (None, 2):
        training = toy_training(batch_gpu=batch_gpu)
        training.losses._fakes = lambda z, c, observe: torch.tanh(z[:, :3, None, None].expand(-1, 3, 16, 16))
        training.generator.move_averages = lambda over_all: None
        for loss, _ in training.losses.discriminator_losses(START):
            loss.backward()
        gradients.append([parameter.grad for parameter in training.discriminator.parameters()])
    for one, other in zip(*gradients, strict=True):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("changes", [{}, {"aug": "fixed", "aug_preset": "bgc", "p": 0.5, "mirror": True, "cfg": "stylegan3-r", "loss": "rpgan"}])
def test_a_batch_in_parts_teaches_both_networks_and_their_averages_what_the_whole_does(changes):
    whole, parts = (toy_training(reg_interval=2, batch_gpu=batch_gpu, **changes) for batch_gpu in (None, 1))
    for _ in range(3):
        values = [training.trainer.step().numbers() for training in (whole, parts)]
        assert values[0] == pytest.approx(values[1], rel=1e-3, abs=1e-4)
    for one, other in ((whole.generator, parts.generator), (whole.discriminator, parts.discriminator)):
        for name, tensor in one.state_dict().items():
            torch.testing.assert_close(other.state_dict()[name], tensor, rtol=1e-3, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")
    # The averages have moved: by 3 steps of a batch, not by 12 of a picture.
    assert whole.generator.mapping.w_avg.any()
    torch.testing.assert_close(parts.generator.mapping.w_avg, whole.generator.mapping.w_avg, rtol=1e-4, atol=1e-7)


def test_the_blur_of_configuration_r_is_for_networks_that_know_nothing_yet(monkeypatch):
    seen = []
    monkeypatch.setattr(losses, "blur_matrix", lambda side, sigma: seen.append(sigma) or torch.eye(side))
    fresh = toy_training(cfg="stylegan3-r")
    fresh.trainer.step()
    assert seen and set(seen) == {10.0}
    seen.clear()
    fresh.losses.options = replace(fresh.options, resume_from=Path("a/model"))
    fresh.trainer.step()
    assert not seen


@pytest.mark.parametrize("precision", ["auto", "float16", "bfloat16"])
def test_bfloat16_is_warned_of(precision, monkeypatch):
    said = []
    monkeypatch.setattr("stages.reporting.Reporter.log", lambda self, message: said.append(message))
    toy_training(precision=precision)
    assert [line for line in said if line.startswith("WARNING: precision bfloat16")] == said[:-1] == said[: precision == "bfloat16"]


def test_processes_must_each_see_a_group_of_pictures():
    devices = Devices(torch.device("cpu"), rank=0, world_size=2)
    with pytest.raises(StyleGAN3Error, match="mbstd_group is 4, but a process has only 2 pictures side by side .* fewer processes"):
        toy_training(batch=4, mbstd_group=4, devices=devices)


def test_the_penalty_comes_every_sixteenth_iteration_and_its_optimizer_knows():
    training = toy_training()
    assert [(phase.name, phase.player, phase.every) for phase in training.losses.phases()] == [("G", "G", 1), ("D", "D", 1), ("D_reg", "D", 16)]
    assert [phase.name for phase in toy_training(gamma=0.0).losses.phases()] == ["G", "D"]
    rates = [training.trainer.players[name].optimizer.param_groups[0]["lr"] for name in ("G", "D")]
    assert rates == [0.0025, pytest.approx(0.002 * 16 / 17)]


@pytest.mark.parametrize("rollback", [0, 2])
def test_the_penalty_is_gamma_halves_of_the_squared_gradient_times_sixteen(rollback):
    of = toy_training(gamma=3.0).losses
    scale = torch.nn.Parameter(torch.tensor(2.0))
    of.discriminator = lambda images, c: scale * images.sum(dim=(1, 2, 3))[:, None]
    ((loss, shown),) = of.penalties(Moment(0, 0, rollback))
    # 16 · 3 / 2 · scale² · 768 numbers of a picture, and twice as much after each roll-back.
    assert float(loss.detach()) == pytest.approx(16 * 3 / 2 * 2.0**2 * 3 * 16 * 16 * 2**rollback)
    # What is reported is the penalty itself, in one unit whatever weighs it.
    assert float(shown["r1_penalty"]) == pytest.approx(2.0**2 * 3 * 16 * 16)


def test_frozen_layers_stay_as_they_were():
    training = toy_training(freezed=4)
    before = weights(training.discriminator)
    for _ in range(3):
        training.trainer.step()
    trained = {name.rsplit(".", 1)[0] for name in changed(before, training.discriminator)}
    assert trained == {"b8.conv0", "b8.conv1", "b8.skip", "b4.conv", "b4.fc", "b4.out"}


def test_a_conditional_training_uses_its_labels():
    training = toy_training(labels=torch.eye(3)[torch.arange(24) % 3], cond=True)
    before = weights(training.generator)
    training.trainer.step()
    assert "mapping.embed.weight" in changed(before, training.generator)


def test_rotation_configuration_and_relativistic_loss_take_steps():
    training = toy_training(cfg="stylegan3-r", loss="rpgan", aug="fixed", aug_preset="bgc", p=0.5, mirror=True)
    values = [training.trainer.step().numbers() for _ in range(2)]
    assert all(math.isfinite(value) for row in values for value in row.values()) and values[0]["p"] == 0.5


def state(training: StyleGAN3Training) -> Any:
    """The state of the trainer, through a file."""
    buffer = io.BytesIO()
    torch.save(training.trainer.state_dict(), buffer)
    return torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)


def resumed(training: StyleGAN3Training, **changes) -> StyleGAN3Training:
    other = toy_training(**changes)
    other.trainer.load_state_dict(state(training))
    return other


def assert_equal(one: Any, other: Any, name: str = "state") -> None:
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), name
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), name
        for key, value in one.items():
            assert_equal(value, other[key], f"{name}.{key}")
    elif isinstance(one, list | tuple):
        assert_equal(dict(enumerate(one)), dict(enumerate(other)), name)
    else:
        assert one == other, name


@pytest.mark.parametrize("changes", [{"aug": "ada", "ada_kimg": 0.05, "target": 0.0, "mirror": True}, {"loss": "rpgan", "batch_gpu": 2}])
def test_stopped_between_any_two_steps_it_goes_on_bit_by_bit(changes):
    changes |= {"reg_interval": 3}
    whole, first = toy_training(**changes), toy_training(**changes)
    for _ in range(9):
        whole.trainer.step()
    for _ in range(5):
        first.trainer.step()
    second = resumed(first, **changes)
    for _ in range(4):
        second.trainer.step()
    assert_equal(state(whole), state(second))


def test_after_a_roll_back_reals_and_latents_are_others():
    of = toy_training().losses
    for draw in (of._latents, of._reals):
        before, after = (draw("D", Moment(0, 0, rollback))[0] for rollback in (0, 2))
        assert not torch.equal(before, after)


@pytest.mark.gpu
def test_on_a_gpu_it_takes_steps_and_goes_on_from_a_file():
    devices = Devices(torch.device("cuda"))
    changes = {"labels": torch.eye(2)[torch.arange(24) % 2], "cond": True, "aug": "fixed", "p": 0.5, "mirror": True, "devices": devices}
    training = toy_training(**changes)
    values = [training.trainer.step().numbers() for _ in range(3)]
    other = resumed(training, **changes)
    values.append(other.trainer.step().numbers())
    assert other.trainer.samples_seen == 16 and all(math.isfinite(value) for row in values for value in row.values())
