"""What every model of molecules that writes on request shares: which properties it knows, in which units, and how a wish becomes an input.

Shapes: B molecules, P properties, C width.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from stages.near_misses import did_you_mean


class MoleculeModelError(Exception):
    """A folder holds no such model of molecules, or the model was asked for something it was not trained for."""


@dataclass(frozen=True)
class ConditionedShape:
    """The part of a model's config.json that says what can be asked of it.

    maximum_tokens: longest molecule, <bos> and <eos> included. properties: names of the conditions, in input order.
    property_mean, property_std: of the training split, in the units of the dataset; inputs are (value - mean) / std.
    """

    vocabulary_size: int
    maximum_tokens: int = 128
    properties: tuple[str, ...] = ()
    property_mean: tuple[float, ...] = ()
    property_std: tuple[float, ...] = ()
    property_units: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not len(self.properties) == len(self.property_mean) == len(self.property_std):
            raise ValueError("properties, property_mean and property_std must have the same length")

    def standardise(self, wanted: Mapping[str, float]) -> tuple[Tensor, Tensor]:
        """Properties by name, in the units of the dataset, as (standardised values [P], mask [P]). Raises MoleculeModelError for an unknown name."""
        check_known(wanted, self.properties)
        mean, std = torch.tensor(self.property_mean), torch.tensor(self.property_std)
        values = torch.tensor([float(wanted.get(name, float("nan"))) for name in self.properties])
        return (values - mean) / std, ~values.isnan()


def check_known(wanted: Mapping[str, float], properties: tuple[str, ...]) -> None:
    """Raises MoleculeModelError for a name that is not among `properties`, with the nearest one and all that there are."""
    unknown = next((name for name in wanted if name not in properties), None)
    if unknown is not None:
        hint = did_you_mean(unknown, properties)
        raise MoleculeModelError(f"no property '{unknown}'{hint}; this model was trained with {', '.join(properties) or 'none'}")


class PropertyEncoder(nn.Sequential):
    """Standardised properties [B, P] and mask [B, P] (True where a value is given; it may be NaN elsewhere) to one embedding [B, C].

    No value at all gives zeros, which is how a model is asked for nothing.
    """

    def __init__(self, properties: int, width: int) -> None:
        super().__init__(nn.Linear(2 * properties, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, properties: Tensor, mask: Tensor) -> Tensor:  # type: ignore[override]
        given = mask.to(properties.dtype)
        # A missing value may be NaN, and NaN * 0 is NaN.
        filled = torch.where(mask, properties, torch.zeros_like(properties))
        return super().forward(torch.cat([filled, given], dim=-1)) * given.amax(dim=-1, keepdim=True)
