"""Exponential moving average of weights, with a half-life counted in samples so that it does not depend on the batch size."""

import torch
from torch import Tensor, nn


class Ema:
    """A slowly moving copy of the parameters and buffers of `model`. half_life_samples: samples after which an old value counts half; 0 copies."""

    def __init__(self, model: nn.Module, *, half_life_samples: int) -> None:
        self.half_life_samples = half_life_samples
        self.average = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, *, samples: int) -> None:
        """Move towards `model` after it has learned from `samples` more samples."""
        towards = 1.0 - (0.5 ** (samples / self.half_life_samples) if self.half_life_samples else 0.0)
        moving: list[Tensor] = []
        targets: list[Tensor] = []
        for name, tensor in model.state_dict().items():
            if tensor.is_floating_point():
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
