"""A PolyVAE as training/polymers/decoding.py wants a model that writes: from latents of the prior, or from given ones."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from training.polymers.decoding import ModelWriter, SamplingSettings, sample_tokens
from training.polymers.transformer import KeyValueCache
from training.polymers.vae.networks import PolyVAE

if TYPE_CHECKING:
    from tokenizers import Tokenizer

GREEDY = SamplingSettings(temperature=0)


@dataclass(frozen=True)
class PolyVAEWriter(ModelWriter):
    """Latents are drawn from N(0, I), each by its molecule's generator."""

    def latents(self, wanted: Tensor, mask: Tensor, random: Sequence[torch.Generator]) -> Tensor:
        """[B, L] for the wishes and random numbers of B molecules."""
        del wanted, mask
        return self.noise(random)

    def begin(self, wanted: Tensor, mask: Tensor, capacity: int, random: Sequence[torch.Generator]) -> tuple[Tensor, KeyValueCache]:
        wanted, mask = wanted.to(self.device), mask.to(self.device)
        return self.model.begin(self.latents(wanted, mask, random).to(self.device), wanted, mask, capacity)

    def noise(self, random: Sequence[torch.Generator]) -> Tensor:
        """[B, L] standard normal; each molecule has noise of its own, so that it does not depend on those beside it."""
        return torch.stack([torch.randn(self.shape.latent, generator=one) for one in random]).to(self.device)


@dataclass(frozen=True)
class LatentWriter(PolyVAEWriter):
    """Latents are those given, [B, L]: of one batch."""

    given: Tensor

    def latents(self, wanted: Tensor, mask: Tensor, random: Sequence[torch.Generator]) -> Tensor:
        del wanted, mask, random
        return self.given


def write_from(model: PolyVAE, tokenizer: "Tokenizer", latents: Tensor, properties: Tensor, mask: Tensor) -> Tensor:
    """The likeliest tokens [B, at most maximum_tokens - 1] after <bos> of latents [B, L], <eos> included, then <pad>."""
    return sample_tokens(LatentWriter(model, tokenizer, latents), properties, mask, GREEDY)
