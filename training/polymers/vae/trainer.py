"""PolyVAE as a `Trainable`, and how well it does on held-out molecules."""

from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from stages.derived_seed import derive_seed
from stages.reporting import Reporter
from training.loop.devices import Devices
from training.loop.ema import Ema
from training.loop.loop import StepOutcome, backward_and_step, linear_schedule
from training.loop.seeding import generator, seed_everything
from training.polymers.batches import Batch, BatchStream, TrainingSet
from training.polymers.optimizer import adamw
from training.polymers.vae.config import PolyVAEConfig
from training.polymers.vae.losses import LossOptions, drop_words, polyvae_losses
from training.polymers.vae.networks import PolyVAE, PolyVAEShape
from training.polymers.vae.reconstruction import Reconstruction, reconstruct

_VALIDATION_MOLECULES = 512
_LOSS_NAMES = ("loss", "cross_entropy_loss", "kl_loss", "accuracy")


@dataclass(frozen=True)
class PolyVAEData:
    """The molecules it learns from, those it is judged on, and the shape they imply."""

    shape: PolyVAEShape
    tokenizer: Tokenizer
    train: TrainingSet
    valid: TrainingSet


class PolyVAETrainer:
    """One optimizer for reader and writer. Noise of the latents and dropped words follow from (seed, samples seen), in any number of processes."""

    def __init__(self, data: PolyVAEData, config: PolyVAEConfig, devices: Devices, reporter: Reporter) -> None:
        self.config, self.devices, self.reporter, self.tokenizer = config, devices, reporter, data.tokenizer
        seed_everything(config.seed)
        self.model = PolyVAE(data.shape).to(devices.device)
        # Equal weights in every process, but not equal dropout.
        torch.manual_seed(derive_seed(config.seed, "dropout", devices.rank))
        self.parameters = list(self.model.parameters())
        rates = {"learning_rate": config.learning_rate, "weight_decay": config.weight_decay}
        self.optimizer = adamw(self.model, **rates, beta2=config.adam_beta2)
        self.ema = Ema(self.model, half_life_samples=config.ema_half_life_samples) if config.ema_half_life_samples else None
        dropout = config.condition_dropout
        self.stream = BatchStream(data.train, config.batch_size, config.seed, "train", conditional=True, condition_dropout=dropout)
        self.valid = data.valid.drawn(_VALIDATION_MOLECULES, derive_seed(config.seed, "validation"))
        self.samples_seen = 0

    def step(self) -> StepOutcome:
        batch = self.stream.next(at_most=self.config.total_samples - self.samples_seen)
        counts, kl_weight = batch.denominators(), self.config.kl_weight_after(self.samples_seen)
        options = LossOptions(kl_weight, self.config.free_nats, len(batch.tokens), counts.tokens, self.devices.sum)
        share = batch.share(self.devices.rank, self.devices.world_size).to(self.devices.device)
        noise, shown = (self._shared(one) for one in self._drawn(batch))
        learning_rate = self._set_learning_rate()
        self.model.train()
        with self.devices.autocast(self.config.precision):
            losses = polyvae_losses(self.model, share, noise, drop_words(share.tokens, shown, self.config.word_dropout), options)
        clip_norm = self.config.gradient_clip_norm
        norm, skipped = backward_and_step(losses.total, self.optimizer, self.parameters, clip_norm=clip_norm, devices=self.devices)
        if self.ema is not None and not skipped:
            self.ema.update(self.model, samples=len(batch.tokens))

        self.samples_seen += len(batch.tokens)
        shares = torch.stack([one.detach().float() for one in (losses.total, losses.cross_entropy, losses.kl, losses.accuracy)])
        values = dict(zip(_LOSS_NAMES, self.devices.sum(shares), strict=True))
        return StepOutcome({**values, "kl_weight": kl_weight, "gradient_norm": norm, "learning_rate": learning_rate}, len(batch.tokens), skipped)

    def state_dict(self) -> dict[str, Any]:
        return {
            "samples_seen": self.samples_seen,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state_dict() if self.ema is not None else None,
            "stream": self.stream.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.samples_seen = state["samples_seen"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
        self.stream.load_state_dict(state["stream"])

    def reseed(self, rollback: int) -> None:
        self.stream.salt = rollback

    def final_model(self) -> PolyVAE:
        """The model to save and to judge: the averaged weights where there is an average."""
        return self.ema.averaged(self.model) if self.ema is not None else self.model.eval()

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
        return (rows if len(rows) else torch.zeros_like(values[:1])).to(self.devices.device)

    def _set_learning_rate(self) -> float:
        config = self.config
        schedule = {"warmup_samples": config.warmup_samples, "total_samples": config.total_samples}
        rate = config.learning_rate * linear_schedule(self.samples_seen, **schedule, final_fraction=config.final_learning_rate_fraction)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate


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
