"""The ensemble of the predictor: E networks that never see each other, side by side in one batched matrix product a layer.

Shapes: E members, B molecules, P properties. Everything is in standard deviations of the training molecules.
"""

import itertools
import math
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, relu, softplus

# Where log variances end, softly: standard deviations from 3 % to 12 times that of the data.
_LEAST, _GREATEST = -7.0, 5.0
# Descriptors further out than this many standard deviations are shown as this far.
_FURTHEST = 5.0
_AT_ONCE = 1024


@dataclass(frozen=True)
class PredictorShape:
    """What config.json says of a predictor.

    property_mean, property_std, property_units: of the training molecules, in the units of the dataset. calibration: factor of the predicted standard
    deviation by property. described_by: names of the descriptors, with their mean and deviation. elements: seen in training. similarity_at_least,
    distance_at_most: the edge of the domain; see domain.py.
    """

    properties: tuple[str, ...]
    property_mean: tuple[float, ...]
    property_std: tuple[float, ...]
    calibration: tuple[float, ...]
    radius: int
    bits: int
    described_by: tuple[str, ...]
    descriptor_mean: tuple[float, ...]
    descriptor_std: tuple[float, ...]
    members: int
    width: int
    layers: int
    elements: tuple[str, ...] = ()
    similarity_at_least: float = 0.0
    distance_at_most: float = 0.0
    property_units: dict[str, str] = field(default_factory=dict)


class MemberLinear(nn.Module):
    """[E, B, in] to [E, B, out], a matrix of its own for each member; as torch's Linear at the start."""

    def __init__(self, members: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(members, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(members, 1, outputs).uniform_(-bound, bound))

    def forward(self, values: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, values, self.weight)


class PropertyEnsemble(nn.Module):
    """Counts [E or 1, B, bits] and standardised descriptors [E or 1, B, D] to means and log variances, each [E, B, P]. With 1, all see the same.

    seen: [bits], 1 where a training molecule has such an environment; what an untrained weight would say of others is not asked.
    """

    seen: Tensor

    def __init__(self, shape: PredictorShape, *, dropout: float = 0.0, seen: Tensor | None = None) -> None:
        super().__init__()
        self.shape, self.dropout = shape, dropout
        self.register_buffer("seen", torch.ones(shape.bits) if seen is None else seen)
        widths = [shape.bits + len(shape.described_by), *[shape.width] * shape.layers, 2 * len(shape.properties)]
        self.layers = nn.ModuleList([MemberLinear(shape.members, *pair) for pair in itertools.pairwise(widths)])

    def forward(self, counts: Tensor, descriptors: Tensor) -> tuple[Tensor, Tensor]:
        # A tenth CH2 tells less than the second: the logarithm.
        environments = torch.log1p(counts.float()) * self.seen
        values = torch.cat([environments, descriptors.clamp(-_FURTHEST, _FURTHEST)], dim=-1).expand(self.shape.members, -1, -1)
        for layer in self.layers[:-1]:
            values = dropout(relu(layer(values)), self.dropout, self.training)
        mean, raw = self.layers[-1](values).chunk(2, dim=-1)
        return mean, _LEAST + softplus(_GREATEST - softplus(_GREATEST - raw) - _LEAST)

    @torch.no_grad()
    def told(self, counts: Tensor, descriptors: Tensor) -> tuple[Tensor, Tensor]:
        """(mean, variance), each [N, P], of the mixture of all members: Lakshminarayanan et al. 2017, section 2.4. From [N, bits] and [N, D]."""
        self.eval()
        pairs = [self(*part) for part in zip(counts[None].split(_AT_ONCE, 1), descriptors[None].split(_AT_ONCE, 1), strict=True)]
        mean, log_variance = (torch.cat(parts, dim=1) for parts in zip(*pairs, strict=True))
        centre = mean.mean(dim=0)
        return centre, log_variance.exp().mean(dim=0) + (mean - centre).square().mean(dim=0)
