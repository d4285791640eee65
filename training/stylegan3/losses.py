"""What the two players of StyleGAN3 minimise, part by part of a batch; the turns themselves are training/gans/players.py.

Source: Karras et al. 2021 (StyleGAN3), appendix; Karras et al. 2020 (StyleGAN2: lazy regularisation; ADA); Huang et al. 2024 (relativistic loss
with R1 and R2).
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from training.gans.augment import Augment
from training.gans.image_stream import ImageOrder, TrainingImages, batch_of, device_generator, random_latents
from training.gans.losses import non_saturating_d, non_saturating_g, r1_penalty, r2_penalty, relativistic_d, relativistic_g
from training.gans.players import Moment, PartLoss, Phase, parts_of_batch
from training.loop.devices import Devices
from training.stylegan3.blur import blur_sigma_px, gaussian_blur
from training.stylegan3.discriminator import Discriminator
from training.stylegan3.generator import Generator
from training.stylegan3.options import StyleGAN3Options


class StyleGAN3Losses:
    """The three phases of an iteration. augment: None for none. All random numbers come from (seed, purpose, roll-backs, iteration)."""

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        augment: Augment | None,
        data: TrainingImages,
        options: StyleGAN3Options,
        devices: Devices,
    ) -> None:
        self.generator, self.discriminator, self.augment = generator, discriminator, augment
        self.data, self.options, self.devices = data, options, devices
        self.gamma = options.resolved_gamma(data.resolution)
        self.is_relative = options.loss == "rpgan"
        self.orders = {name: ImageOrder(len(data), options.seed, mirror=options.mirror, purpose=f"reals of {name}") for name in ("D", "G")}

    def phases(self) -> list[Phase]:
        """G, D and, every `reg_interval` iterations, the gradient penalty as a step of its own."""
        phases = [Phase("G", "G", self.generator_losses, reported_as="g"), Phase("D", "D", self.discriminator_losses, reported_as="d")]
        return [*phases, Phase("D_reg", "D", self.penalties, every=self.options.reg_interval)] if self.gamma else phases

    def generator_losses(self, now: Moment) -> Iterator[PartLoss]:
        """Fakes should look real, or with the relativistic loss more real than the reals they are paired with."""
        z, labels = self._latents("G", now)
        reals, real_labels = self._reals("G", now) if self.is_relative else (None, None)
        for part, rows in self._parts():
            c = _rows(labels, rows)
            fake_logits = self._logits(self._fakes(z[rows], c), c, "G fakes", part, now)
            if reals is None:
                loss = non_saturating_g(fake_logits)
            else:
                loss = relativistic_g(self._logits(reals[rows], _rows(real_labels, rows), "G reals", part, now).detach(), fake_logits)
            yield loss.sum() / self.options.batch, {}

    def discriminator_losses(self, now: Moment) -> Iterator[PartLoss]:
        """Reals should look real and fakes fake. Reports the mean signs of the logits; r_t is the one that ADA steers by."""
        batch = self.options.batch
        z, labels = self._latents("D", now)
        reals, real_labels = self._reals("D", now)
        pair_loss = relativistic_d if self.is_relative else non_saturating_d
        for part, rows in self._parts():
            c = _rows(labels, rows)
            # G's running averages (of w, for truncation, and of input magnitudes) follow here, once an iteration.
            with torch.no_grad():
                fakes = self._fakes(z[rows], c, update_averages=True)
            fake_logits = self._logits(fakes, c, "D fakes", part, now)
            real_logits = self._logits(reals[rows], _rows(real_labels, rows), "D reals", part, now)
            signs = {"r_t": real_logits, "fake_sign": fake_logits}
            yield (
                pair_loss(real_logits, fake_logits).sum() / batch,
                {name: logits.detach().float().sign().sum() / batch for name, logits in signs.items()},
            )
        self._share_averages()

    def penalties(self, now: Moment) -> Iterator[PartLoss]:
        """R1, and with the relativistic loss R2 too, times gamma / 2; twice as much for each roll-back, and `reg_interval` times for being lazy."""
        weight = self.gamma * 2.0**now.rollback / 2 * self.options.reg_interval
        reals, real_labels = self._reals("D", now)
        z, labels = self._latents("D_reg", now)
        for part, rows in self._parts():
            images = reals[rows].requires_grad_()
            logits = self._logits(images, _rows(real_labels, rows), "D_reg reals", part, now)
            yield r1_penalty(logits, images).sum() * (weight / self.options.batch), {}
            if self.is_relative:
                c = _rows(labels, rows)
                with torch.no_grad():
                    fakes = self._fakes(z[rows], c)
                fakes.requires_grad_()
                logits = self._logits(fakes, c, "D_reg fakes", part, now)
                yield r2_penalty(logits, fakes).sum() * (weight / self.options.batch), {}

    def _parts(self) -> Iterator[tuple[int, slice]]:
        return parts_of_batch(self.options.batch, self.options.side_by_side, self.devices)

    def _latents(self, phase: str, now: Moment) -> tuple[Tensor, Tensor | None]:
        purpose = (self.options.seed, f"latents of {phase}", now.rollback, now.iteration)
        return random_latents(self.generator.config.z_dim, self.options.batch, self.data.labels, *purpose, device=self.devices.device)

    def _reals(self, phase: str, now: Moment) -> tuple[Tensor, Tensor | None]:
        return batch_of(self.data, self.orders[phase], now.samples_seen, self.options.batch, self.devices.device, salt=now.rollback)

    def _fakes(self, z: Tensor, c: Tensor | None, *, update_averages: bool = False) -> Tensor:
        ws = self.generator.mapping(z, c, update_emas=update_averages)
        return self.generator.synthesis(ws, update_emas=update_averages)

    def _logits(self, images: Tensor, c: Tensor | None, purpose: str, part: int, now: Moment) -> Tensor:
        """What D says of pictures as it sees them: blurred at the beginning of configuration R, and augmented."""
        if self.generator.config.is_rotation_equivariant:
            images = gaussian_blur(images, blur_sigma_px(now.samples_seen, batch_size=self.options.batch))
        if self.augment is not None:
            random = device_generator(self.devices.device, self.options.seed, f"augment {purpose}", now.rollback, now.iteration, part)
            images = self.augment(images, random)
        return self.discriminator(images, c)

    def _share_averages(self) -> None:
        """G's running averages are the mean over all processes."""
        if self.devices.world_size > 1:
            for name, buffer in self.generator.named_buffers():
                if name.endswith(("w_avg", "magnitude_ema")):
                    buffer.copy_(self.devices.sum(buffer.clone()) / self.devices.world_size)


def _rows(labels: Tensor | None, rows: slice) -> Tensor | None:
    return None if labels is None else labels[rows]
