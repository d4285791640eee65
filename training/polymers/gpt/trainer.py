"""Both phases of PolyGPT as one `Trainable`, and how well it does on held-out molecules."""

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from stages.derived_seed import derive_seed
from training.loop.devices import Devices
from training.loop.ema import Ema
from training.loop.loop import StepOutcome, backward_and_step, linear_schedule
from training.loop.seeding import seed_everything
from training.metrics.regression import r_squared
from training.polymers.batches import BatchStream, TrainingSet
from training.polymers.gpt.config import PolyGPTConfig
from training.polymers.gpt.data import PolyGPTData
from training.polymers.gpt.losses import LossWeights, polygpt_losses
from training.polymers.gpt.networks import PolyGPT
from training.polymers.optimizer import adamw
from training.polymers.smiles_tokenizer import PAD

_VALIDATION_MOLECULES, _VALIDATION_BATCH = 1024, 128
_LOSS_NAMES = ("loss", "cross_entropy_loss", "auxiliary_loss", "align_loss", "predictor_loss", "accuracy")


class PolyGPTTrainer:
    """Both phases of PolyGPT as one `Trainable`: which one is on follows from `samples_seen`."""

    def __init__(self, data: PolyGPTData, config: PolyGPTConfig, devices: Devices) -> None:
        self.config, self.devices = config, devices
        seed_everything(config.seed)
        self.model = PolyGPT(data.shape).to(devices.device)
        # Equal weights in every process, but not equal dropout.
        torch.manual_seed(derive_seed(config.seed, "dropout", devices.rank))
        self.parameters = list(self.model.parameters())
        self.optimizer = adamw(self.model, learning_rate=config.learning_rate, weight_decay=config.weight_decay, beta2=config.adam_beta2)
        self.ema = Ema(self.model, half_life_samples=config.ema_half_life_samples) if config.ema_half_life_samples else None
        self.weights = LossWeights(config.alpha, config.beta, config.gamma)
        self.streams = {
            phase: self._stream(phase, part) for phase, part in (("pretrain", data.pretrain), ("finetune", data.finetune)) if part is not None
        }
        # Drawn, not the first batches: those are of molecules of one length each, and say little of the others.
        self.valid = data.valid.drawn(_VALIDATION_MOLECULES, derive_seed(config.seed, "validation"))
        self.samples_seen = 0

    @property
    def phase(self) -> str:
        return "pretrain" if self.samples_seen < self.config.pretrain_samples else "finetune"

    def step(self) -> StepOutcome:
        # A batch never crosses the border of the phases. Each process computes its share of it, in sums over the whole batch's counts.
        end = self.config.pretrain_samples if self.phase == "pretrain" else self.config.total_samples
        batch = self.streams[self.phase].next(at_most=end - self.samples_seen)
        share = batch.share(self.devices.rank, self.devices.world_size).to(self.devices.device)
        learning_rate = self._set_learning_rate()
        self.model.train()
        with self.devices.autocast(self.config.precision):
            losses = polygpt_losses(self.model, share, self.weights, batch.denominators())
        norm, skipped = backward_and_step(
            losses.total, self.optimizer, self.parameters, clip_norm=self.config.gradient_clip_norm, devices=self.devices
        )
        if self.ema is not None and not skipped:
            self.ema.update(self.model, samples=len(batch.tokens))

        self.samples_seen += len(batch.tokens)
        values = dict(zip(_LOSS_NAMES, self._summed(losses), strict=True))
        return StepOutcome({**values, "gradient_norm": norm, "learning_rate": learning_rate}, len(batch.tokens), skipped)

    def state_dict(self) -> dict[str, Any]:
        return {
            "samples_seen": self.samples_seen,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state_dict() if self.ema is not None else None,
            "streams": {phase: stream.state_dict() for phase, stream in self.streams.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.samples_seen = state["samples_seen"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
        for phase, stream in self.streams.items():
            stream.load_state_dict(state["streams"][phase])

    def reseed(self, rollback: int) -> None:
        for stream in self.streams.values():
            stream.salt = rollback

    def final_model(self) -> PolyGPT:
        """The model to save: the averaged weights where there is an average."""
        if self.ema is not None:
            self.model.load_state_dict(self.ema.state_dict())
        return self.model.eval()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """On held-out molecules: cross-entropy and accuracy per token, asked for with their true properties once fine-tuning has begun; and for each
        property the R² of what the auxiliary heads tell of a molecule that is shown without any.
        """
        if not len(self.valid):
            return {}
        self.model.eval()
        # Always the same molecules with the same perturbations: a new stream begins at the beginning.
        conditional, size = self.phase == "finetune", _VALIDATION_BATCH
        stream = BatchStream(self.valid, size, self.config.seed, "valid", conditional=conditional, noise=self.config.property_noise)
        sums: dict[str, float] = {}
        tokens = 0
        true, told = [], []
        for _ in range(-(-len(self.valid) // size)):
            batch = stream.next(at_most=size).to(self.devices.device)
            denominators = batch.denominators()
            losses = polygpt_losses(self.model, batch, self.weights, denominators)
            tokens += denominators.tokens
            for name, value in (("validation_loss", losses.cross_entropy), ("validation_accuracy", losses.accuracy)):
                sums[name] = sums.get(name, 0.0) + float(value) * denominators.tokens
            if self.config.properties:
                true.append(batch.properties.cpu())
                told.append(self.model.tell(batch.tokens, batch.tokens != PAD).cpu())
        means = {name: total / tokens for name, total in sums.items()}
        return {**means, **_property_r2(self.config.properties, torch.cat(true), torch.cat(told))} if true else means

    def _stream(self, phase: str, data: TrainingSet) -> BatchStream:
        config = self.config
        conditional = phase == "finetune" and bool(config.properties)
        noise, dropout = config.property_noise, config.condition_dropout
        return BatchStream(data, config.batch_size, config.seed, phase, conditional=conditional, noise=noise, condition_dropout=dropout)

    def _set_learning_rate(self) -> float:
        # Each phase has a warm-up and a decay of its own.
        config = self.config
        pretraining = self.phase == "pretrain"
        factor = linear_schedule(
            self.samples_seen if pretraining else self.samples_seen - config.pretrain_samples,
            warmup_samples=config.warmup_samples,
            total_samples=config.pretrain_samples if pretraining else config.finetune_samples,
            final_fraction=config.final_learning_rate_fraction,
        )
        rate = factor * (config.learning_rate if pretraining else config.finetune_learning_rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _summed(self, losses: Any) -> Tensor:
        shares = [losses.total, losses.cross_entropy, losses.auxiliary, losses.align, losses.predictor, losses.accuracy]
        return self.devices.sum(torch.stack([share.detach().float() for share in shares]))


def _property_r2(names: Sequence[str], true: Tensor, told: Tensor) -> dict[str, float]:
    """`validation_property_r2_<name>` of true [N, P] (NaN: not known) and told [N, P]; none for a property with no two different known values."""
    scores = {}
    for column, name in enumerate(names):
        is_known = ~true[:, column].isnan()
        score = r_squared(true[is_known, column].double().numpy(), told[is_known, column].double().numpy())
        if math.isfinite(score):
            scores[f"validation_property_r2_{name}"] = score
    return scores
