"""Exponential moving average of weights, with a half-life counted in samples so that it does not depend on the batch size."""

import copy
from collections.abc import Collection
from typing import TypeVar

import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


class Ema:
    """A slowly moving copy of the parameters and buffers of `model`.

    half_life_samples: samples after which an old value counts half; 0 copies. rampup: the half-life is at most this share of the samples seen, so
    that a young average does not drag untrained weights along; 0 for no ramp. copied: names of what is always copied, such as buffers that are
    averages themselves.
    """

    def __init__(self, model: nn.Module, *, half_life_samples: float, rampup: float = 0.0, copied: Collection[str] = ()) -> None:
        self.half_life_samples, self.rampup = half_life_samples, rampup
        self.copied = frozenset(copied)
        self.average = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, *, samples: int, seen: int = 0) -> None:
        """Move towards `model` after it has learned from `samples` more samples, `seen` having come before them."""
        half_life = min(self.half_life_samples, self.rampup * seen) if self.rampup else self.half_life_samples
        towards = 1.0 - (0.5 ** (samples / half_life) if half_life else 0.0)
        moving: list[Tensor] = []
        targets: list[Tensor] = []
        copies: list[Tensor] = []
        sources: list[Tensor] = []
        for name, tensor in model.state_dict().items():
            is_moving = tensor.is_floating_point() and name not in self.copied
            (moving if is_moving else copies).append(self.average[name])
            (targets if is_moving else sources).append(tensor)
        # One launch on a GPU for all weights, whatever their number.
        torch._foreach_lerp_(moving, targets, towards)
        if copies:
            torch._foreach_copy_(copies, sources)

    def averaged(self, model: Network) -> Network:
        """A copy of `model` with the averaged weights, in eval mode and without gradients: what samples are drawn with."""
        copied = copy.deepcopy(model)
        copied.load_state_dict(self.average)
        return copied.eval().requires_grad_(False)

    def state_dict(self) -> dict[str, Tensor]:
        return self.average

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        for name, tensor in self.average.items():
            tensor.copy_(state[name])
