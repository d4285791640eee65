"""PolyLDM's training as a `Trainable`, and how near its latents come to those of held-out molecules."""

import functools
import math
from dataclasses import fields

import torch
from torch import Tensor

from training.loop.devices import Devices, moved
from training.loop.loop import StepOutcome
from training.loop.seeding import generator, seed_everything
from training.metrics.frechet import frechet_distance
from training.polymers.ldm.config import Diffusion, PolyLDMConfig
from training.polymers.ldm.latents import LatentBatch, LatentSet, LatentStream
from training.polymers.ldm.networks import Diffuser, PolyLDM, PolyLDMShape
from training.polymers.ldm.schedule import NoiseSchedule
from training.polymers.trainer import MoleculeTrainer
from training.polymers.vae import PolyVAE

# Molecules of a validation: of either split for the losses, drawn and held out for the distances.
_VALIDATED, _COMPARED = 1024, 2048


class PolyLDMTrainer(MoleculeTrainer[PolyLDMConfig]):
    """Learns to tell the noise in posterior samples of a frozen PolyVAE, drawn anew each time. vae: in evaluation mode, without gradients."""

    def __init__(self, vae: PolyVAE, train: LatentSet, valid: LatentSet, config: PolyLDMConfig, devices: Devices) -> None:
        self.train, self.valid = train, valid
        seed_everything(config.seed)
        kept = {field.name: getattr(config, field.name) for field in fields(Diffusion)}
        of_vae = {name: getattr(vae.shape, name) for name in ("latent", "vocabulary_size", "properties")}
        self.model = PolyLDM(PolyLDMShape(**kept, **of_vae), vae).to(devices.device)
        # Where the steps of a batch are looked up in it, so that none waits for it to come.
        self.schedule = NoiseSchedule(self.model.schedule.signal_share.to(devices.device))
        self.diffuser = self.model.diffuser.requires_grad_(True)
        self.diffuser.latent_mean, self.diffuser.latent_std = train.statistics()
        optimizer = torch.optim.AdamW(self.diffuser.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay, fused=True)
        self.stream = LatentStream(train, config.batch_size, (config.seed, "train"), config.diffusion_steps, config.condition_dropout)
        # The ramp keeps the network as it began out of a young average.
        super().__init__(self.diffuser, optimizer, {"train": self.stream}, config, devices, rampup=0.1)

    def step(self) -> StepOutcome:
        # Every process draws the whole batch and learns from its share, in sums over the whole, which add up to the mean.
        config, schedule, seen = self.config, self.schedule, self.samples_seen
        batch = self.stream.after(seen, at_most=config.total_samples - seen)
        size, share = len(batch.rows), LatentBatch(*(part[self.devices.rank :: self.devices.world_size] for part in batch))
        # E || noise - told ||^2 (Ho et al. 2020, eq. 14), or the same of v, as a mean over dimensions.
        told, latents, noise, t = self._told(self.diffuser, self.train, share)
        loss = (told - schedule.target(latents, noise, t, config.prediction)).square().mean(dim=-1).sum() / size
        epsilon_loss = schedule.noise_loss(told.detach(), latents, noise, t, config.prediction).sum() / size
        rate = self.rate(config.learning_rate, seen, config.total_samples)
        return self.learned({"loss": loss, "epsilon_loss": epsilon_loss}, size, {"learning_rate": rate})

    def final_model(self) -> PolyLDM:
        """The model to save, with the averaged weights."""
        return PolyLDM(self.model.shape, self.model.vae, super().final_model()).eval()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Of the averaged weights: the error of the noise on molecules of both splits, in all and by thirds of the steps; and latent distances."""
        model, steps = self.final_model(), self.config.diffusion_steps
        values: dict[str, float] = {}
        for name, data in (("train", self.train), ("validation", self.valid)):
            if len(data):
                # Always the same molecules, steps and noises.
                batch = LatentStream(data, _VALIDATED, (self.config.seed, "valid", name), steps).after(0, at_most=_VALIDATED)
                errors = self.schedule.noise_loss(*self._told(model.diffuser, data, batch), self.config.prediction).cpu()
                values[f"{name}_epsilon_loss"] = float(errors.mean())
                for third, part in enumerate(("low", "middle", "high")):
                    values[f"{name}_epsilon_loss_{part}_noise"] = float(errors[batch.t * 3 // steps == third].mean())
        return {name: value for name, value in {**values, **self._distances(model)}.items() if math.isfinite(value)}

    def _told(self, diffuser: Diffuser, data: LatentSet, batch: LatentBatch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What is told of the noised latents of a batch; then the latents themselves, their noise, and the steps."""
        device = self.devices.device
        latents = (data.samples(batch.rows, batch.posterior_noise) - diffuser.latent_mean) / diffuser.latent_std
        noise, t, properties = moved(batch.noise, device), moved(batch.t, device), data.properties[moved(batch.rows, device)]
        # Until it is set free, the embedding is the PolyVAE's: the optimizer passes over what has no gradient.
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.samples_seen >= self.config.unfreeze_at_samples):
            embedding = diffuser.embed(properties, moved(batch.mask, device))
        return diffuser(self.schedule.noised(latents, noise, t), t, embedding), latents, noise, t

    def _distances(self, model: PolyLDM) -> dict[str, float]:
        """Fréchet distances, of raw latents, from posterior samples of held-out molecules: of latents sampled for the properties of these molecules,
        of normal draws, which is what PolyVAE itself writes from, and of posterior samples of training molecules, which is as near as can be had.
        """
        if len(self.valid) < 2:
            return {}
        random, device = generator(self.config.seed, "distances"), self.devices.device
        draw = functools.partial(torch.randn, _COMPARED, model.shape.latent, generator=random)
        # Held-out molecules are taken over and over where there are fewer of them.
        rows = torch.arange(_COMPARED) % len(self.valid)
        held_out, properties = self.valid.samples(rows, draw()), self.valid.properties[rows.to(device)]
        made = model.latents(properties, ~properties.isnan(), lambda: draw().to(device), steps=self.config.validation_steps)
        taught = self.train.samples(torch.randint(len(self.train), (_COMPARED,), generator=random), draw())
        found = {"": made, "_prior": draw(), "_train": taught}
        return {f"latent_distance{name}": frechet_distance(latents.cpu().numpy(), held_out.cpu().numpy()) for name, latents in found.items()}
