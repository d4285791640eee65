"""The step of any adversarial training: whose turn it is, exact continuation, roll-backs, and what keeps bad steps from the weights."""

import copy
import io
import math

import pytest
import torch
from torch import nn

from training.gans.losses import non_saturating_d, non_saturating_g
from training.gans.players import AdversarialTrainer, Moment, Phase, adam, parts_of_batch
from training.loop.devices import Devices
from training.loop.ema import Ema
from training.loop.seeding import generator

CPU = Devices(torch.device("cpu"))
BATCH = 8


class Pool:
    """Earlier fakes, as CycleGAN shows them to its discriminators; a state of its own."""

    def __init__(self) -> None:
        self.kept = torch.zeros(0, 2)

    def mix(self, fakes: torch.Tensor) -> torch.Tensor:
        shown = torch.cat([self.kept[: BATCH // 2], fakes])[:BATCH]
        self.kept = fakes.detach().clone()
        return shown

    def state_dict(self) -> dict:
        return {"kept": self.kept}

    def load_state_dict(self, state: dict) -> None:
        self.kept = state["kept"]


class Cycle:
    """CycleGAN in small: two generators that move together, two discriminators that do not, a pool, points instead of pictures."""

    def __init__(self, *, every: int = 3, side_by_side: int = BATCH) -> None:
        torch.manual_seed(1)
        self.generators = nn.ModuleDict({way: nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 2)) for way in ("ab", "ba")})
        self.critics = {name: nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 1)) for name in ("A", "B")}
        self.pool, self.side_by_side, self.bad = Pool(), side_by_side, False
        players = {"G": adam(self.generators, 2e-3, betas=(0.5, 0.999))}
        players |= {name: adam(critic, 1e-3, lazy_interval=every) for name, critic in self.critics.items()}
        phases = [
            Phase("G", "G", self.of_generators, reported_as="g"),
            Phase("A", "A", lambda now: self.of_critic("A", now), reported_as="a"),
            Phase("B", "B", lambda now: self.of_critic("B", now), every=every),
        ]
        self.trainer = AdversarialTrainer(
            players,
            phases,
            batch_size=BATCH,
            devices=CPU,
            averages={"G": Ema(self.generators, half_life_samples=50)},
            others={"pool": self.pool},
            after_step=lambda values, samples: {"told": values["g_loss"] * samples},
        )

    def reals(self, domain: str, now: Moment) -> torch.Tensor:
        points = torch.randn(BATCH, 2, generator=generator("reals", domain, now.rollback, now.samples_seen)) + (3 if domain == "B" else 0)
        return points * math.nan if self.bad else points

    def of_generators(self, now: Moment):
        a = self.reals("A", now)
        for rows in parts_of_batch(BATCH, self.side_by_side, CPU):
            there = self.generators["ab"](a[rows])
            cycle = (self.generators["ba"](there) - a[rows]).abs().sum()
            yield (non_saturating_g(self.critics["B"](there)).sum() + cycle) / BATCH, {"cycle": cycle.detach() / BATCH}

    def of_critic(self, domain: str, now: Moment):
        way = "ab" if domain == "B" else "ba"
        with torch.no_grad():
            fakes = self.generators[way](self.reals("A" if domain == "B" else "B", now))
        fakes = self.pool.mix(fakes) if domain == "B" else fakes
        for rows in parts_of_batch(BATCH, self.side_by_side, CPU):
            critic = self.critics[domain]
            yield non_saturating_d(critic(self.reals(domain, now)[rows]), critic(fakes[rows])).sum() / BATCH, {}


def weights(network: nn.Module) -> dict[str, torch.Tensor]:
    return copy.deepcopy(network.state_dict())


