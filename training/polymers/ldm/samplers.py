"""From noise to latents: samplers that know a schedule and one callable, and nothing of networks, properties or molecules.

Shapes: B latents, L their width.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from training.polymers.ldm.schedule import NoiseSchedule, Prediction

# What x_0 is, as far as can be told: from x_t [B, L] and its step t [B].
Denoise = Callable[[Tensor, Tensor], Tensor]
# A network's word on x_t at t, see `Prediction`.
Network = Callable[[Tensor, Tensor], Tensor]


def denoise_by(network: Network, schedule: NoiseSchedule, prediction: Prediction, *, limit: float = float("inf")) -> Denoise:
    """limit: what is told of a latent is cut off at ± limit; where nearly all is noise, small errors of it become large."""
    return lambda x, t: schedule.latents_told(network(x, t), x, t, prediction).clamp(-limit, limit)


def guided(asked: Network, free: Network, guidance: float) -> Network:
    """Classifier-free guidance (Ho and Salimans 2022, eq. 6; guidance = 1 + w): 1 is `asked` itself, 0 `free`, more than 1 exaggerates the wish."""
    if guidance == 1:
        return asked

    def both(x: Tensor, t: Tensor) -> Tensor:
        without = free(x, t)
        return without + guidance * (asked(x, t) - without)

    return both


def sample_ddpm(denoise: Denoise, x: Tensor, schedule: NoiseSchedule, draw: Callable[[], Tensor]) -> Tensor:
    """Ancestral sampling over every step from pure noise x [B, L]; draw: fresh noise [B, L]. Source: Ho et al. 2020, algorithm 2, eq. 6 and 7."""
    for now, before, t in _way(schedule, len(schedule.signal_share), x):
        latents, alpha = denoise(x, t), now / before
        # The mean of q(x_before | x_t, x_0) and its variance, the smaller of the paper's two; the last step draws nothing.
        x = (before**0.5 * (1 - alpha) * latents + alpha**0.5 * (1 - before) * x) / (1 - now)
        if before < 1:
            x = x + ((1 - before) / (1 - now) * (1 - alpha)) ** 0.5 * draw()
    return x


def sample_ddim(denoise: Denoise, x: Tensor, schedule: NoiseSchedule, draw: Callable[[], Tensor], *, steps: int = 50, eta: float = 0.0) -> Tensor:
    """`steps` of the schedule's steps, evenly spread, from pure noise x [B, L]; eta: 0 draws nothing on the way, 1 as much as DDPM.

    With as many steps as the schedule has and eta 1 it is `sample_ddpm`. Source: Song et al. 2021, arXiv:2010.02502, eq. 12 and 16.
    """
    for now, before, t in _way(schedule, steps, x):
        latents = denoise(x, t)
        noise = (x - now**0.5 * latents) / (1 - now) ** 0.5
        sigma = eta * ((1 - before) / (1 - now) * (1 - now / before)) ** 0.5
        x = before**0.5 * latents + max(0.0, 1 - before - sigma**2) ** 0.5 * noise
        if sigma:
            x = x + sigma * draw()
    return x


def _way(schedule: NoiseSchedule, steps: int, x: Tensor) -> Iterator[tuple[float, float, Tensor]]:
    """From the last step down: a_t of each step taken and of the next one, 1 at the end, and the step as [B].

    The steps end at the schedule's last ("trailing"): a way that begins below it begins with other noise than it was taught (Lin et al. 2024).
    """
    total = len(schedule.signal_share)
    if not 1 <= steps <= total:
        raise ValueError(f"steps must lie in [1, {total}], the steps of diffusion of this model, found {steps}")
    places = [round(total * place / steps) - 1 for place in range(steps, 0, -1)]
    shares = [float(schedule.signal_share[place]) for place in places]
    for place, now, before in zip(places, shares, [*shares[1:], 1.0], strict=True):
        yield now, before, torch.full((len(x),), place, device=x.device)
