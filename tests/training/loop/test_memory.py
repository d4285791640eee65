"""The measured model of memory: a line through two batches, and a refusal that names the batch that would fit; drivers that will not do."""

from dataclasses import dataclass, field

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.loop.drivers import why_no_gpu
from training.loop.loop import TrainingError
from training.loop.memory import MemoryModel, measured_model, require_memory

GIB = 2**30


@dataclass
class MadeUpDevice:
    """A meter of a device on which a step of n examples holds fixed + each x n bytes, and the first one a workspace more."""

    fixed: int
    each: int
    first: int = 0
    now: int = 0
    steps: list[int] = field(default_factory=list)

    def step(self, examples: int) -> None:
        self.now = self.fixed + self.each * examples + (0 if self.steps else self.first)
        self.steps.append(examples)

    def peak(self, work) -> int:
        work()
        return self.now

    def capacity(self) -> int:
        return 8 * GIB


@given(st.integers(0, 10**10), st.integers(1, 10**9), st.integers(0, 10**9), st.integers(1, 8), st.integers(1, 56), st.integers(1, 10**11))
def test_two_batches_tell_all_others(fixed, each, first, small, more, capacity):
    device = MadeUpDevice(fixed, each, first)
    model = measured_model(device, device.step, (small, small + more), later=1000)
    assert model.of(100) == pytest.approx(fixed + 1000 + 100 * each, rel=1e-9)
    # Never a larger batch than those measured.
    assert max(device.steps) == small + more
    largest = model.largest(capacity)
    assert largest == 0 or model.of(largest) <= capacity * (1 + 1e-9)
    assert model.of(largest + 1) >= capacity * (1 - 1e-9)


def test_a_batch_that_will_not_fit_is_refused_with_the_one_that_would():
    model = MemoryModel(1.5 * GIB, 0.25 * GIB)
    require_memory("polygpt", model, 26, 8 * GIB)
    with pytest.raises(TrainingError, match=r"polygpt: 27 examples at once need about 8.25 GiB.*8.00 GiB can be had.*set batch_size to 26 or less"):
        require_memory("polygpt", model, 27, 8 * GIB)
    with pytest.raises(TrainingError, match="not even one fits: choose a smaller model"):
        require_memory("polygpt", model, 1, GIB)


def test_a_step_that_holds_the_same_for_any_batch_has_no_largest():
    device = MadeUpDevice(GIB, 0)
    assert measured_model(device, device.step, (1, 2)).largest(2 * GIB) > 10**6


def failing(message: str):
    def initialise() -> None:
        raise RuntimeError(message)

    return initialise


def test_a_driver_that_is_too_old_is_told_in_one_line_with_the_remedy(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    old = "The NVIDIA driver on your system is too old (found version 11040). Please update your GPU driver by downloading\nand installing"
    told = "the NVIDIA driver knows CUDA 11.4 at most and this torch needs 13.0: update the driver, or install a torch built for 11.4"
    assert why_no_gpu(failing(old)) == told


@pytest.mark.parametrize(
    ("error", "told"),
    [
        ("Found no NVIDIA driver on your system. Please check", None),
        ("No CUDA GPUs are available", None),
        ("CUDA unknown error - this may be due to\nan incorrectly set up environment", "CUDA unknown error"),
    ],
)
def test_a_machine_without_a_gpu_is_no_trouble_and_a_broken_one_is(monkeypatch, error, told):
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    found = why_no_gpu(failing(error))
    assert found is None if told is None else (told in str(found) and "nvidia-smi" in str(found) and "\n" not in str(found))


def test_a_torch_for_cpus_alone_has_nothing_to_say(monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    assert why_no_gpu(failing("any")) is None
