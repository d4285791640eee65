"""The molecules of a training as a frozen PolyVAE sees them, and batches of them. Shapes: N molecules, B of a batch, L latent width, P properties."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy
import torch
from torch import Tensor

from training.loop.devices import moved
from training.loop.seeding import generator
from training.polymers.batches import SaltedStream, TrainingSet, pad
from training.polymers.vae import PolyVAE

_ENCODED_AT_ONCE = 256


@dataclass(frozen=True)
class LatentSet:
    """Posteriors of N molecules, on one device. mean, log_variance: [N, L] raw. properties: [N, P] in standard deviations, NaN where missing."""

    mean: Tensor
    log_variance: Tensor
    properties: Tensor

    def __len__(self) -> int:
        return len(self.mean)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [L] of posterior samples, exactly: the variance of the means plus the mean of the variances."""
        variance = self.mean.double().var(dim=0, unbiased=False) + self.log_variance.double().exp().mean(dim=0)
        return self.mean.double().mean(dim=0).float(), variance.sqrt().clamp(min=1e-6).float()

    def samples(self, rows: Tensor, noise: Tensor) -> Tensor:
        """Raw posterior samples [B, L] of the molecules `rows` [B], from normal noise [B, L]."""
        rows = moved(rows, self.mean.device)
        return self.mean[rows] + (0.5 * self.log_variance[rows]).exp() * moved(noise, self.mean.device)


@torch.no_grad()
def encode(vae: PolyVAE, data: TrainingSet, device: torch.device) -> LatentSet:
    """The posteriors of all molecules of `data`, by canonical spelling and all properties they have. vae: on `device`, in evaluation mode."""
    spellings, properties = data.first_spelling[:-1], torch.from_numpy(data.properties).to(device)
    mean, log_variance = torch.empty(2, len(data), vae.shape.latent, device=device)
    # By length, so that there is little padding.
    order = numpy.argsort(numpy.diff(data.starts)[spellings], kind="stable")
    for start in range(0, len(order), _ENCODED_AT_ONCE):
        rows = order[start : start + _ENCODED_AT_ONCE]
        given = properties[rows]
        mean[rows], log_variance[rows] = vae.posterior(pad(data, spellings[rows])[0].to(device), given, ~given.isnan())
    return LatentSet(mean, log_variance, properties)


class LatentBatch(NamedTuple):
    """B molecules, on the CPU. rows, t: [B]. posterior_noise, noise: [B, L] normal. mask: [B, P], True where a property is asked for."""

    rows: Tensor
    t: Tensor
    posterior_noise: Tensor
    noise: Tensor
    mask: Tensor


@dataclass
class LatentStream(SaltedStream):
    """seeds: names of its generators. steps: of diffusion. condition_dropout: as in training/polymers/batches.py."""

    data: LatentSet
    batch_size: int
    seeds: tuple[int | str, ...]
    steps: int
    condition_dropout: float = 0.0

    def __post_init__(self) -> None:
        self._epoch, self._order = -1, torch.zeros(0, dtype=torch.int64)
        self._present = ~self.data.properties.isnan().cpu()

    def after(self, seen: int, *, at_most: int) -> LatentBatch:
        """The batch after `seen` molecules, cut where an epoch ends and to `at_most`.

        Its steps lie evenly, one in each B-th of them at a random place, which makes the loss less noisy (Kingma et al. 2021, appendix I.1).
        """
        epoch, place = divmod(seen, len(self.data))
        if epoch != self._epoch:
            self._epoch, self._order = epoch, torch.randperm(len(self.data), generator=generator(*self.seeds, "order", epoch))
        rows = self._order[place : place + min(self.batch_size, at_most)]
        random, B = generator(*self.seeds, "noise", seen, self.salt), len(rows)
        t = ((torch.arange(B) + torch.rand(B, generator=random)) / B * self.steps).long().clamp(max=self.steps - 1)
        posterior_noise, noise = torch.randn(2, B, self.data.mean.shape[1], generator=random)
        # Some molecules are shown without a wish (Ho and Salimans 2022), and as many with each property or not by the toss of a coin.
        share, coins = torch.rand(B, 1, generator=random), torch.rand(B, self._present.shape[1], generator=random) < 0.5
        asked = (share >= 2 * self.condition_dropout) | ((share >= self.condition_dropout) & coins)
        return LatentBatch(rows, t, posterior_noise, noise, asked & self._present[rows])
