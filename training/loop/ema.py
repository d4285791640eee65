"""Exponential moving average of weights, with a half-life counted in samples so that it does not depend on the batch size."""

from collections.abc import Collection

import torch
from torch import Tensor, nn


class Ema:
    """A slowly moving copy of the parameters and buffers of `model`.

    half_life_samples: samples after which an old value counts half; 0 copies. copied: names of what is always copied, such as buffers that are
    averages themselves.
    """

    def __init__(self, model: nn.Module, *, half_life_samples: float, copied: Collection[str] = ()) -> None:
        self.half_life_samples = half_life_samples
        self.copied = frozenset(copied)
        self.average = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, *, samples: int, most_half_life: float | None = None) -> None:
        """Move towards `model` after it has learned from `samples` more samples. most_half_life: a shorter half-life for now, as in a ramp."""
        half_life = self.half_life_samples if most_half_life is None else min(self.half_life_samples, most_half_life)
        towards = 1.0 - (0.5 ** (samples / half_life) if half_life else 0.0)
        moving: list[Tensor] = []
        targets: list[Tensor] = []
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point() and name not in self.copied:
                moving.append(self.average[name])
                targets.append(tensor)
            else:
                self.average[name].copy_(tensor)
        torch._foreach_lerp_(moving, targets, towards)

    def state_dict(self) -> dict[str, Tensor]:
        return self.average

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, tensor in self.average.items():
            tensor.copy_(state[name])
