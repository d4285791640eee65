"""Seeds written as people write them: "0-50000" or "0,1,4-6", both ends included; and the latent vector that belongs to a seed."""

import re
from collections.abc import Sequence

import numpy
import torch
from torch import Tensor

_PART = re.compile(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?")
# RandomState takes 32 bits.
LARGEST_SEED = 2**32 - 1


class SeedRangeError(ValueError):
    """A list of seeds cannot be read."""


def parse_seeds(text: str) -> list[int]:
    """The seeds named by `text`, each once, rising. Raises SeedRangeError naming the part that cannot be read."""
    seeds: set[int] = set()
    for part in text.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise SeedRangeError(f"seeds must look like 0-50000 or 0,1,4-6, found {part.strip()!r} in {text!r}")
        first = int(match[1])
        last = first if match[2] is None else int(match[2])
        if last < first:
            raise SeedRangeError(f"seeds {part.strip()!r} runs backwards; write {last}-{first}")
        if last > LARGEST_SEED:
            raise SeedRangeError(f"seeds {part.strip()!r}: the largest seed is {LARGEST_SEED}")
        seeds.update(range(first, last + 1))
    return sorted(seeds)


def latents(seeds: Sequence[int], z_dim: int) -> Tensor:
    """Z [B, z_dim] float32: for each seed the one NumPy's RandomState gives, as StyleGAN users expect, so a seed is one picture at any batch size."""
    rows = [numpy.random.RandomState(seed).randn(1, z_dim) for seed in seeds]
    return torch.from_numpy(numpy.concatenate(rows)).float() if rows else torch.empty(0, z_dim)
