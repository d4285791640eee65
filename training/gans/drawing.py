"""Let a generator draw: for latent vectors or seeds, batch by batch, as uint8."""

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy
import torch
from torch import Tensor, nn

from training.gans.grids import to_uint8
from training.gans.seed_ranges import latents


class DrawingError(Exception):
    """A model cannot draw, or a film cannot show, what was asked for."""


class PictureNetwork(Protocol):
    """z [B, z_dim], and labels [B, L] or None, to pictures [B, C, R, R] in about [-1, 1]. A module on one device.

    truncation_psi: how far from the mean picture; 1 is the whole distribution.
    """

    def __call__(self, z: Tensor, c: Tensor | None, /, *, truncation_psi: float) -> Tensor: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...


@torch.no_grad()
def draw_batches(network: PictureNetwork, z: Tensor, labels: Tensor | None, *, psi: float, batch_size: int) -> Iterator[Tensor]:
    """uint8 [b, C, R, R] for up to `batch_size` rows of z at a time, on the network's device."""
    device = next(network.parameters()).device
    for start in range(0, len(z), batch_size):
        rows = slice(start, start + batch_size)
        yield to_uint8(network(z[rows].to(device), None if labels is None else labels[rows].to(device), truncation_psi=psi))


def draw_seeds(
    network: PictureNetwork, seeds: Sequence[int], *, z_dim: int, label: Tensor | None, psi: float, batch_size: int
) -> Iterator[tuple[int, numpy.ndarray]]:
    """(seed, uint8 [C, R, R]) for each seed, in order. label: [1, L], of all of them."""
    for start in range(0, len(seeds), batch_size):
        some = seeds[start : start + batch_size]
        labels = None if label is None else label.expand(len(some), -1)
        (pictures,) = draw_batches(network, latents(some, z_dim), labels, psi=psi, batch_size=len(some))
        yield from zip(some, pictures.cpu().numpy(), strict=True)


def class_label(label_dim: int, class_index: int | None) -> Tensor | None:
    """The one-hot label [1, label_dim] of a class; None for a model without labels. Raises DrawingError when the class does not fit the model."""
    if not label_dim:
        if class_index is not None:
            raise DrawingError(f"class_index is {class_index}, but this model was trained without labels; leave it out, or train with cond: true")
        return None
    if class_index is None or not 0 <= class_index < label_dim:
        raise DrawingError(f"this model has the classes 0 to {label_dim - 1}; set class_index to one of them (found {class_index})")
    return torch.nn.functional.one_hot(torch.tensor([class_index]), label_dim).float()
