"""Muon (Jordan 2024), whose step a flag on the device can leave out, as fused AdamW's can."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


class Muon(torch.optim.Muon):
    """Torch's, and while it has `found_inf` (float, 0-d, on the device): where that is 1, a step changes neither weights nor momenta.

    Nothing is read. It costs a copy of the weights for the time of the step.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        found_inf: Tensor | None = getattr(self, "found_inf", None)
        if found_inf is None:
            return super().step(closure)
        is_bad = found_inf.bool()
        weights = [weight for group in self.param_groups for weight in group["params"] if weight.grad is not None]
        # An average that moves towards itself stays where it is, to the bit; one that is yet to come begins at zero.
        for weight in weights:
            momentum = self.state[weight].get("momentum_buffer", torch.zeros_like(weight.grad))
            weight.grad.copy_(torch.where(is_bad, momentum, weight.grad))
        before = [weight.clone() for weight in weights]
        told = super().step(closure)
        for weight, old in zip(weights, before, strict=True):
            weight.copy_(torch.where(is_bad, old, weight))
        return told
