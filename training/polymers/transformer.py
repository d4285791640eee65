"""The transformer that writes molecules in every model but PolyTAO: blocks in GPT-2's order, and the cache that makes sampling linear.

Shapes: B molecules, S positions, C width. A layer sees earlier positions only, unless it was made to read whole molecules (`causal=False`).
"""

from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional


class TransformerShape(Protocol):
    """The sizes that a stack of blocks is built from; dropout: probability."""

    @property
    def width(self) -> int: ...
    @property
    def layers(self) -> int: ...
    @property
    def heads(self) -> int: ...
    @property
    def dropout(self) -> float: ...


class KeyValueCache:
    """Keys and values of every layer, allocated once: [B, heads, capacity, C / heads] each. `length` positions are filled.

    `fix` makes of `length` a tensor on the device: from then on each token has the same shapes at the same addresses and the host is asked nothing,
    so that a CUDA graph can hold the step. All positions are then looked over, and the empty ones masked.
    """

    def __init__(self, shape: TransformerShape, batch: int, *, capacity: int, device: torch.device, dtype: torch.dtype) -> None:
        size = (shape.layers, batch, shape.heads, capacity, shape.width // shape.heads)
        self.keys = torch.zeros(size, device=device, dtype=dtype)
        self.values = torch.zeros(size, device=device, dtype=dtype)
        self.length: int | Tensor = 0

    def fix(self) -> None:
        """Before the next token; there must be at least one."""
        self.length = torch.tensor([self.length], device=self.keys.device)
        self.numbers = torch.arange(self.keys.shape[3], device=self.keys.device)

    def place(self, count: int) -> tuple[slice | Tensor, Tensor | None]:
        """Which positions the next `count` have; which of those that `extend` gives are real, [1, capacity], None for all."""
        if isinstance(self.length, Tensor):
            return self.length, (self.numbers <= self.length)[None]
        return slice(self.length, self.length + count), None

    def extend(self, layer: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Write the new positions of one layer behind the filled ones; returns all positions so far. `length` moves after the last layer."""
        if isinstance(self.length, Tensor):
            return self.keys[layer].index_copy_(2, self.length, keys), self.values[layer].index_copy_(2, self.length, values)
        end = self.length + keys.shape[2]
        self.keys[layer, :, :, self.length : end] = keys
        self.values[layer, :, :, self.length : end] = values
        return self.keys[layer, :, :, :end], self.values[layer, :, :, :end]

    def keep(self, rows: Tensor) -> None:
        """Forget all molecules but `rows` [K] (indices)."""
        self.keys, self.values = self.keys[:, rows], self.values[:, rows]


class Attention(nn.Module):
    """Multi-head self-attention, which looks back only where it is causal. Source: Vaswani et al. 2017."""

    def __init__(self, shape: TransformerShape, *, causal: bool) -> None:
        super().__init__()
        self.heads, self.dropout, self.causal = shape.heads, shape.dropout, causal
        self.query_key_value = nn.Linear(shape.width, 3 * shape.width)
        self.project = nn.Linear(shape.width, shape.width)

    def forward(self, x: Tensor, cache: KeyValueCache | None, layer: int, real: Tensor | None = None) -> Tensor:
        B, S, C = x.shape
        q, k, v = self.query_key_value(x).view(B, S, 3, self.heads, C // self.heads).permute(2, 0, 3, 1, 4)
        # A single new position may look at everything before it; several at once are causal among themselves and only start an empty cache.
        # Chosen by a branch, as the compiler wants it where S can be any number.
        causal = False if S == 1 else self.causal
        if cache is not None:
            assert S == 1 or cache.length == 0, f"{S} positions cannot be appended to {cache.length}; feed one at a time"
            k, v = cache.extend(layer, k, v)
        mask = real[:, None, None, :] if real is not None else None
        dropout = self.dropout if self.training else 0.0
        mixed = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, dropout_p=dropout)
        return self.project(mixed.transpose(1, 2).reshape(B, S, C))


class Block(nn.Module):
    """Pre-normalised attention and feed-forward, each added to its input. Source: Radford et al. 2019.

    causal: look back only. A block that is not reads whole molecules without a cache, and is told which positions are `real` [B, S] (no padding);
    a causal one needs not be, because padding comes last.
    """

    def __init__(self, shape: TransformerShape, *, causal: bool = True) -> None:
        super().__init__()
        self.attention_norm, self.attention = nn.LayerNorm(shape.width), Attention(shape, causal=causal)
        self.feed_norm = nn.LayerNorm(shape.width)
        self.feed = nn.Sequential(nn.Linear(shape.width, 4 * shape.width), nn.GELU(), nn.Linear(4 * shape.width, shape.width))
        self.dropout = nn.Dropout(shape.dropout)

    def forward(self, x: Tensor, cache: KeyValueCache | None, layer: int, real: Tensor | None = None) -> Tensor:
        x = x + self.dropout(self.attention(self.attention_norm(x), cache, layer, real))
        return x + self.dropout(self.feed(self.feed_norm(x)))


def causal_states(model: Any, x: Tensor, prefix: Tensor | None, cache: KeyValueCache | None) -> Tensor:
    """Hidden states after the last norm, [B, S, C], of embedded tokens x [B, T, C]; position s has seen the prefix and tokens up to s - 1.

    model: has position_embedding, dropout, blocks and final_norm. prefix: [B, C], comes first; None appends tokens to a cache that has it already.
    """
    if prefix is not None:
        x = torch.cat([prefix.unsqueeze(1).to(x.dtype), x], dim=1)
    positions, real = cache.place(x.shape[1]) if cache is not None else (slice(x.shape[1]), None)
    x = model.dropout(x + model.position_embedding.weight[positions])
    for layer, block in enumerate(model.blocks):
        x = block(x, cache, layer, real)
    if cache is not None:
        cache.length += x.shape[1]
    states: Tensor = model.final_norm(x)
    return states
