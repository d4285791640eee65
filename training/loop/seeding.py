"""Generators seeded by purpose, and the state of every generator saved and put back."""

import random
from typing import Any, cast

import numpy
import torch

from stages.derived_seed import derive_seed


def generator(*parts: int | str) -> torch.Generator:
    """A private CPU generator seeded by `derive_seed(*parts)`."""
    return torch.Generator().manual_seed(derive_seed(*parts))


def numbers(drawn: torch.Tensor) -> Any:
    """What was drawn on the CPU as Python's numbers. Raises ValueError for a tensor elsewhere: reading that would wait for its device."""
    if drawn.device.type != "cpu":
        raise ValueError(f"numbers() reads what was drawn on the CPU, found a tensor on {drawn.device}; keep the computation on that device instead")
    return drawn.tolist()


def seed_everything(seed: int) -> None:
    """Seed the global generators of Python, NumPy and torch (CPU and every CUDA device), for what takes no generator: dropout, initialisation."""
    random.seed(derive_seed(seed, "python"))
    numpy.random.seed(derive_seed(seed, "numpy") % 2**32)
    torch.manual_seed(derive_seed(seed, "torch"))


def global_random_state() -> dict[str, Any]:
    """The state of every global generator as tensors and plain values, which `torch.load(weights_only=True)` accepts."""
    name, keys, position, has_gauss, cached = cast(tuple[str, numpy.ndarray, int, int, float], numpy.random.get_state(legacy=True))
    version, internal, gauss = random.getstate()
    return {
        "python": [version, torch.tensor(internal, dtype=torch.int64), gauss],
        "numpy": [name, torch.from_numpy(keys.astype(numpy.int64)), int(position), int(has_gauss), float(cached)],
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_global_random_state(state: dict[str, Any]) -> None:
    """Put back what `global_random_state` gave. CUDA states are skipped where there are not as many devices as there were."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal.tolist()), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    numpy.random.set_state((name, keys.numpy().astype(numpy.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_available() and torch.cuda.device_count() == len(state["cuda"]):
        torch.cuda.set_rng_state_all(state["cuda"])
