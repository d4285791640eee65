"""The PolyGPT transformer, its property prefix, its auxiliary heads and the property predictor that steers it.

Shapes: B molecules, T tokens of a molecule (<bos> … <eos>), S = T + 1 positions (the property prefix comes first), C width, V vocabulary,
P properties.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.polymers.conditions import ConditionedShape, PropertyEncoder
from training.polymers.transformer import Block, KeyValueCache, causal_states


@dataclass(frozen=True)
class PolyGPTShape(ConditionedShape):
    """What the networks are built from; saved as config.json beside the weights. predictor_width: of the property predictor."""

    width: int = 256
    layers: int = 8
    heads: int = 8
    dropout: float = 0.1
    predictor_width: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is not a multiple of heads {self.heads}")


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
            self.property_encoder = PropertyEncoder(count, shape.width)
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
        return self.property_encoder(properties, mask)

    def forward(self, tokens: Tensor, prefix: Tensor | None, cache: KeyValueCache | None = None) -> Tensor:
        """Hidden states after the last norm, [B, S, C]; position s has seen the prefix and tokens up to s - 1.

        tokens: [B, T] int64. prefix: [B, C] from `property_embedding`, or None to append tokens to a cache that has it already.
        """
        return causal_states(self, self.token_embedding(tokens), prefix, cache)

    def tell(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """What the auxiliary heads tell of whole molecules [B, T], with no property given: [B, P] in standard deviations. mask [B, T]: no padding."""
        nothing = torch.zeros(len(tokens), len(self.shape.properties), device=tokens.device)
        hidden = self(tokens, self.property_embedding(nothing, nothing.bool()))
        # Positions 0 and 1 are the prefix and <bos>; from 2 on each has read one more token of the molecule, the last <eos>.
        return self.auxiliary_heads(hidden[:, 2:], mask[:, 1:])

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits of the next token, [..., V]; the head is the token embedding (tied)."""
        return functional.linear(hidden, self.token_embedding.weight)
