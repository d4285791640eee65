"""A PolyVAE as training/polymers/decoding.py wants a model that writes: from latents of the prior, or from given ones."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.polymers.decoding import SamplingSettings, sample_tokens
from training.polymers.transformer import KeyValueCache
from training.polymers.vae.networks import PolyVAE, PolyVAEShape

GREEDY = SamplingSettings(temperature=0)


@dataclass(frozen=True)
class PolyVAEWriter:
    """Latents are drawn from N(0, I), each by its molecule's generator."""

    model: PolyVAE
    tokenizer: Tokenizer

    @property
    def shape(self) -> PolyVAEShape:
        return self.model.shape

    @property
    def device(self) -> torch.device:
        return self.model.token_embedding.weight.device

    def begin(self, wanted: Tensor, mask: Tensor, capacity: int, random: Sequence[torch.Generator]) -> tuple[Tensor, KeyValueCache]:
        latents = torch.stack([torch.randn(self.shape.latent, generator=one) for one in random])
        return self.model.begin(latents.to(self.device), wanted.to(self.device), mask.to(self.device), capacity)

    def advance(self, tokens: Tensor, cache: KeyValueCache) -> Tensor:
        return self.model.advance(tokens, cache)


@dataclass(frozen=True)
class LatentWriter(PolyVAEWriter):
    """Latents are those given, [B, L]: of one batch."""

    latents: Tensor

    def begin(self, wanted: Tensor, mask: Tensor, capacity: int, _: Sequence[torch.Generator]) -> tuple[Tensor, KeyValueCache]:
        return self.model.begin(self.latents.to(self.device), wanted.to(self.device), mask.to(self.device), capacity)


def write_from(model: PolyVAE, tokenizer: Tokenizer, latents: Tensor, properties: Tensor, mask: Tensor) -> Tensor:
    """The likeliest tokens [B, at most maximum_tokens - 1] after <bos> of latents [B, L], <eos> included, then <pad>."""
    return sample_tokens(LatentWriter(model, tokenizer, latents), properties, mask, GREEDY)
