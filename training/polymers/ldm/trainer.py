"""PolyLDM's training as a `Trainable`, and how near its latents come to those of held-out molecules."""

from typing import Any

import torch
from torch import Tensor

from stages.derived_seed import derive_seed
from training.loop.devices import Devices
from training.loop.ema import Ema
from training.loop.loop import StepOutcome, backward_and_step, linear_schedule
from training.loop.seeding import generator, seed_everything
from training.metrics.frechet import frechet_distance
from training.polymers.ldm.config import PolyLDMConfig
from training.polymers.ldm.latents import LatentBatch, LatentSet, LatentStream
from training.polymers.ldm.networks import Diffuser, PolyLDM, PolyLDMShape
from training.polymers.vae.networks import PolyVAE

# Molecules of a validation: of either split for the losses, held out for the distance.
_VALIDATED, _COMPARED = 1024, 4096


class PolyLDMTrainer:
    """Learns to tell the noise in posterior samples of a frozen PolyVAE, drawn anew each time. vae: on the device, in evaluation mode."""

    def __init__(self, vae: PolyVAE, train: LatentSet, valid: LatentSet, config: PolyLDMConfig, devices: Devices) -> None:
        self.config, self.devices = config, devices
        seed_everything(config.seed)
        of_vae = {name: getattr(vae.shape, name) for name in ("vocabulary_size", "maximum_tokens", "latent")}
        of_vae |= {name: getattr(vae.shape, name) for name in ("properties", "property_mean", "property_std", "property_units")}
        names = ("denoiser", "hidden_width", "step_width", "diffusion_steps", "schedule", "prediction", "condition_dropout")
        shape = PolyLDMShape(**of_vae, **{name: getattr(config, name) for name in names})
        self.model = PolyLDM(shape, vae).to(devices.device)
        self.model.latent_mean, self.model.latent_std = (part.to(devices.device) for part in train.statistics())
        self.diffuser = self.model.diffuser.requires_grad_(True)
        self.parameters = list(self.diffuser.parameters())
        self.optimizer = torch.optim.AdamW(self.parameters, lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
        self.ema = Ema(self.diffuser, half_life_samples=config.ema_half_life_samples, rampup=0.1)
        self.sets = {name: part.to(devices.device) for name, part in (("train", train), ("validation", valid)) if len(part)}
        seeds, dropout = (config.seed, "polyldm"), config.condition_dropout
        self.stream = LatentStream(self.sets["train"], config.batch_size, seeds, config.diffusion_steps, dropout)
        self.samples_seen = self.salt = 0

    def step(self) -> StepOutcome:
        # Every process draws the whole batch and learns from its share, in sums over the whole, which make the mean that one would have.
        config = self.config
        batch = self.stream.after(self.samples_seen, self.salt, at_most=config.samples - self.samples_seen)
        size, share = len(batch.rows), batch.share(self.devices.rank, self.devices.world_size)
        rate = config.learning_rate * linear_schedule(
            self.samples_seen,
            warmup_samples=config.warmup_samples,
            total_samples=config.samples,
            final_fraction=config.final_learning_rate_fraction,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        told, latents, noise, t = self._told(self.diffuser, self.sets["train"], share)
        schedule, prediction = self.model.schedule, config.prediction
        # E || noise - told ||^2 (Ho et al. 2020, eq. 14), or the same of v.
        loss = (told - schedule.target(latents, noise, t, prediction)).square().mean(dim=-1).sum() / size
        norm, skipped = backward_and_step(loss, self.optimizer, self.parameters, clip_norm=config.gradient_clip_norm, devices=self.devices)
        if not skipped:
            self.ema.update(self.diffuser, samples=size, seen=self.samples_seen)
        self.samples_seen += size
        epsilon = schedule.noise_loss(told.detach(), latents, noise, t, prediction).sum() / size
        losses = self.devices.sum(torch.stack([loss.detach(), epsilon]))
        values = {"loss": losses[0], "epsilon_loss": losses[1], "gradient_norm": norm, "learning_rate": rate}
        return StepOutcome(values, size, skipped)

    def state_dict(self) -> dict[str, Any]:
        states = {"diffuser": self.diffuser.state_dict(), "optimizer": self.optimizer.state_dict(), "ema": self.ema.state_dict()}
        return {"samples_seen": self.samples_seen, "salt": self.salt, **states}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.samples_seen, self.salt = state["samples_seen"], state["salt"]
        self.diffuser.load_state_dict(state["diffuser"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.ema.load_state_dict(state["ema"])

    def reseed(self, rollback: int) -> None:
        self.salt = rollback

    def final_model(self) -> PolyLDM:
        """The model to save, with the averaged weights."""
        model = PolyLDM(self.model.shape, self.model.vae, self.ema.averaged(self.diffuser)).to(self.devices.device)
        model.latent_mean, model.latent_std = self.model.latent_mean, self.model.latent_std
        return model.eval()

    @torch.inference_mode()
    def validate(self) -> dict[str, float]:
        """Of the averaged weights: the error of the noise on molecules of both splits, in all and by thirds of the steps; and latent distances."""
        model = self.final_model()
        values: dict[str, float] = {}
        for name, data in self.sets.items():
            # Always the same molecules, steps and noises.
            stream = LatentStream(data, _VALIDATED, (self.config.seed, "polyldm", name), self.config.diffusion_steps)
            batch = stream.after(0, at_most=_VALIDATED)
            errors = model.schedule.noise_loss(*self._told(model.diffuser, data, batch), self.config.prediction)
            values[f"{name}_epsilon_loss"] = float(errors.mean())
            third = batch.t * 3 // self.config.diffusion_steps
            for place, part in enumerate(("low", "middle", "high")):
                if (third == place).any():
                    values[f"{name}_epsilon_loss_{part}_noise"] = float(errors.cpu()[third == place].mean())
        return values | self._distances(model)

    def _told(self, diffuser: Diffuser, data: LatentSet, batch: LatentBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What is told of the noised latents of a batch, the standardised latents, their noise, and the steps."""
        model, device = self.model, self.devices.device
        latents = (data.samples(batch.rows, batch.posterior_noise) - model.latent_mean) / model.latent_std
        noise, t, properties = batch.noise.to(device), batch.t.to(device), data.properties[batch.rows.to(device)]
        # The embedding is the PolyVAE's until it is set free; without gradients the optimizer passes it over.
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.samples_seen >= self.config.unfreeze_at_samples):
            embedding = diffuser.embed(properties, batch.mask.to(device))
        return diffuser(model.schedule.noised(latents, noise, t), t, embedding), latents, noise, t

    def _distances(self, model: PolyLDM) -> dict[str, float]:
        """Fréchet distances, in PolyVAE's latent space, from posterior samples of held-out molecules: of latents sampled for the properties of the
        same molecules, of normal draws, which is what PolyVAE itself writes from, and of other posterior samples of the training molecules, which is
        as near as can be had.
        """
        data = self.sets.get("validation")
        if data is None or len(data) < 2:
            return {}
        random, L = generator(derive_seed(self.config.seed, "distance")), model.shape.latent

        def draw() -> Tensor:
            return torch.randn(_COMPARED, L, generator=random)

        def posterior(split: str) -> Tensor:
            # As many of each as can be, over again where there are fewer molecules.
            return self.sets[split].samples(torch.randperm(_COMPARED, generator=random) % len(self.sets[split]), draw())

        rows = (torch.arange(_COMPARED) % len(data)).to(self.devices.device)
        properties = data.properties[rows]
        made = model.latents(properties, ~properties.isnan(), lambda: draw().to(self.devices.device), steps=self.config.validation_steps)
        held_out = posterior("validation").cpu().numpy()
        found = {"": made, "_prior": draw(), "_train": posterior("train")}
        return {f"latent_distance{name}": frechet_distance(latents.cpu().numpy(), held_out) for name, latents in found.items()}
