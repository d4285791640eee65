"""The ensemble as one `Trainable`: every member has a batch of its own in each step, and the best weights on held-out molecules are kept."""

import math
from typing import Any

import torch
from torch import Tensor

from stages.derived_seed import derive_seed
from training.loop.devices import Devices
from training.loop.loop import StepOutcome, backward_and_step, linear_schedule
from training.loop.seeding import generator, seed_everything
from training.polymers.predictor.config import PredictorConfig
from training.polymers.predictor.data import Labelled
from training.polymers.predictor.losses import gaussian_losses
from training.polymers.predictor.networks import PredictorShape, PropertyEnsemble

_CLIP_NORM = 5.0
# Of the likelihood, by variance^beta (Seitzer et al. 2022). A property known of a share s of the molecules weighs s^-balance.
_BETA, _BALANCE = 0.5, 0.5


class PredictorTrainer:
    """Of several processes each takes every n-th molecule of a batch, and gradients are sums over all of it."""

    def __init__(self, train: Labelled, valid: Labelled, config: PredictorConfig, devices: Devices) -> None:
        self.config, self.devices, self.scale, self.labelled = config, devices, train.scale, (train, valid)
        seed_everything(config.seed)
        seen = torch.from_numpy((train.features.counts > 0).any(axis=0)).float()
        self.model = PropertyEnsemble(self._shape(), dropout=config.dropout, seen=seen).to(devices.device)
        torch.manual_seed(derive_seed(config.seed, "dropout", devices.rank))
        self.parameters = list(self.model.parameters())
        self.optimizer = torch.optim.AdamW(self.parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
        self.train, self.valid = self._tensors(train), self._tensors(valid)
        # A property known of few molecules would otherwise be learnt by what is left over from the others.
        self.weights = (~self.train[2].isnan()).float().mean(dim=0) ** -_BALANCE
        self.batch_size = min(config.batch_size, len(train))
        # (epoch, position) in the data.
        self.place, self.salt, self.samples_seen = [0, 0], 0, 0
        self.best_loss, self.evaluations_since_best = math.inf, 0
        self.best: dict[str, Tensor] = {}
        self.best_values: dict[str, float] = {}

    def step(self) -> StepOutcome:
        config, devices = self.config, self.devices
        schedule = {"warmup_samples": config.warmup_samples, "total_samples": config.total_samples}
        rate = config.learning_rate * linear_schedule(self.samples_seen, **schedule, final_fraction=0.0)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        rows = self.next_rows()[:, devices.rank :: devices.world_size].to(devices.device)
        counts, descriptors, target = (part[rows] for part in self.train)
        # A sum over members, each a mean over its own batch: the gradients are as if each were alone.
        mean, log_variance = self.model.train()(counts, descriptors)
        losses = gaussian_losses(mean, log_variance, target, beta=_BETA)
        loss = (losses * self.weights).sum() / self.batch_size
        norm, skipped = backward_and_step(loss, self.optimizer, self.parameters, clip_norm=_CLIP_NORM, devices=devices)
        samples = min(self.batch_size, config.total_samples - self.samples_seen)
        self.samples_seen += samples
        told = float(devices.sum(loss.detach().clone())) / config.members
        return StepOutcome({"loss": told, "gradient_norm": norm, "learning_rate": rate}, samples, skipped)

    def next_rows(self) -> Tensor:
        """[E, B] int64: which molecules each member is shown now. What is left of an epoch and is no whole batch is left out."""
        if self.place[1] + self.batch_size > len(self.train[0]):
            self.place = [self.place[0] + 1, 0]
        start = self.place[1]
        self.place[1] += self.batch_size
        return torch.stack([self._order(member)[start : start + self.batch_size] for member in range(self.config.members)])

    def _order(self, member: int) -> Tensor:
        """One epoch of a member: all molecules, in an order of its own (Lakshminarayanan et al. 2017)."""
        return torch.randperm(len(self.train[0]), generator=generator(self.config.seed, "order", self.salt, self.place[0], member))

    def validate(self) -> dict[str, float]:
        """On held-out molecules, of the ensemble as one and by property: MAE over the standard deviation of the training values, and the negative log
        likelihood with the variances scaled as fits best, since they will be calibrated; remembers the weights where the latter was least.
        """
        (mean, variance), target = self.model.told(*self.valid[:2]), self.valid[2]
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
            self.best = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
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
        own = [self.samples_seen, self.place, self.salt, self.best_loss, self.evaluations_since_best, self.best, self.best_values]
        return {"own": own, "model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        (self.samples_seen, self.place, self.salt, self.best_loss, self.evaluations_since_best, self.best, self.best_values) = state["own"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])

    def reseed(self, rollback: int) -> None:
        self.salt = rollback

    def _tensors(self, labelled: Labelled) -> list[Tensor]:
        """Counts, standardised descriptors, and standardised values with NaN where one is missing."""
        values = ((labelled.values - self.scale.property_mean) / self.scale.property_std).astype("float32")
        arrays = (labelled.features.counts, self.scale.descriptors(labelled.features), values)
        return [torch.from_numpy(array).to(self.devices.device) for array in arrays]

    def _shape(self) -> PredictorShape:
        config = self.config
        scale: dict[str, Any] = {name: tuple(values.tolist()) for name, values in vars(self.scale).items()}
        same: dict[str, Any] = {
            name: getattr(config, name) for name in ("properties", "radius", "bits", "described_by", "members", "width", "layers")
        }
        return PredictorShape(**scale, **same, calibration=(1.0,) * len(config.properties), property_units=dict(self.labelled[0].units))
