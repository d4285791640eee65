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
        for rows in self._parts():
            c = _rows(labels, rows)
            fake_logits = self._logits(self._fakes(z[rows], c), c, "G fakes", rows, now)
            if reals is None:
                loss = non_saturating_g(fake_logits)
            else:
                loss = relativistic_g(self._logits(reals[rows], _rows(real_labels, rows), "G reals", rows, now).detach(), fake_logits)
            yield loss.sum() / self.options.batch, {}

    def discriminator_losses(self, now: Moment) -> Iterator[PartLoss]:
        """Reals should look real and fakes fake. Reports the mean logits and their mean signs; r_t, the sign on reals, is what ADA steers by."""
        batch = self.options.batch
        z, labels = self._latents("D", now)
        reals, real_labels = self._reals("D", now)
        pair_loss = relativistic_d if self.is_relative else non_saturating_d
        for rows in self._parts():
            c = _rows(labels, rows)
            with torch.no_grad():
                fakes = self._fakes(z[rows], c, observe=True)
            fake_logits = self._logits(fakes, c, "D fakes", rows, now)
            real_logits = self._logits(reals[rows], _rows(real_labels, rows), "D reals", rows, now)
            real, fake = (logits.detach().float() for logits in (real_logits, fake_logits))
            shown = {"r_t": real.sign(), "fake_sign": fake.sign(), "real_logit": real, "fake_logit": fake}
            yield pair_loss(real_logits, fake_logits).sum() / batch, {name: value.sum() / batch for name, value in shown.items()}
        # G's running averages (of w, for truncation, and of input magnitudes) take one step an iteration, whatever the batch was cut into.
        self.generator.move_averages(self.devices.sum)

    def penalties(self, now: Moment) -> Iterator[PartLoss]:
        """R1, and with the relativistic loss R2 too, times gamma / 2; twice as much for each roll-back, and `reg_interval` times for being lazy.

        Reports the penalties by themselves: mean squared norms of D's gradient.
        """
        weight = self.gamma * 2.0**now.rollback / 2 * self.options.reg_interval
        reals, real_labels = self._reals("D", now)
        z, labels = self._latents("D_reg", now)
        for rows in self._parts():
            images = reals[rows].requires_grad_()
            r1 = r1_penalty(self._logits(images, _rows(real_labels, rows), "D_reg reals", rows, now), images).sum() / self.options.batch
            yield r1 * weight, {"r1_penalty": r1.detach()}
            if self.is_relative:
                c = _rows(labels, rows)
                with torch.no_grad():
                    fakes = self._fakes(z[rows], c)
                fakes.requires_grad_()
                r2 = r2_penalty(self._logits(fakes, c, "D_reg fakes", rows, now), fakes).sum() / self.options.batch
                yield r2 * weight, {"r2_penalty": r2.detach()}

    def _parts(self) -> Iterator[slice]:
        return parts_of_batch(self.options.batch, self.options.side_by_side, self.devices)

    def _latents(self, phase: str, now: Moment) -> tuple[Tensor, Tensor | None]:
        purpose = (self.options.seed, f"latents of {phase}", now.rollback, now.iteration)
        return random_latents(self.generator.config.z_dim, self.options.batch, self.data.labels, *purpose, device=self.devices.device)

    def _reals(self, phase: str, now: Moment) -> tuple[Tensor, Tensor | None]:
        return batch_of(self.data, self.orders[phase], now.samples_seen, self.options.batch, self.devices.device, salt=now.rollback)

    def _fakes(self, z: Tensor, c: Tensor | None, *, observe: bool = False) -> Tensor:
        return self.generator(z, c, observe=observe)

    def _logits(self, images: Tensor, c: Tensor | None, purpose: str, rows: slice, now: Moment) -> Tensor:
        """What D says of pictures, those of `rows` of the batch, as it sees them: blurred at the beginning of configuration R, and augmented."""
        # Networks that know pictures already need no soft start.
        if self.generator.config.is_rotation_equivariant and self.options.resume_from is None:
            images = gaussian_blur(images, blur_sigma_px(now.samples_seen, batch_size=self.options.batch))
        if self.augment is not None:
            random = device_generator(self.devices.device, self.options.seed, f"augment {purpose}", now.rollback, now.iteration)
            images = self.augment(images, random, rows=rows, batch=self.options.batch)
        return self.discriminator(images, c)


def _rows(labels: Tensor | None, rows: slice) -> Tensor | None:
    return None if labels is None else labels[rows]
