"""The networks that tell the noise in a latent: three layers, or a "U-Net" of three layers with a narrow middle and a way around it.

Both read the noised latent, the step and the properties beside one another.
# Differs from the seed, whose networks read the latent and the properties alone: one network for all steps must know which one it is at.

Shapes: B latents, L their width, H hidden width.
"""

import itertools
import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

DenoiserName = Literal["mlp", "unet"]


def step_embedding(t: Tensor, width: int) -> Tensor:
    """Steps t [B] to [B, width]: sines and cosines of falling frequencies, as positions are in Vaswani et al. 2017, section 3.5."""
    frequencies = torch.exp(torch.arange(width // 2, device=t.device) * (-math.log(10_000) / (width // 2)))
    angles = t.to(torch.float32).unsqueeze(-1) * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1)


def mlp(inputs: int, hidden: int, latent: int) -> nn.Module:
    """[B, inputs] → H → H → H → L (the seed's sizes: H = 256, L = 32)."""
    widths = (inputs, hidden, hidden, hidden)
    layers = [layer for pair in itertools.pairwise(widths) for layer in (nn.Linear(*pair), nn.SiLU())]
    return nn.Sequential(*layers, nn.Linear(hidden, latent))


class UNet(nn.Module):
    """[B, inputs] → H → 2 L → H, beside it the first layer's H → L (the seed's sizes: H = 256, L = 32)."""

    def __init__(self, inputs: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.enter = nn.Sequential(nn.Linear(inputs, hidden), nn.SiLU())
        self.narrow = nn.Sequential(nn.Linear(hidden, 2 * latent), nn.SiLU(), nn.Linear(2 * latent, hidden), nn.SiLU())
        self.leave = nn.Linear(2 * hidden, latent)

    def forward(self, x: Tensor) -> Tensor:
        wide = self.enter(x)
        return self.leave(torch.cat([self.narrow(wide), wide], dim=-1))


DENOISERS: dict[DenoiserName, Callable[[int, int, int], nn.Module]] = {"mlp": mlp, "unet": UNet}
