"""The networks that tell the noise in a latent: three layers, or a "U-Net" of three layers with a narrow middle and a way around it.

Both read the noised latent, the step and the embedding of the wanted properties side by side. The seed's read latent and properties alone; here they also
read the step, without which one network could not serve all of them.

Shapes: B latents, L their width, E of the property embedding.
"""

import math
from typing import Literal

import torch
from torch import Tensor, nn

DenoiserName = Literal["mlp", "unet"]


class StepEmbedding(nn.Module):
    """Steps t [B], of `steps` in all, to [B, width]: sines and cosines of falling frequencies, as positions in Vaswani et al. 2017, section 3.5.

    # Differs from the seed, whose description does not say how the step comes in.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, t: Tensor) -> Tensor:
        half = self.width // 2
        frequencies = torch.exp(torch.arange(half, device=t.device) * (-math.log(10_000) / half))
        angles = t.to(torch.float32).unsqueeze(-1) * frequencies
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class MlpDenoiser(nn.Module):
    """x_t, step and properties → H → H → H → L (the seed's sizes: H = 256, L = 32)."""

    def __init__(self, latent: int, step_width: int, property_width: int, hidden: int) -> None:
        super().__init__()
        self.step_embedding = StepEmbedding(step_width)
        self.layers = nn.Sequential(
            *(nn.Linear(latent + step_width + property_width, hidden), nn.SiLU()),
            *(nn.Linear(hidden, hidden), nn.SiLU()),
            *(nn.Linear(hidden, hidden), nn.SiLU()),
            nn.Linear(hidden, latent),
        )

    def forward(self, x: Tensor, t: Tensor, properties: Tensor) -> Tensor:
        """x: [B, L]. t: [B] int64. properties: [B, E]. Returns [B, L]."""
        return self.layers(torch.cat([x, self.step_embedding(t), properties], dim=-1))


class UNetDenoiser(nn.Module):
    """x_t, step and properties → H → 2 L → H, beside it the first layer's H → L (the seed's sizes: H = 256, L = 32)."""

    def __init__(self, latent: int, step_width: int, property_width: int, hidden: int) -> None:
        super().__init__()
        self.step_embedding = StepEmbedding(step_width)
        self.enter = nn.Sequential(nn.Linear(latent + step_width + property_width, hidden), nn.SiLU())
        self.narrow = nn.Sequential(nn.Linear(hidden, 2 * latent), nn.SiLU(), nn.Linear(2 * latent, hidden), nn.SiLU())
        self.leave = nn.Linear(2 * hidden, latent)

    def forward(self, x: Tensor, t: Tensor, properties: Tensor) -> Tensor:
        """x: [B, L]. t: [B] int64. properties: [B, E]. Returns [B, L]."""
        wide = self.enter(torch.cat([x, self.step_embedding(t), properties], dim=-1))
        return self.leave(torch.cat([self.narrow(wide), wide], dim=-1))


DENOISERS: dict[DenoiserName, type[MlpDenoiser] | type[UNetDenoiser]] = {"mlp": MlpDenoiser, "unet": UNetDenoiser}