def same(before: dict[str, torch.Tensor], network: nn.Module) -> bool:
    return all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_every_player_moves_at_its_turn_and_only_then():
    cycle = Cycle()
    cycle.trainer.step()
    before = {name: weights(player.network) for name, player in cycle.trainer.players.items()}
    outcome = cycle.trainer.step()
    moved = {name for name, player in cycle.trainer.players.items() if not same(before[name], player.network)}
    # B's turn comes every third iteration.
    assert moved == {"G", "A"} and outcome.samples == BATCH and cycle.trainer.samples_seen == 2 * BATCH
    assert set(outcome.values) == {"g_loss", "g_gradient_norm", "cycle", "a_loss", "a_gradient_norm", "told"}
    assert outcome.values["told"] == outcome.values["g_loss"] * BATCH
    cycle.trainer.step()
    before = weights(cycle.critics["B"])
    cycle.trainer.step()
    assert not same(before, cycle.critics["B"])


def test_gradients_in_parts_are_those_of_the_whole_batch():
    whole, parts = Cycle(), Cycle(side_by_side=2)
    values = [cycle.trainer.step().numbers() for cycle in (whole, parts)]
    assert values[0] == pytest.approx(values[1], rel=1e-5)
    for one, other in zip(whole.generators.parameters(), parts.generators.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_a_phase_without_losses_takes_no_step():
    cycle = Cycle()
    cycle.trainer.phases[2] = Phase("B", "B", lambda now: iter(()), reported_as="b")
    before = weights(cycle.critics["B"])
    outcome = cycle.trainer.step()
    assert not outcome.skipped and "b_loss" not in outcome.values and same(before, cycle.critics["B"])


def through_a_file(trainer: AdversarialTrainer) -> dict:
    buffer = io.BytesIO()
    torch.save(trainer.state_dict(), buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def assert_equal_states(one: AdversarialTrainer, other: AdversarialTrainer) -> None:
    texts = []
    for trainer in (one, other):
        buffer = io.BytesIO()
        torch.save(trainer.state_dict(), buffer)
        texts.append(buffer.getvalue())
    assert texts[0] == texts[1]


@pytest.mark.parametrize("steps", [1, 4, 6])
def test_stopped_between_any_two_steps_it_goes_on_bit_by_bit(steps):
    whole, first, second = Cycle(), Cycle(), Cycle()
    for _ in range(9):
        whole.trainer.step()
    for _ in range(steps):
        first.trainer.step()
    second.trainer.load_state_dict(through_a_file(first.trainer))
    for _ in range(9 - steps):
        second.trainer.step()
    assert_equal_states(whole.trainer, second.trainer)


def test_a_roll_back_takes_other_data_and_half_the_rate_also_after_loading():
    cycle, again = Cycle(), Cycle()
    cycle.trainer.reseed(2)
    again.trainer.load_state_dict(through_a_file(cycle.trainer))
    losses = [trainer.step().numbers()["g_loss"] for trainer in (cycle.trainer, again.trainer, Cycle().trainer)]
    assert losses[0] == losses[1] != losses[2]
    assert again.trainer.players["G"].optimizer.param_groups[0]["lr"] == pytest.approx(2e-3 / 4)


def test_all_rates_follow_the_schedule():
    cycle = Cycle()
    cycle.trainer.schedule = lambda samples: 1 - samples / (4 * BATCH)
    for _ in range(3):
        cycle.trainer.step()
    assert cycle.trainer.players["G"].optimizer.param_groups[0]["lr"] == pytest.approx(2e-3 / 2)


def test_a_batch_that_varies_is_counted_picture_by_picture_and_every_iteration_is_told_of_before_its_turns():
    cycle, told = Cycle(), []
    cycle.trainer.batch_size, cycle.trainer.before_step = lambda samples: 8 if samples < 8 else 4, told.append
    assert [cycle.trainer.step().samples for _ in range(3)] == [8, 4, 4] and cycle.trainer.samples_seen == 16
    assert told == [Moment(0, 0, 0), Moment(8, 1, 0), Moment(12, 2, 0)]


def test_what_is_known_of_gradients_can_be_forgotten_and_the_step_after_goes_on():
    cycle = Cycle()
    cycle.trainer.step()
    cycle.trainer.forget_gradients()
    assert not any(watch.state_dict() for watch in cycle.trainer.watches.values())
    assert not any(player.optimizer.state for player in cycle.trainer.players.values())
    assert not cycle.trainer.step().skipped
    steps = {float(state["step"]) for state in cycle.trainer.players["G"].optimizer.state.values()}
    assert steps == {1.0}


def test_gradients_are_laid_out_as_their_parameters_before_a_step(monkeypatch):
    """Fused Adam, which only a GPU has by default, refuses other strides; autograd does not look at those of sides of 1."""
    network, laid_out = nn.Conv2d(3, 4, 1).to(memory_format=torch.channels_last), []
    player = adam(network, 0.1)
    gradient = torch.randn(4, 3, 1, 1).as_strided((4, 3, 1, 1), (3, 1, 1, 1))
    phase = Phase("D", "D", lambda now: iter([((network.weight * gradient).sum() + network.bias.sum() * 0, {})]))
    trainer = AdversarialTrainer({"D": player}, [phase], batch_size=1, devices=CPU, averages={}, others={})
    monkeypatch.setattr(player.optimizer, "step", lambda: laid_out.append((network.weight.grad.stride(), network.weight.grad.clone())))
    network.weight.register_post_accumulate_grad_hook(lambda weight: setattr(weight, "grad", gradient))
    trainer._take_turn(phase, Moment(0, 0, 0))
    assert gradient.stride() != network.weight.stride()
    assert laid_out[0][0] == network.weight.stride() and torch.equal(laid_out[0][1], gradient)


def test_lazy_regularisation_is_known_to_the_optimizer():
    (group,) = adam(nn.Linear(2, 2), 0.002, lazy_interval=16).optimizer.param_groups
    assert group["lr"] == pytest.approx(0.002 * 16 / 17) and group["betas"] == (0.0, pytest.approx(0.99 ** (16 / 17)))
    (group,) = adam(nn.Linear(2, 2), 0.0025).optimizer.param_groups
    assert group["lr"] == 0.0025 and group["betas"] == (0.0, 0.99) and group["eps"] == 1e-8


def test_frozen_parameters_stay_frozen():
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    network[0].requires_grad_(False)
    assert len(adam(network, 0.1).parameters) == 2


def test_a_batch_that_is_not_a_number_leaves_the_weights_alone_and_is_counted():
    cycle = Cycle()
    cycle.trainer.step()
    before = weights(cycle.critics["A"])
    cycle.bad = True
    assert cycle.trainer.step().skipped and same(before, cycle.critics["A"])
    cycle.bad = False
    assert not cycle.trainer.step().skipped
    assert all(tensor.isfinite().all() for tensor in cycle.generators.state_dict().values())


def with_gradients(trainer: AdversarialTrainer, name: str, value: float) -> list[nn.Parameter]:
    trainer._begin(name)
    for parameter in trainer.players[name].parameters:
        parameter.grad = torch.full_like(parameter, value)
    return trainer.players[name].parameters


def test_single_gradients_that_are_not_finite_are_replaced():
    trainer = Cycle().trainer
    first = with_gradients(trainer, "G", 0.0)[0]
    for index, value in enumerate((math.nan, math.inf, -math.inf)):
        first.grad.view(-1)[index] = value
    norm, skipped = trainer._finish(trainer.phases[0], torch.tensor(1.0))
    assert first.grad.view(-1)[:3].tolist() == [0.0, 1e5, -1e5] and norm.isfinite() and not skipped


def test_a_wild_gradient_is_skipped():
    trainer = Cycle().trainer
    for _ in range(25):
        trainer.watches["G"].is_wild(torch.tensor(1.0))
    before = weights(trainer.players["G"].network)
    with_gradients(trainer, "G", 1e3)
    assert trainer._finish(trainer.phases[0], torch.tensor(1.0))[1] and same(before, trainer.players["G"].network)


def test_processes_share_a_batch_in_parts():
    both = [list(parts_of_batch(16, 4, Devices(torch.device("cpu"), rank, 2))) for rank in range(2)]
    assert both == [[slice(0, 4), slice(4, 8)], [slice(8, 12), slice(12, 16)]]
