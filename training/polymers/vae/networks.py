"""The networks of PolyVAE: from a molecule and its properties to a distribution over latents, and from a latent and properties to a molecule.

    tokens, properties → transformer → attention pooling → MLP → mean, log-variance of the latent
    latent, properties → MLP → one position, prepended to the tokens, each with the properties added → causal transformer → next token

Shapes: B molecules, T tokens of a molecule (<bos> … <eos>, then <pad>), S = T + 1 positions (the latent comes first), C width, E width of the
reader (tokens and properties beside one another), L latent dimensions, V vocabulary, P properties.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from training.polymers.conditions import ConditionedShape, MoleculeModelError, PropertyEncoder
from training.polymers.smiles_tokenizer import BOS, PAD
from training.polymers.transformer import Block, KeyValueCache, causal_states

_FIRST_LOG_VARIANCE = -5.0


@dataclass(frozen=True)
class PolyVAEShape(ConditionedShape):
    """What the networks are built from; saved as config.json beside the weights.

    width: of the token embeddings and of the writing transformer. property_width: of the property embedding, which the reading transformer has
    beside each token. encoder_layers, layers: blocks that read and that write. latent: dimensions.
    """

    width: int = 256
    property_width: int = 64
    latent: int = 32
    encoder_layers: int = 4
    layers: int = 4
    heads: int = 8
    dropout: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, width in (("width", self.width), ("width + property_width", self.width + self.property_width)):
            if width % self.heads:
                raise ValueError(f"{name} {width} is not a multiple of heads {self.heads}")


@dataclass(frozen=True)
class _EncoderShape:
    """The sizes of the transformer that reads."""

    width: int
    layers: int
    heads: int
    dropout: float


class Encoder(nn.Module):
    """Token embeddings [B, T, C] and property embedding [B, property_width] → mean and log-variance of the latent, [B, L] each."""

    def __init__(self, shape: PolyVAEShape) -> None:
        super().__init__()
        inner = _EncoderShape(shape.width + shape.property_width, shape.encoder_layers, shape.heads, shape.dropout)
        self.position_embedding = nn.Embedding(shape.maximum_tokens, inner.width)
        self.dropout = nn.Dropout(shape.dropout)
        self.blocks = nn.ModuleList(Block(inner, causal=False) for _ in range(inner.layers))
        self.final_norm = nn.LayerNorm(inner.width)
        # Without a bias, which no softmax notices.
        self.attention = nn.Linear(inner.width, 1, bias=False)
        self.to_latent = nn.Sequential(nn.Linear(inner.width, inner.width), nn.GELU(), nn.Linear(inner.width, shape.latent), nn.GELU())
        self.mean, self.log_variance = nn.Linear(shape.latent, shape.latent), nn.Linear(shape.latent, shape.latent)

    def forward(self, embedded: Tensor, properties: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """real: [B, T], no padding."""
        T = embedded.shape[1]
        x = torch.cat([embedded, properties.unsqueeze(1).expand(-1, T, -1).to(embedded.dtype)], dim=-1)
        x = self.dropout(x + self.position_embedding.weight[:T])
        for layer, block in enumerate(self.blocks):
            x = block(x, None, layer, real)
        x = self.final_norm(x)

        # Attention pooling: how much of each position goes into the one vector, softmax over the length.
        weights = self.attention(x).squeeze(-1).float().masked_fill(~real, float("-inf")).softmax(dim=-1)
        pooled = (weights.unsqueeze(-1).to(x.dtype) * x).sum(dim=1)
        hidden = self.to_latent(pooled)
        return self.mean(hidden).float(), self.log_variance(hidden).float()


class WritingCache(KeyValueCache):
    """With what is added to each token, [B, C]."""

    def __init__(self, shape: PolyVAEShape, added: Tensor, *, capacity: int) -> None:
        super().__init__(shape, len(added), capacity=capacity, device=added.device, dtype=added.dtype)
        self.added = added

    def keep(self, rows: Tensor) -> None:
        super().keep(rows)
        self.added = self.added[rows]


class PolyVAE(nn.Module):
    """Reads molecules into latents and writes molecules from latents, both in the light of properties (none given: zeros)."""

    def __init__(self, shape: PolyVAEShape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embedding = nn.Embedding(shape.vocabulary_size, shape.width)
        if shape.properties:
            self.property_encoder = PropertyEncoder(len(shape.properties), shape.property_width)
        self.encoder = Encoder(shape)
        self.from_latent = nn.Sequential(nn.Linear(shape.latent + shape.property_width, shape.width), nn.GELU(), nn.Linear(shape.width, shape.width))
        # Differs from the seed: the properties also stand beside each token that is read in writing, as they do beside each token of the reader.
        # From one position far behind them tokens learn late to heed them.
        self.to_each_token = nn.Linear(shape.property_width, shape.width, bias=False)
        self.position_embedding = nn.Embedding(shape.maximum_tokens + 1, shape.width)
        self.dropout = nn.Dropout(shape.dropout)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.final_norm = nn.LayerNorm(shape.width)
        self.head = nn.Linear(shape.width, shape.vocabulary_size, bias=False)
        self._initialise()

    def _initialise(self) -> None:
        # Embeddings and blocks as GPT-2's, residual projections smaller (Radford et al. 2019). What leads to the latent and away from it keeps
        # torch's larger start: through matrices of 0.02 a latent would hardly be heard, and a decoder that does not hear it learns without it.
        for name, parameter in self.named_parameters():
            if "blocks" in name and parameter.dim() < 2 and name.endswith("bias"):
                nn.init.zeros_(parameter)
            elif parameter.dim() >= 2 and ("blocks" in name or "embedding" in name or name.startswith("head")):
                depth = self.shape.encoder_layers if name.startswith("encoder") else self.shape.layers
                residual = name.endswith(("project.weight", "feed.2.weight"))
                nn.init.normal_(parameter, std=0.02 / (2 * depth) ** 0.5 if residual else 0.02)
        # Posteriors start narrow: where the noise drowns the means from the first step on, the writer learns to go without the latent.
        nn.init.constant_(self.encoder.log_variance.bias, _FIRST_LOG_VARIANCE)

    def property_embedding(self, properties: Tensor, mask: Tensor) -> Tensor:
        """[B, property_width] of standardised properties [B, P]; mask [B, P] is True where a value is given. No value at all gives zeros."""
        if not self.shape.properties:
            return self.token_embedding.weight.new_zeros(mask.shape[0], self.shape.property_width)
        return self.property_encoder(properties, mask)

    def posterior(self, tokens: Tensor, properties: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of the latent of each molecule, [B, L] float32. tokens: [B, T] int64, <bos> … <eos>, then <pad>."""
        return self.encoder(self.token_embedding(tokens), self.property_embedding(properties, mask), tokens != PAD)

    def decode(self, tokens: Tensor, latents: Tensor, properties: Tensor, mask: Tensor) -> Tensor:
        """Logits [B, T, V] of the token after each of `tokens` [B, T], which begin with <bos>; latents: [B, L]."""
        start, added = self._start(latents, properties, mask)
        return self.head(causal_states(self, self.token_embedding(tokens) + added.unsqueeze(1), start, None)[:, 1:])

    def begin(self, latents: Tensor, properties: Tensor, mask: Tensor, capacity: int) -> tuple[Tensor, WritingCache]:
        """Logits [B, V] of the first token, and a cache with room for `capacity` more. latents: [B, L].

        Raises MoleculeModelError for another width.
        """
        start, added = self._start(latents, properties, mask)
        cache = WritingCache(self.shape, added, capacity=capacity + 1)
        first = torch.full((len(latents), 1), BOS, device=start.device)
        return self.head(causal_states(self, self.token_embedding(first) + added.unsqueeze(1), start, cache)[:, -1]), cache

    def advance(self, tokens: Tensor, cache: WritingCache) -> Tensor:
        """Logits [B, V] after one more token [B] of each molecule in the cache."""
        return self.head(causal_states(self, (self.token_embedding(tokens) + cache.added).unsqueeze(1), None, cache)[:, -1])

    def _start(self, latents: Tensor, properties: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The position [B, C] that a latent becomes, and what the properties add to each token [B, C]."""
        if latents.dim() != 2 or latents.shape[1] != self.shape.latent:
            found = " x ".join(map(str, latents.shape))
            raise MoleculeModelError(f"latents are {found}, this PolyVAE expects molecules x {self.shape.latent}; take those of the model itself")
        embedding = self.property_embedding(properties, mask)
        return self.from_latent(torch.cat([latents, embedding.to(latents.dtype)], dim=-1)), self.to_each_token(embedding)
