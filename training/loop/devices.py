"""Where a training runs: one CPU or GPU process, or several started by torchrun. The choice is never part of what is trained.

Several processes hold equal weights, each computes its share of every batch, and gradients are summed; with sums divided by counts over
the whole batch, the result is that of one process up to rounding.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from stages.memory import peak_memory_mib

Precision = Literal["auto", "float32", "bfloat16"]
# What a process takes by itself for its kernels and libraries is below this, on every generation.
_OWN_CONTEXT_BYTES = 2**30


@dataclass(frozen=True)
class Devices:
    """device: of this process. rank: 0 … world_size - 1; rank 0 writes files and talks."""

    device: torch.device
    rank: int = 0
    world_size: int = 1

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def sum_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Add up the gradients of all processes, in one message."""
        if self.world_size == 1:
            return
        gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
        flat = torch.cat([gradient.flatten() for gradient in gradients])
        torch.distributed.all_reduce(flat)
        for gradient, part in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
            gradient.copy_(part.view_as(gradient))

    def sum(self, values: Tensor) -> Tensor:
        """The sum of `values` over all processes."""
        if self.world_size > 1:
            torch.distributed.all_reduce(values)
        return values

    def any(self, flag: bool) -> bool:
        """Whether `flag` is set in any process, so that all of them take the same way. A message between computers: no device is waited for."""
        if self.world_size == 1:
            return flag
        return bool(self.sum(torch.tensor([float(flag)])).item())

    def peak_memory_mib(self) -> float:
        """The most memory this process has held: of its GPU in tensors, or without one, of the computer."""
        if self.device.type == "cuda":
            return torch.cuda.max_memory_allocated(self.device) / 2**20
        return peak_memory_mib()

    def wait(self) -> None:
        """Wait until every process has come here."""
        if self.world_size > 1:
            torch.distributed.barrier()

    def autocast(self, precision: Precision) -> contextlib.AbstractContextManager:
        """bfloat16 where asked for; "auto" means on a GPU only, because a CPU is no faster with it."""
        wanted = precision == "bfloat16" or (precision == "auto" and self.device.type == "cuda")
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=wanted)


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """`tensor` on `device`, which is not waited for: a GPU copies out of pinned memory while the computer goes on."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)


def neighbours(device: torch.device) -> str | None:
    """What else is on the GPU of this process, in words; None where nothing much is."""
    if device.type != "cuda":
        return None
    free, total = torch.cuda.mem_get_info(device)
    others = total - free - torch.cuda.memory_reserved(device)
    if others < _OWN_CONTEXT_BYTES:
        return None
    return (
        f"WARNING: other processes hold about {others / 2**30:.1f} of the {total / 2**30:.1f} GiB of {device}, {free / 2**30:.1f} GiB are free; two "
        "trainings on one GPU slow each other down and may run out of memory: CUDA_VISIBLE_DEVICES chooses another"
    )


@contextlib.contextmanager
def open_devices() -> Iterator[Devices]:
    """The device of this process, from the environment: FIGMENT_THREADS, CUDA_VISIBLE_DEVICES and, under torchrun, WORLD_SIZE and RANK.

    AMD's GPUs are cuda devices to torch. Of Apple's no use is made, because sums are in float64, which they have not: there it is the CPU.
    """
    if threads := os.environ.get("FIGMENT_THREADS"):
        torch.set_num_threads(int(threads))
    # Under torchrun each process has one GPU, the one with its number on this machine.
    world_size, rank = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    if torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
        torch.cuda.set_device(device)
        torch.set_float32_matmul_precision("high")
    else:
        device = torch.device("cpu")
    if world_size == 1:
        yield Devices(device)
        return
    torch.distributed.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo")
    try:
        yield Devices(device, rank, world_size)
    finally:
        torch.distributed.destroy_process_group()
