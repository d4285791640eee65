"""What a training will need of a GPU's memory, found out before it starts from two steps of small batches.

What a step holds at most grows in a straight line with the batch: weights, gradients and the optimizer's state whatever the batch, and what each
example leaves for the backward pass. So two measurements tell all batches, and a batch that will not fit is refused with one that will.
"""

import gc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch

from training.loop.loop import TrainingError

# Of what is free: the allocator cannot use the rest, because its blocks have sizes of their own, and cuBLAS keeps some for itself.
_USABLE = 0.92


class Meter(Protocol):
    """Measures a device's memory, in bytes."""

    def peak(self, work: Callable[[], object]) -> int:
        """The most that was held at once while `work` ran, what was held before included."""
        ...

    def capacity(self) -> int:
        """What this process may hold at most."""
        ...


@dataclass(frozen=True)
class CudaMeter:
    """By the counts of torch's allocator."""

    device: torch.device

    def peak(self, work: Callable[[], object]) -> int:
        gc.collect()
        torch.cuda.reset_peak_memory_stats(self.device)
        work()
        torch.cuda.synchronize(self.device)
        return torch.cuda.max_memory_allocated(self.device)

    def capacity(self) -> int:
        # What the allocator has taken and not given out is free for this process, though not for the driver.
        torch.cuda.empty_cache()
        free, _ = torch.cuda.mem_get_info(self.device)
        return int(_USABLE * (free + torch.cuda.memory_allocated(self.device)))


@dataclass(frozen=True)
class MemoryModel:
    """Bytes of a step: `fixed` whatever the batch, and `each` for an example of it."""

    fixed: float
    each: float

    def __str__(self) -> str:
        return f"measured: {_gib(self.fixed)} and {_gib(self.each)} for each example"

    def of(self, batch: int) -> float:
        return self.fixed + self.each * batch

    def largest(self, capacity: float) -> int:
        """The largest batch within `capacity` bytes; 0 where not even one example is."""
        if self.of(1) > capacity:
            return 0
        return int((capacity - self.fixed) // self.each) if self.each > 0 else 2**31 - 1


def measured_model(meter: Meter, step: Callable[[int], object], batches: tuple[int, int], *, later: float = 0.0) -> MemoryModel:
    """The line through the peaks of `step` at two batches. later: bytes that only a real step comes to hold, such as the optimizer's state.

    The smaller batch runs first and once more, because a first step also pays for libraries and workspaces.
    """
    small, large = batches
    assert 0 < small < large, f"two batches, the smaller first, expected; found {batches}"
    meter.peak(lambda: step(small))
    low, high = meter.peak(lambda: step(small)), meter.peak(lambda: step(large))
    each = max(0.0, (high - low) / (large - small))
    return MemoryModel(max(0.0, low - each * small) + later, each)


def require_memory(name: str, model: MemoryModel, batch: int, capacity: int, *, parameter: str = "batch_size") -> None:
    """Raises TrainingError, with the batch that would fit, where `batch` examples at once will not. name: of the stage."""
    if model.of(batch) <= capacity:
        return
    needs = f"{name}: {batch} examples at once need about {_gib(model.of(batch))} of the GPU's memory, and {_gib(capacity)} can be had"
    fitting = model.largest(capacity)
    remedy = f"set {parameter} to {fitting} or less" if fitting else "not even one fits: choose a smaller model or shorter examples"
    raise TrainingError(f"{needs} ({model}); {remedy}, or free the GPU of other processes")


def _gib(size: float) -> str:
    return f"{size / 2**30:.2f} GiB"
