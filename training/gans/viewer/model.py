"""What the page needs of a model that is looked at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy

from training.gans.viewer.controls import Control


@dataclass(frozen=True)
class ViewedLayer:
    """One layer whose activations can be looked at. side: in pixels, margins included."""

    name: str
    channels: int
    side: int


class ViewedModel(Protocol):
    """A model that draws one picture for one setting of its controls. Asked by one thread at a time, always the same.

    name: for the page's title and the names of saved pictures. facts: what it is, in a few words each.

    Some names of controls mean something to the page: it walks from `seed` to `toward` by `blend` (in [0, 1]), and dragging the picture sets `x` and
    `y` (right and down, in sides of the picture) and `turn` (degrees anticlockwise). A model without them does without.
    """

    name: str
    facts: Sequence[str]
    controls: Sequence[Control]
    layers: Sequence[ViewedLayer]

    def draw(self, settings: Mapping[str, Any], /) -> numpy.ndarray:
        """uint8 [H, W, C], C = 1 or 3. settings: what `controls.read_settings` gives."""
        ...

    def activations(self, settings: Mapping[str, Any], layer: int, /) -> numpy.ndarray:
        """float32 [C, H, W] of `layers[layer]`."""
        ...
