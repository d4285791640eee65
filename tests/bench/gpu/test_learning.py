import time
from dataclasses import dataclass

import pytest
import torch

from bench.gpu import learning
from bench.gpu.learning import learn, take_steps
from bench.gpu.recording import Work
from training.loop.loop import StepOutcome


@dataclass(frozen=True)
class Config:
    total_samples: int = 1_000_000


class Counting:
    """Learns eight samples in two milliseconds. Every third step is skipped; the first is compiled, which takes a while."""

    flops_per_sample = 10.0

    def __init__(self):
        self.config, self.samples_seen, self.steps, self.rates, self.compiled = Config(), 0, 0, [], 0

    def step(self):
        self.steps += 1
        if self.steps == 1:
            self.compiled = 1
            time.sleep(0.2)
        time.sleep(0.002)
        self.samples_seen += 8
        self.rates.append(1 - self.samples_seen / self.config.total_samples)
        return StepOutcome({"loss": torch.tensor(1 / self.steps)}, 8, torch.tensor(self.steps % 3 == 0))


@pytest.fixture
def trainer(monkeypatch):
    made = Counting()
    monkeypatch.setattr(learning, "_compilations", lambda: made.compiled)
    return made


def work_of(tmp_path, seconds, **more):
    return Work(None, torch.device("cpu"), tmp_path, time.monotonic() + seconds, **more)


def test_what_is_compiled_slows_no_rate(trainer, tmp_path):
    told = take_steps(work_of(tmp_path, 60), trainer, steps=10)
    assert (told["samples"], told["steps"], told["skipped"], told["compilations"]) == (80, 10, 3, 1)
    assert told["compiling_s"] >= 0.2 and told["seconds"] > told["compiling_s"]
    assert told["samples_per_s"] == pytest.approx(72 / (told["seconds"] - told["compiling_s"])) and told["values"] == {"loss": pytest.approx(0.1)}
    assert told["model_flops_per_second"] == pytest.approx(10 * told["samples_per_s"])


def test_a_schedule_ends_when_its_time_does(trainer, tmp_path):
    work = work_of(tmp_path, 1.2)
    told = learn(work, trainer, lambda total: {"total_samples": total}, until=0.4)
    assert trainer.config.total_samples == told["planned"] < 1_000_000 and told["samples"] == trainer.samples_seen
    assert told["steps"] > 0 and 0 < work.left() < 0.8 and trainer.rates[-1] < trainer.rates[0]
    assert told["compilations"] == 1 and told["compiling_s"] >= 0.2


def test_no_step_is_taken_when_the_time_is_over(trainer, tmp_path):
    told = take_steps(work_of(tmp_path, -1), trainer)
    assert (told["steps"], told["samples"], told["values"]) == (0, 0, {}) and told["samples_per_s"] == 0
    # A trial is never short of time.
    assert take_steps(work_of(tmp_path, -1, tiny=True), trainer, steps=2)["steps"] == 2


def test_no_more_is_learnt_than_was_asked_for(trainer, tmp_path):
    trainer.config = Config(200)
    assert learn(work_of(tmp_path, 60), trainer, lambda total: {"total_samples": total}, until=0)["planned"] == 200 == trainer.samples_seen
