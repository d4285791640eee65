"""PolyVAE as a `Trainable`, and how well it does on held-out molecules."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from stages.derived_seed import derive_seed
from stages.reporting import Reporter
from training.loop.devices import Devices, moved
from training.loop.loop import StepOutcome
from training.loop.seeding import generator, seed_everything
from training.polymers.batches import Batch, BatchStream, TrainingSet
from training.polymers.optimizer import adamw
from training.polymers.trainer import MoleculeTrainer
from training.polymers.vae.config import PolyVAEConfig
from training.polymers.vae.losses import LossOptions, drop_words, polyvae_losses
from training.polymers.vae.networks import PolyVAE, PolyVAEShape
from training.polymers.vae.reconstruction import Reconstruction, reconstruct

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_VALIDATION_MOLECULES = 512


@dataclass(frozen=True)
class PolyVAEData:
    """The molecules it learns from, those it is judged on, and the shape they imply."""

    shape: PolyVAEShape
    tokenizer: "Tokenizer"
    train: TrainingSet
    valid: TrainingSet


class PolyVAETrainer(MoleculeTrainer[PolyVAEConfig]):
    """One optimizer for reader and writer. Noise of the latents and dropped words follow from (seed, samples seen), in any number of processes."""

    def __init__(self, data: PolyVAEData, config: PolyVAEConfig, devices: Devices, reporter: Reporter) -> None:
        self.reporter, self.tokenizer = reporter, data.tokenizer
        seed_everything(config.seed)
        self.model = PolyVAE(data.shape).to(devices.device)
        # Equal weights in every process, but not equal dropout.
        torch.manual_seed(derive_seed(config.seed, "dropout", devices.rank))
        dropout = config.condition_dropout
        self.stream = BatchStream(data.train, config.batch_size, config.seed, "train", conditional=True, condition_dropout=dropout)
        optimizer = adamw(self.model, learning_rate=config.learning_rate, weight_decay=config.weight_decay, beta2=config.adam_beta2)
        super().__init__(self.model, optimizer, {"train": self.stream}, config, devices)
        self.valid = data.valid.drawn(_VALIDATION_MOLECULES, derive_seed(config.seed, "validation"))

    def step(self) -> StepOutcome:
        config, seen = self.config, self.samples_seen
        batch = self.stream.next(at_most=config.total_samples - seen)
        counts, kl_weight = batch.denominators(), config.kl_weight_after(seen)
        options = LossOptions(kl_weight, config.free_nats, len(batch.tokens), counts.tokens, self.devices.sum)
        share = batch.share(self.devices.rank, self.devices.world_size).to(self.devices.device)
        noise, shown = (self._shared(one) for one in self._drawn(batch))
        self.model.train()
        with self.devices.autocast(config.precision):
            losses = polyvae_losses(self.model, share, noise, drop_words(share.tokens, shown, config.word_dropout), options)
        rate = self.rate(config.learning_rate, seen, config.total_samples)
        return self.learned(losses.by_name(), len(batch.tokens), {"kl_weight": kl_weight, "learning_rate": rate})

    def validate(self) -> dict[str, float]:
        """On held-out molecules, with their properties. Warns where hardly any dimension of the latent is in use (posterior collapse)."""
        if not len(self.valid):
            return {}
        found = reconstruct(self.final_model(), self.tokenizer, self.valid, self.config.seed)
        units, latent, floor = found.active_units, self.config.latent, self.config.active_units_floor
        if units < floor * latent:
            self.reporter.log(
                f"WARNING: after {self.samples_seen:,} molecules {units} of {latent} latent dimensions are active, expected {floor * latent:g}: the "
                "writer goes without the latent (posterior collapse); raise kl_warmup_samples, free_nats or word_dropout, or lower kl_weight"
            )
        return validation_numbers(found)

    def _drawn(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Noise [B, L] of the latents and uniform numbers [B, T] of the words, of the whole batch."""
        random = generator(self.config.seed, "latent", self.samples_seen, self.stream.salt)
        return torch.randn(len(batch.tokens), self.config.latent, generator=random), torch.rand(batch.tokens.shape, generator=random)

    def _shared(self, values: Tensor) -> Tensor:
        """This process's share of the rows of a batch, as `Batch.share` cuts it."""
        rows = values[self.devices.rank :: self.devices.world_size]
        return moved(rows if len(rows) else torch.zeros_like(values[:1]), self.devices.device)


def validation_numbers(found: Reconstruction) -> dict[str, float]:
    """`validation_loss`: nats of a molecule, the bound on its likelihood with the whole Kullback-Leibler term, whatever its weight is now."""
    tokens = float(found.tokens.sum())
    cross_entropy, kl = float(found.cross_entropy.mean()), float(found.kl.sum(dim=1).mean())
    return {
        "validation_loss": cross_entropy + kl,
        "validation_cross_entropy_loss": cross_entropy,
        "validation_kl_loss": kl,
        "validation_accuracy": float(found.right.sum()) / tokens,
        "validation_greedy_accuracy": float(found.right_greedy.sum()) / tokens,
        "validation_exact": float(found.exact.double().mean()),
        "validation_greedy_exact": float(found.exact_greedy.double().mean()),
        "validation_active_units": float(found.active_units),
    }
