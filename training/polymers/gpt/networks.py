"""The PolyGPT transformer, its property prefix, its auxiliary heads and the property predictor that steers it.

Shapes: B molecules, T tokens of a molecule (<bos> … <eos>), S = T + 1 positions (the property prefix comes first), C width, V vocabulary,
P properties.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional

from stages.near_misses import did_you_mean


class PolyGPTError(Exception):
    """A folder holds no PolyGPT, or the model was asked for something it was not trained for."""


@dataclass(frozen=True)
class PolyGPTShape:
    """What the networks are built from; saved as config.json beside the weights.

    maximum_tokens: longest molecule, <bos> and <eos> included. properties: names of the conditions, in input order.
    property_mean, property_std: of the training split, in the units of the dataset; inputs are (value - mean) / std.
    """

    vocabulary_size: int
    maximum_tokens: int = 128
    width: int = 256
    layers: int = 8
    heads: int = 8
    dropout: float = 0.1
    predictor_width: int = 64
    properties: tuple[str, ...] = ()
    property_mean: tuple[float, ...] = ()
    property_std: tuple[float, ...] = ()
    property_units: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")
        if not len(self.properties) == len(self.property_mean) == len(self.property_std):
            raise ValueError("properties, property_mean and property_std must have the same length")


class KeyValueCache:
    """Keys and values of every layer, allocated once: [B, heads, capacity, C / heads] each. `length` positions are filled."""

    def __init__(self, shape: PolyGPTShape, batch: int, *, capacity: int, device: torch.device, dtype: torch.dtype) -> None:
        size = (shape.layers, batch, shape.heads, capacity, shape.width // shape.heads)
        self.keys = torch.zeros(size, device=device, dtype=dtype)
        self.values = torch.zeros(size, device=device, dtype=dtype)
        self.length = 0

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write the new positions of one layer behind the filled ones; returns all positions so far. `length` moves after the last layer."""
        end = self.length + keys.shape[2]
        self.keys[layer, :, :, self.length : end] = keys
        self.values[layer, :, :, self.length : end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def keep(self, rows: Tensor) -> None:
        """Forget all molecules but `rows` [K] (indices)."""
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]


class CausalAttention(nn.Module):
    """Multi-head self-attention that looks back only. Source: Vaswani et al. 2017."""

    def __init__(self, shape: PolyGPTShape) -> None:
        super().__init__()
        self.heads, self.dropout = shape.heads, shape.dropout
        self.query_key_value = nn.Linear(shape.width, 3 * shape.width)
        self.project = nn.Linear(shape.width, shape.width)

    def forward(self, x: Tensor, cache: KeyValueCache | None, layer: int) -> Tensor:
        B, S, C = x.shape
        q, k, v = self.query_key_value(x).view(B, S, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        # A single new position may look at everything before it; several at once are causal among themselves and only start an empty cache.
        causal = S > 1
        if cache is not None:
            assert S == 1 or cache.length == 0, f"{S} positions cannot be appended to {cache.length}; feed one at a time"
            k, v = cache.extend(layer, k, v)
        mixed = functional.scaled_dot_product_attention(q, k, v, is_causal=causal, dropout_p=self.dropout if self.training else 0.0)
        return self.project(mixed.transpose(1, 2).reshape(B, S, C))


class Block(nn.Module):
    """Pre-normalised attention and feed-forward, each added to its input. Source: Radford et al. 2019."""

    def __init__(self, shape: PolyGPTShape) -> None:
        super().__init__()
        self.attention_norm, self.attention = nn.LayerNorm(shape.width), CausalAttention(shape)
        self.feed_norm = nn.LayerNorm(shape.width)
        self.feed = nn.Sequential(nn.Linear(shape.width, 4 * shape.width), nn.GELU(), nn.Linear(4 * shape.width, shape.width))
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, x: Tensor, cache: KeyValueCache | None, layer: int) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x), cache, layer))
        return x + self.dropout(self.feed(self.feed_norm(x)))


class PropertyPredictor(nn.Module):
    """Properties of a sequence, in standard deviations: token ids [B, T] or distributions over tokens [B, T, V], and mask [B, T] → [B, P].

    A distribution is read as the expected embedding, which is differentiable with respect to probabilities; ids are the one-hot case.
    Positions are summed, not averaged: weight, surface and counts add up over atoms.
    """

    def __init__(self, shape: PolyGPTShape) -> None:
        super().__init__()
        width = shape.predictor_width
        self.embedding = nn.Embedding(shape.vocabulary_size, width)
        self.convolutions = nn.ModuleList(nn.Conv1d(width, width, kernel_size=5, padding=2) for _ in range(2))
        self.head = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, len(shape.properties)))
        self.scale = shape.maximum_tokens**-0.5

    def forward(self, sequence: Tensor, mask: Tensor) -> Tensor:
        keep = mask.unsqueeze(-1).to(self.embedding.weight.dtype)
        h = (sequence @ self.embedding.weight if sequence.is_floating_point() else self.embedding(sequence)) * keep
        for convolution in self.convolutions:
            h = (h + functional.gelu(convolution(h.transpose(1, 2)).transpose(1, 2))) * keep
        return self.head(h.sum(dim=1) * self.scale)


