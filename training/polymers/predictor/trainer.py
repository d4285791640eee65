"""The ensemble as one `Trainable`: every member has a batch of its own in each step, and the best weights on held-out molecules are kept."""

import functools
import math
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from stages.derived_seed import derive_seed
from training.loop.devices import Devices, moved
from training.loop.loop import StepOutcome
from training.loop.seeding import generator, seed_everything
from training.polymers.batches import SaltedStream
from training.polymers.predictor.config import PredictorConfig
from training.polymers.predictor.data import Labelled
from training.polymers.predictor.losses import gaussian_losses
from training.polymers.predictor.networks import PredictorShape, PropertyEnsemble
from training.polymers.trainer import MoleculeTrainer

# Of the likelihood, by variance^beta (Seitzer et al. 2022). A property known of a share s of the molecules weighs s^-balance.
_BETA, _BALANCE = 0.5, 0.5


@dataclass
class MemberStream(SaltedStream):
    """For each member all molecules, in an order of its own each epoch (Lakshminarayanan et al. 2017); what is no whole batch is left out."""

    molecules: int
    batch_size: int
    members: int
    seed: int

    def after(self, steps: int) -> Tensor:
        """[E, B] int64: which molecules each member is shown."""
        epoch, place = divmod(steps, self.molecules // self.batch_size)
        return self._orders(self.salt, epoch)[:, place * self.batch_size : (place + 1) * self.batch_size]

    def __post_init__(self) -> None:
        # Of a hundred thousand molecules an epoch's orders take as long as some steps.
        self._orders = functools.lru_cache(maxsize=1)(self._drawn)

    def _drawn(self, salt: int, epoch: int) -> Tensor:
        """[E, N] int64."""
        orders = (generator(self.seed, "order", salt, epoch, member) for member in range(self.members))
        return torch.stack([torch.randperm(self.molecules, generator=order) for order in orders])


class PredictorTrainer(MoleculeTrainer[PredictorConfig]):
    """Of several processes each takes every n-th molecule of a batch, and gradients are sums over all of it."""

    def __init__(self, train: Labelled, valid: Labelled, config: PredictorConfig, devices: Devices) -> None:
        self.scale, self.labelled = train.scale, (train, valid)
        seed_everything(config.seed)
        seen = torch.from_numpy((train.features.counts > 0).any(axis=0)).float()
        self.model = PropertyEnsemble(self._shape(config), dropout=config.dropout, seen=seen).to(devices.device)
        torch.manual_seed(derive_seed(config.seed, "dropout", devices.rank))
        optimizer = torch.optim.AdamW(self.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
        self.stream = MemberStream(len(train), min(config.batch_size, len(train)), config.members, config.seed)
        super().__init__(self.model, optimizer, {"train": self.stream}, config, devices)
        self.train, self.valid = self._tensors(train), self._tensors(valid)
        # A property known of few molecules would otherwise be learnt by what is left over from the others.
        self.weights = (~self.train[2].isnan()).float().mean(dim=0) ** -_BALANCE
        self.best_loss, self.evaluations_since_best = math.inf, 0
        self.best: dict[str, Tensor] = {}

    def step(self) -> StepOutcome:
        config, devices, size = self.config, self.devices, self.stream.batch_size
        rows = moved(self.stream.after(self.samples_seen // size)[:, devices.rank :: devices.world_size], devices.device)
        counts, descriptors, target = (part[rows] for part in self.train)
        # A sum over members, each a mean over its own batch: the gradients are as if each were alone.
        mean, log_variance = self.model.train()(counts, descriptors)
        loss = (gaussian_losses(mean, log_variance, target, beta=_BETA) * self.weights).sum() / size
        rate = self.rate(config.learning_rate, self.samples_seen, config.total_samples)
        outcome = self.learned({"loss": loss}, min(size, config.total_samples - self.samples_seen), {"learning_rate": rate})
        # What is told is that of a member.
        return replace(outcome, values={**outcome.values, "loss": outcome.values["loss"] / config.members})

    def validate(self) -> dict[str, float]:
        """On held-out molecules, of the ensemble as one and by property: MAE over the standard deviation of the training values, and the negative log
        likelihood with the variances scaled as fits best, since they will be calibrated; remembers the weights where the latter was least.
        """
        model, target = super().final_model(), self.valid[2]
        mean, variance = model.told(*self.valid[:2])
        is_known = ~target.isnan()

        def over_known(values: Tensor) -> Tensor:
            return torch.where(is_known, values, 0.0).sum(dim=0) / is_known.sum(dim=0)

        # -log N(error; s variance) without its constant, where s, the mean of error^2 / variance, makes it least.
        likelihoods = 0.5 * (over_known(variance.log()) + over_known((target - mean).square() / variance).log() + 1)
        loss, errors = float(likelihoods.mean()), over_known((target - mean).abs())
        values = {"validation_loss": loss, "validation_mae_over_sigma": float(errors.mean())}
        values |= {f"validation_mae_over_sigma_{name}": float(error) for name, error in zip(self.config.properties, errors, strict=True)}
        self.evaluations_since_best += 1
        if loss < self.best_loss:
            self.best_loss, self.evaluations_since_best, self.best_values = loss, 0, values
            self.best = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        return values

    def final_model(self) -> PropertyEnsemble:
        """The model to save: the best weights."""
        self.model.load_state_dict(self.best or self.model.state_dict())
        return self.model.eval()

    def why_done(self) -> str | None:
        patience = self.config.patience
        is_done = 0 < patience <= self.evaluations_since_best
        return f"the held-out loss has not fallen below {self.best_loss:.4g} for {patience} evaluations" if is_done else None

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "best": [self.best_loss, self.evaluations_since_best, self.best, self.best_values]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.best_loss, self.evaluations_since_best, self.best, self.best_values = state["best"]

    def _tensors(self, labelled: Labelled) -> list[Tensor]:
        """Counts, standardised descriptors, and standardised values with NaN where one is missing."""
        values = ((labelled.values - self.scale.property_mean) / self.scale.property_std).astype("float32")
        arrays = (labelled.features.counts, self.scale.descriptors(labelled.features), values)
        return [torch.from_numpy(array).to(self.devices.device) for array in arrays]

    def _shape(self, config: PredictorConfig) -> PredictorShape:
        scale: dict[str, Any] = {name: tuple(values.tolist()) for name, values in vars(self.scale).items()}
        same: dict[str, Any] = {
            name: getattr(config, name) for name in ("properties", "radius", "bits", "described_by", "members", "width", "layers")
        }
        return PredictorShape(**scale, **same, calibration=(1.0,) * len(config.properties), property_units=dict(self.labelled[0].units))
