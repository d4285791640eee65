"""The training of both players: what moves when, the controller's law, exact continuation, and what keeps bad steps from the weights."""

import copy
import io
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.training.stylegan3.toy_gan import assert_equal_states, toy_trainer
from training.loop.devices import Devices
from training.stylegan3.gan import AugmentController, GanTrainer


def weights(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def changed(before: dict[str, torch.Tensor], network: torch.nn.Module) -> set[str]:
    return {name for name, tensor in network.state_dict().items() if not torch.equal(tensor, before[name])}


# The controller


def test_p_moves_every_four_iterations_by_the_images_seen():
    controller = AugmentController(0.5, target=0.6, kimg=500)
    for _ in range(3):
        controller.observe(1.0, 32)
    assert controller.p == 0.5
    controller.observe(1.0, 32)
    assert controller.p == pytest.approx(0.5 + 4 * 32 / 500_000)
    for _ in range(4):
        controller.observe(-1.0, 32)
    assert controller.p == pytest.approx(0.5)


def test_at_the_target_p_stays():
    controller = AugmentController(0.25, target=0.5, kimg=1)
    for sign in (1.0, 0.0, 0.5, 0.5):
        controller.observe(sign, 8)
    assert controller.p == 0.25


@given(st.lists(st.floats(-1, 1), max_size=200), st.floats(0, 1))
def test_p_stays_a_probability(signs, start):
    controller = AugmentController(start, target=0.6, kimg=0.05)
    for sign in signs:
        controller.observe(sign, 16)
        assert 0 <= controller.p <= 1


def test_with_ada_the_augmentation_gets_the_controllers_p():
    trainer = toy_trainer(aug="ada", target=0.0, ada_kimg=0.1)
    trainer.controller.observe(1.0, 16)
    for _ in range(3):
        trainer.step()
    assert trainer.controller.p > 0 and float(trainer.augment.p) == pytest.approx(trainer.controller.p)


def test_a_fixed_p_stays():
    trainer = toy_trainer(aug="fixed", p=0.3)
    trainer.step()
    assert float(trainer.augment.p) == pytest.approx(0.3)


# The iteration


def test_one_step_moves_both_players_the_average_and_the_place_in_the_data():
    trainer = toy_trainer()
    g, d = weights(trainer.generator), weights(trainer.discriminator)
    outcome = trainer.step()
    assert outcome.samples == trainer.samples_seen == 4 and trainer.iteration == 1 and not outcome.skipped
    assert {name for name, _ in trainer.generator.named_parameters()} - changed(g, trainer.generator) == set()
    assert {name for name, _ in trainer.discriminator.named_parameters()} - changed(d, trainer.discriminator) == set()
    # The ramp begins at zero: the first average is the network itself.
    assert all(torch.equal(trainer.ema.average[name], tensor) for name, tensor in trainer.generator.state_dict().items())
    assert {"g_loss", "d_loss", "r_t", "fake_sign", "p", "g_gradient_norm", "d_gradient_norm"} == set(outcome.values)


def test_the_losses_at_the_start_are_those_of_the_formula():
    trainer = toy_trainer(loss="rpgan")
    assert trainer.step().values["d_loss"] == pytest.approx(math.log(2), abs=0.2)
    assert toy_trainer().step().values["d_loss"] == pytest.approx(2 * math.log(2), abs=0.4)


def test_gradients_in_parts_are_those_of_the_whole_batch():
    # The discriminator alone: the styles of a generator are normalised over the pictures that are drawn together.
    whole, parts = toy_trainer(), toy_trainer(batch_gpu=2)
    parts._fakes = whole._fakes = lambda z, c, update_averages: torch.tanh(z[:, :3, None, None].expand(-1, 3, 16, 16))
    for trainer in (whole, parts):
        trainer._discriminator_phase()
    for one, other in zip(whole.players["D"].parameters, parts.players["D"].parameters, strict=True):
        assert torch.allclose(one.grad, other.grad, atol=1e-6)


def penalties(trainer: GanTrainer) -> list[int]:
    """The iterations with a penalty among forty."""
    seen = []
    trainer._penalty_phase = lambda: bool(seen.append(trainer.iteration))
    trainer._generator_phase = lambda: ({}, False)
    trainer._discriminator_phase = lambda: ({"r_t": torch.zeros(())}, False)
    for _ in range(40):
        trainer.step()
    return seen


def test_the_penalty_comes_every_sixteenth_iteration_and_its_optimizer_knows():
    trainer = toy_trainer()
    (group,) = trainer.players["D"].optimizer.param_groups
    assert group["lr"] == pytest.approx(0.002 * 16 / 17) and group["betas"] == (0.0, pytest.approx(0.99 ** (16 / 17)))
    (group,) = trainer.players["G"].optimizer.param_groups
    assert group["lr"] == 0.0025 and group["betas"] == (0.0, 0.99) and group["eps"] == 1e-8
    assert penalties(trainer) == [0, 16, 32]


def test_the_penalty_is_gamma_halves_of_the_squared_gradient_times_sixteen():
    trainer = toy_trainer(gamma=3.0)
    scale = torch.nn.Parameter(torch.tensor(2.0))

    class Linear(torch.nn.Module):
        def forward(self, images, c):
            return scale * images.sum(dim=(1, 2, 3))[:, None]

    trainer.discriminator = Linear()
    player = trainer.players["D"]
    player.parameters, player.optimizer = [scale], torch.optim.SGD([scale], lr=0.0)
    trainer._penalty_phase()
    # 16 · 3 / 2 · scale² · 768 numbers of a picture, derived by scale.
    assert float(scale.grad) == pytest.approx(16 * 3 / 2 * 2 * 2.0 * 3 * 16 * 16)


def test_frozen_layers_stay_as_they_were():
    trainer = toy_trainer(freezed=4)
    before = weights(trainer.discriminator)
    for _ in range(3):
        trainer.step()
    trained = {name.rsplit(".", 1)[0] for name in changed(before, trainer.discriminator)}
    assert trained == {"b8.conv0", "b8.conv1", "b8.skip", "b4.conv", "b4.fc", "b4.out"}


def test_a_conditional_training_uses_its_labels():
    labels = torch.eye(3)[torch.arange(24) % 3]
    trainer = toy_trainer(labels=labels, cond=True)
    before = weights(trainer.generator)
    trainer.step()
    assert "mapping.embed.weight" in changed(before, trainer.generator)


def test_rotation_configuration_and_relativistic_loss_take_steps():
    trainer = toy_trainer(cfg="stylegan3-r", loss="rpgan", aug="fixed", aug_preset="bgc", p=0.5, mirror=True)
    values = [trainer.step().values for _ in range(2)]
    assert all(math.isfinite(value) for row in values for value in row.values())


# Continuing


def resumed(trainer: GanTrainer, **changes) -> GanTrainer:
    """A new trainer with the state of `trainer`, through a file."""
    buffer = io.BytesIO()
    torch.save(trainer.state_dict(), buffer)
    buffer.seek(0)
    other = toy_trainer(**changes)
    other.load_state_dict(torch.load(buffer, weights_only=True))
    return other


@pytest.mark.parametrize("changes", [{"aug": "ada", "ada_kimg": 0.05, "target": 0.0, "mirror": True}, {"loss": "rpgan", "batch_gpu": 2}])
def test_stopped_between_any_two_steps_it_goes_on_bit_by_bit(changes):
    changes |= {"reg_interval": 3}
    whole, first = toy_trainer(**changes), toy_trainer(**changes)
    for _ in range(9):
        whole.step()
    for _ in range(5):
        first.step()
    second = resumed(first, **changes)
    for _ in range(4):
        second.step()
    assert_equal_states(whole, second)


def test_a_roll_back_takes_other_data_half_the_rate_and_twice_gamma():
    trainer, plain = toy_trainer(), toy_trainer()
    trainer.reseed(2)
    assert trainer.players["G"].optimizer.param_groups[0]["lr"] == pytest.approx(0.0025 / 4)
    assert trainer.players["D"].optimizer.param_groups[0]["lr"] == pytest.approx(0.002 * 16 / 17 / 4)
    assert not torch.equal(trainer._latents("G")[0], plain._latents("G")[0]) and not torch.equal(trainer._reals("D")[0], plain._reals("D")[0])
    again = resumed(trainer)
    assert again.rollback == 2 and again.players["G"].optimizer.param_groups[0]["lr"] == pytest.approx(0.0025 / 4)
    assert torch.equal(again._reals("D")[0], trainer._reals("D")[0])


# Bad steps


def test_a_batch_that_is_not_a_number_leaves_the_weights_alone_and_is_counted():
    trainer = toy_trainer()
    trainer.step()
    before = weights(trainer.discriminator)
    reals = trainer._reals
    trainer._reals = lambda phase: (torch.full_like(reals(phase)[0], math.nan), None)
    assert trainer.step().skipped
    assert changed(before, trainer.discriminator) == set()
    trainer._reals = reals
    assert not trainer.step().skipped
    assert all(tensor.isfinite().all() for tensor in trainer.generator.state_dict().values())


def test_single_gradients_that_are_not_finite_are_replaced():
    trainer = toy_trainer()
    trainer._begin("G")
    parameters = trainer.players["G"].parameters
    for parameter in parameters:
        parameter.grad = torch.zeros_like(parameter)
    for index, value in enumerate((math.nan, math.inf, -math.inf)):
        parameters[0].grad.view(-1)[index] = value
    norm, skipped = trainer._finish("G", "G", torch.tensor(1.0))
    assert parameters[0].grad.view(-1)[:3].tolist() == [0.0, 1e5, -1e5] and math.isfinite(norm) and not skipped


def test_a_wild_gradient_is_skipped():
    trainer = toy_trainer()
    for _ in range(25):
        trainer.players["G"].watches["G"].is_wild(1.0)
    before = weights(trainer.generator)
    trainer._begin("G")
    for parameter in trainer.players["G"].parameters:
        parameter.grad = torch.full_like(parameter, 1e3)
    assert trainer._finish("G", "G", torch.tensor(1.0))[1]
    assert changed(before, trainer.generator) == set()


def test_the_averaged_generator_is_a_copy():
    trainer = toy_trainer()
    trainer.step()
    averaged = trainer.averaged_generator()
    before = copy.deepcopy(averaged.state_dict())
    trainer.step()
    assert all(torch.equal(before[name], tensor) for name, tensor in averaged.state_dict().items()) and not averaged.training


@pytest.mark.gpu
def test_on_a_gpu_it_takes_steps_and_goes_on_from_a_file():
    devices = Devices(torch.device("cuda"))
    changes = {"labels": torch.eye(2)[torch.arange(24) % 2], "cond": True, "aug": "fixed", "p": 0.5, "mirror": True, "devices": devices}
    trainer = toy_trainer(**changes)
    values = [trainer.step().values for _ in range(3)]
    other = resumed(trainer, **changes)
    values.append(other.step().values)
    assert other.samples_seen == 16 and all(math.isfinite(value) for row in values for value in row.values())