class AuxiliaryHeads(nn.Module):
    """What a molecule has, in standard deviations, read off the hidden states of its tokens: [B, T, C] and mask [B, T] → [B, P].

    Each state adds its part: weight, surface and counts add up over atoms, while one state after a norm cannot hold a sum that grows with length.
    """

    def __init__(self, shape: PolyGPTShape) -> None:
        super().__init__()
        self.part = nn.Linear(shape.width, shape.predictor_width)
        self.head = nn.Linear(shape.predictor_width, len(shape.properties))
        self.scale = shape.maximum_tokens**-0.5

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        parts = functional.gelu(self.part(hidden)) * mask.unsqueeze(-1).to(hidden.dtype)
        return self.head(parts.sum(dim=1) * self.scale)


class PolyGPT(nn.Module):
    """Next-token logits for SMILES, after one prefix position that holds the wanted properties (zeros: none wanted)."""

    def __init__(self, shape: PolyGPTShape) -> None:
        super().__init__()
        self.shape = shape
        count = len(shape.properties)
        self.token_embedding = nn.Embedding(shape.vocabulary_size, shape.width)
        self.position_embedding = nn.Embedding(shape.maximum_tokens + 1, shape.width)
        self.dropout = nn.Dropout(shape.dropout)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.final_norm = nn.LayerNorm(shape.width)
        if count:
            self.property_encoder = nn.Sequential(nn.Linear(2 * count, shape.width), nn.GELU(), nn.Linear(shape.width, shape.width))
            self.auxiliary_heads = AuxiliaryHeads(shape)
            self.predictor = PropertyPredictor(shape)
        self._initialise()

    def _initialise(self) -> None:
        # Residual projections start smaller by the square root of their number (Radford et al. 2019).
        for name, parameter in self.named_parameters():
            if name.startswith(("predictor", "auxiliary_heads")):
                continue
            if parameter.dim() < 2:
                if name.endswith("bias"):
                    nn.init.zeros_(parameter)
                continue
            residual = name.endswith(("project.weight", "feed.2.weight"))
            nn.init.normal_(parameter, std=0.02 / (2 * self.shape.layers) ** 0.5 if residual else 0.02)

    def property_embedding(self, properties: Tensor, mask: Tensor) -> Tensor:
        """Prefix embedding [B, C] of standardised properties [B, P]; mask [B, P] is True where a value is given. No value at all gives zeros."""
        if not self.shape.properties:
            return self.token_embedding.weight.new_zeros(mask.shape[0], self.shape.width)
        given = mask.to(properties.dtype)
        # A missing value may be NaN, and NaN * 0 is NaN.
        filled = torch.where(mask, properties, torch.zeros_like(properties))
        encoded = self.property_encoder(torch.cat([filled, given], dim=-1))
        return encoded * given.amax(dim=-1, keepdim=True)

    def forward(self, tokens: Tensor, prefix: Tensor | None, cache: KeyValueCache | None = None) -> Tensor:
        """Hidden states after the last norm, [B, S, C]; position s has seen the prefix and tokens up to s - 1.

        tokens: [B, T] int64. prefix: [B, C] from `property_embedding`, or None to append tokens to a cache that has it already.
        """
        x = self.token_embedding(tokens)
        if prefix is not None:
            x = torch.cat([prefix.unsqueeze(1).to(x.dtype), x], dim=1)
        start = cache.length if cache is not None else 0
        x = self.dropout(x + self.position_embedding.weight[start : start + x.shape[1]])
        for layer, block in enumerate(self.blocks):
            x = block(x, cache, layer)
        if cache is not None:
            cache.length += x.shape[1]
        return self.final_norm(x)

    def tell(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """What the auxiliary heads tell of whole molecules [B, T], with no property given: [B, P] in standard deviations. mask [B, T]: no padding."""
        nothing = torch.zeros(len(tokens), len(self.shape.properties), device=tokens.device)
        hidden = self(tokens, self.property_embedding(nothing, nothing.bool()))
        # Positions 0 and 1 are the prefix and <bos>; from 2 on each has read one more token of the molecule, the last <eos>.
        return self.auxiliary_heads(hidden[:, 2:], mask[:, 1:])

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits of the next token, [..., V]; the head is the token embedding (tied)."""
        return functional.linear(hidden, self.token_embedding.weight)

    def standardise(self, wanted: Mapping[str, float]) -> tuple[Tensor, Tensor]:
        """Properties by name, in the units of the dataset, as (standardised values [P], mask [P]). Raises PolyGPTError for an unknown name."""
        unknown = next((name for name in wanted if name not in self.shape.properties), None)
        if unknown is not None:
            hint = did_you_mean(unknown, self.shape.properties)
            raise PolyGPTError(f"no property '{unknown}'{hint}; this model was trained with {', '.join(self.shape.properties) or 'none'}")
        mean, std = torch.tensor(self.shape.property_mean), torch.tensor(self.shape.property_std)
        values = torch.tensor([float(wanted.get(name, float("nan"))) for name in self.shape.properties])
        return (values - mean) / std, ~values.isnan()
