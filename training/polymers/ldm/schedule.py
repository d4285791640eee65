"""How much noise a latent has at each step of diffusion, and what follows: the noised latent, what a network is to tell of it, and the latent told.

    x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) noise,    a_t the product of 1 - beta up to step t (alpha bar of Ho et al. 2020, eq. 4)

Shapes: B latents, L their width. Steps t are int64 [B], 0 the least noise. The numbers of a schedule are float64.
"""

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

ScheduleName = Literal["linear", "cosine"]
Prediction = Literal["epsilon", "v"]


@dataclass(frozen=True)
class NoiseSchedule:
    """signal_share: [T] float64, a_t, falling from nearly 1 to nearly 0."""

    signal_share: Tensor

    def parts(self, t: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
        """sqrt(a_t) and sqrt(1 - a_t), [B, 1] each, of the type and on the device of `like`."""
        share = self.signal_share.to(t.device)[t].unsqueeze(-1)
        return share.sqrt().to(like), (1 - share).sqrt().to(like)

    def noised(self, latents: Tensor, noise: Tensor, t: Tensor) -> Tensor:
        """x_t [B, L] of latents x_0 [B, L]."""
        signal, rest = self.parts(t, latents)
        return signal * latents + rest * noise

    def target(self, latents: Tensor, noise: Tensor, t: Tensor, prediction: Prediction) -> Tensor:
        """What a network is to tell of x_t: the noise, or v = sqrt(a_t) noise - sqrt(1 - a_t) x_0 (Salimans and Ho 2022, appendix D)."""
        signal, rest = self.parts(t, latents)
        return noise if prediction == "epsilon" else signal * noise - rest * latents

    def latents_told(self, told: Tensor, noised: Tensor, t: Tensor, prediction: Prediction) -> Tensor:
        """The x_0 [B, L] that `told`, a network's word on x_t, amounts to."""
        signal, rest = self.parts(t, noised)
        return (noised - rest * told) / signal if prediction == "epsilon" else signal * noised - rest * told

    def noise_loss(self, told: Tensor, latents: Tensor, noise: Tensor, t: Tensor, prediction: Prediction) -> Tensor:
        """Mean squared error of the noise, [B], whatever the network tells: an error of v is one of the noise times sqrt(a_t)."""
        error = (told - self.target(latents, noise, t, prediction)).square().mean(dim=-1)
        return error if prediction == "epsilon" else error * self.parts(t, error)[0].squeeze(-1) ** 2


def noise_schedule(name: ScheduleName, steps: int) -> NoiseSchedule:
    """linear: beta from 1e-4 to 0.02 (Ho et al. 2020, section 4). cosine: a_t after cos^2 (Nichol and Dhariwal 2021, eq. 17; beta at most 0.999)."""
    if name == "linear":
        # Differs from paper: betas are those of 1,000 steps times 1000 / steps, so that as little of the latent is left after fewer steps.
        beta = torch.linspace(0.1 / steps, 20 / steps, steps, dtype=torch.float64).clamp(max=0.999)
    else:
        share = ((torch.arange(steps + 1, dtype=torch.float64) / steps + 0.008) / 1.008 * (math.pi / 2)).cos() ** 2
        beta = (1 - share[1:] / share[:-1]).clamp(max=0.999)
    return NoiseSchedule((1 - beta).cumprod(dim=0))
