"""Sums of many steps that stay where they were computed, and steps of an optimizer that a flag on the device prevents."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stages.reporting import Reporter
from tests.training.gans.recorded_steps import reads_counted
from training.loop import devices
from training.loop.checkpoint import Checkpoints
from training.loop.devices import Devices, neighbours
from training.loop.loop import Plan, StepOutcome, TrainingError, TrainingLoop, step_unless
from training.loop.muon import Muon
from training.loop.seeding import numbers
from training.loop.tally import Counts, Tally

CPU = torch.device("cpu")
STEPS = st.lists(st.tuples(st.dictionaries(st.sampled_from("abc"), st.floats(-1e6, 1e6), max_size=3), st.booleans()), max_size=12)


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_a_tally_adds_up_as_python_does(steps):
    tally, sums, counts, in_a_row, longest = Tally(CPU, Counts({"a": 0.1}, {"a": 2}, 1, 1, 1)), {"a": 0.1}, {"a": 2}, 1, 1
    for values, skipped in steps:
        # One of the values is no tensor, as a learning rate is none.
        given_values = {name: value if name == "b" else torch.tensor(value, dtype=torch.float64) for name, value in values.items()}
        tally.add(given_values, torch.tensor(skipped))
        in_a_row = in_a_row + 1 if skipped else 0
        longest = max(longest, in_a_row)
        for name, value in values.items() if not skipped else ():
            sums[name], counts[name] = sums.get(name, 0.0) + value, counts.get(name, 0) + 1
    found = tally.read()
    assert (found.sums, found.counts) == (sums, counts)
    assert (found.skipped, found.skipped_in_a_row, found.longest_skipped) == (1 + sum(skipped for _, skipped in steps), in_a_row, longest)


def test_values_of_skipped_steps_do_not_count_whatever_they_are():
    tally = Tally(CPU, Counts({}, {}, 0, 0, 0))
    tally.add({"loss": torch.tensor(torch.nan)}, torch.tensor(True))
    tally.add({"loss": torch.tensor(2.0)}, torch.tensor(False))
    assert tally.read().sums == {"loss": 2.0}


class BadOnTheDevice:
    """Steps that only the device knows to be bad: those of these numbers, until it has rolled back `cured_by` times."""

    def __init__(self, bad: range, cured_by: int) -> None:
        self.samples_seen, self.rollback, self.bad, self.cured_by = 0, 0, bad, cured_by

    def step(self) -> StepOutcome:
        self.samples_seen += 1
        is_bad = self.samples_seen in self.bad and self.rollback < self.cured_by
        return StepOutcome({"loss": torch.tensor(1.0)}, 1, torch.tensor(is_bad))

    def state_dict(self) -> dict:
        return {"samples_seen": self.samples_seen, "rollback": self.rollback}

    def load_state_dict(self, state: dict) -> None:
        self.samples_seen, self.rollback = state["samples_seen"], state["rollback"]

    def reseed(self, rollback: int) -> None:
        self.rollback = rollback


def trained(folder, trainable) -> TrainingLoop:
    loop = TrainingLoop(trainable, Plan(40, 10, 20), Checkpoints(folder, "key", 2, Reporter()), [], Reporter(), Devices(CPU))
    loop.outcome = loop.run(None)  # type: ignore[attr-defined]
    return loop


def test_what_the_device_has_skipped_is_looked_at_when_something_is_due(tmp_path):
    few = trained(tmp_path / "few", BadOnTheDevice(range(2, 6), 1)).outcome
    assert (few.skipped_steps, few.rollbacks, few.values["loss"]) == (4, 0, 1.0)
    # Five bad steps end at the 26th, and the next report is at the 30th.
    many = trained(tmp_path / "many", BadOnTheDevice(range(22, 27), 1)).outcome
    assert (many.skipped_steps, many.rollbacks) == (5, 1) and many.reasons[0].startswith("after 30 samples: 5 steps in a row")


def test_after_enough_roll_backs_it_ends(tmp_path):
    with pytest.raises(TrainingError, match=r"10 steps in a row .* also after 3 roll-backs; lower the learning rate"):
        trained(tmp_path, BadOnTheDevice(range(21, 41), 9))


OPTIMIZERS = {"fused": lambda weights: torch.optim.Adam(weights, lr=0.1, fused=True), "plain": torch.optim.Adam, "muon": Muon}


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_a_step_that_is_not_taken_changes_nothing(kind):
    weight = torch.nn.Parameter(torch.ones(3, 2))
    optimizer = OPTIMIZERS[kind]([weight])
    weight.grad = torch.ones(3, 2)
    step_unless(optimizer, torch.tensor(False))
    before = (weight.detach().clone(), {name: value.clone() for name, value in optimizer.state[weight].items()})
    weight.grad = torch.full((3, 2), torch.nan)
    with reads_counted() as reads:
        step_unless(optimizer, torch.tensor(True))
    assert bool(reads) == (kind == "plain")
    assert torch.equal(weight, before[0]) and all(torch.equal(value, before[1][name]) for name, value in optimizer.state[weight].items())
    assert not hasattr(optimizer, "found_inf")


@pytest.mark.parametrize("shape", [(4, 3), (3, 4)])
def test_a_muon_that_is_told_of_bad_steps_takes_the_others_as_torchs_does(shape):
    torch.manual_seed(0)
    weights = [torch.nn.Parameter(torch.linspace(-1, 1, 12).view(shape)) for _ in range(2)]
    told, plain = Muon([weights[0]], lr=0.1), torch.optim.Muon([weights[1]], lr=0.1)
    for is_bad in (True, False, False, True, False):
        gradient = torch.randn(shape)
        weights[0].grad = torch.full(shape, torch.inf) if is_bad else gradient.clone()
        step_unless(told, torch.tensor(is_bad))
        if not is_bad:
            weights[1].grad = gradient
            plain.step()
        assert torch.equal(*weights)


def test_only_what_was_drawn_on_the_cpu_is_read_as_numbers():
    assert numbers(torch.tensor([1, 2])) == [1, 2]
    with pytest.raises(ValueError, match="found a tensor on meta; keep the computation on that device"):
        numbers(torch.zeros(2, device="meta"))


def test_another_process_on_the_gpu_is_told_of_with_its_memory(monkeypatch):
    assert neighbours(CPU) is None
    monkeypatch.setattr(devices.torch.cuda, "memory_reserved", lambda device: 2 * 2**30)
    for others, found in ((0.5, None), (30, "other processes hold about 30.0 of the 80.0 GiB of cuda")):
        monkeypatch.setattr(devices.torch.cuda, "mem_get_info", lambda device, others=others: (int((78 - others) * 2**30), 80 * 2**30))
        told = neighbours(torch.device("cuda"))
        assert (told is None) if found is None else (found in told and "CUDA_VISIBLE_DEVICES" in told)
