"""The molecules of a training as a frozen PolyVAE sees them, and the batches drawn from them.

Shapes: N molecules, B of a batch, L latent dimensions, P properties.
"""

from dataclasses import dataclass, fields

import numpy
import torch
from torch import Tensor

from training.loop.seeding import generator
from training.polymers.batches import TrainingSet, pad
from training.polymers.vae.networks import PolyVAE

_ENCODED_AT_ONCE = 256


@dataclass(frozen=True)
class LatentSet:
    """Posteriors of N molecules. mean, log_variance: [N, L] raw. properties: [N, P] in standard deviations, NaN where missing."""

    mean: Tensor
    log_variance: Tensor
    properties: Tensor

    def __len__(self) -> int:
        return len(self.mean)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation [L] of posterior samples, exactly: variances of the means plus means of the variances."""
        variance = self.mean.double().var(dim=0, unbiased=False) + self.log_variance.double().exp().mean(dim=0)
        return self.mean.double().mean(dim=0).float(), variance.sqrt().clamp(min=1e-6).float()

    def samples(self, rows: Tensor, noise: Tensor) -> Tensor:
        """Raw posterior samples [B, L] of the molecules `rows` [B], with normal noise [B, L] (on the CPU)."""
        rows = rows.to(self.mean.device)
        return self.mean[rows] + (0.5 * self.log_variance[rows]).exp() * noise.to(self.mean.device)

    def to(self, device: torch.device) -> "LatentSet":
        return LatentSet(self.mean.to(device), self.log_variance.to(device), self.properties.to(device))


@torch.inference_mode()
def encode(vae: PolyVAE, data: TrainingSet, device: torch.device) -> LatentSet:
    """The posteriors of all molecules of `data`, in order, from their canonical spellings and all properties they have. vae: on `device`, in eval."""
    spellings = data.first_spelling[:-1]
    properties = torch.from_numpy(data.properties)
    mean, log_variance = (torch.empty(len(data), vae.shape.latent) for _ in range(2))
    # By length, so that there is little padding.
    for rows in numpy.array_split(numpy.argsort(numpy.diff(data.starts)[spellings], kind="stable"), -(-len(data) // _ENCODED_AT_ONCE) or 1):
        if len(rows):
            tokens, given = pad(data, spellings[rows])[0].to(device), properties[rows].to(device)
            mean[rows], log_variance[rows] = (part.cpu() for part in vae.posterior(tokens, given, ~given.isnan()))
    # Made in inference mode, tensors could not be saved for a backward pass.
    return LatentSet(mean.clone(), log_variance.clone(), properties)


@dataclass(frozen=True)
class LatentBatch:
    """B molecules, on the CPU. rows, t: [B]. posterior_noise, noise: [B, L]. mask: [B, P], True where a property is asked for."""

    rows: Tensor
    t: Tensor
    posterior_noise: Tensor
    noise: Tensor
    mask: Tensor

    def share(self, rank: int, world_size: int) -> "LatentBatch":
        """Every `world_size`-th molecule; none where there are fewer molecules than processes."""
        return LatentBatch(*(getattr(self, field.name)[rank::world_size] for field in fields(self)))


@dataclass
class LatentStream:
    """Batches that follow from how many molecules were seen before, and from the seeds, alone.

    seeds: names of its generators. steps: of diffusion. condition_dropout: as in training/polymers/batches.py.
    """

    data: LatentSet
    batch_size: int
    seeds: tuple[int | str, ...]
    steps: int
    condition_dropout: float = 0.0

    def __post_init__(self) -> None:
        self._epoch, self._order = -1, torch.zeros(0, dtype=torch.int64)
        self._present = ~self.data.properties.isnan().cpu()

    def after(self, seen: int, salt: int = 0, *, at_most: int) -> LatentBatch:
        """The batch after `seen` molecules, cut where an epoch ends and to `at_most`. salt: changed after a rollback.

        Steps of a batch lie evenly, one in each B-th of them at a random place, which makes the loss less noisy (Kingma et al. 2021, appendix I.1).
        """
        epoch, place = divmod(seen, len(self.data))
        if epoch != self._epoch:
            self._epoch, self._order = epoch, torch.randperm(len(self.data), generator=generator(*self.seeds, "order", epoch))
        rows = self._order[place : place + min(self.batch_size, at_most)]
        dice = generator(*self.seeds, "noise", seen, salt)
        B = len(rows)
        t = ((torch.arange(B) + torch.rand(B, generator=dice)) / B * self.steps).long().clamp(max=self.steps - 1)
        posterior_noise, noise = torch.randn(2, B, self.data.mean.shape[1], generator=dice)
        # Some molecules are shown without a wish (Ho and Salimans 2022), and as many with each property or not by the toss of a coin.
        share, coins = torch.rand(B, 1, generator=dice), torch.rand(B, self._present.shape[1], generator=dice) < 0.5
        asked = (share >= 2 * self.condition_dropout) | ((share >= self.condition_dropout) & coins)
        return LatentBatch(rows, t, posterior_noise, noise, asked & self._present[rows])
