"""What the two players of StyleGAN3 minimise, part by part of a batch; the turns themselves are training/gans/players.py.

Source: Karras et al. 2021 (StyleGAN3), appendix; Karras et al. 2020 (StyleGAN2: lazy regularisation; ADA); Huang et al. 2024 (relativistic loss
with R1 and R2).
"""

from collections.abc import Iterator

import torch
from torch import Tensor

from training.gans.augment import Augment
from training.gans.graphs import TurnRandom
from training.gans.image_stream import ImageOrder, TrainingImages, batch_of, random_latents
from training.gans.losses import non_saturating_d, non_saturating_g, r1_penalty, r2_penalty, relativistic_d, relativistic_g
from training.gans.players import Inputs, Moment, PartLoss, Phase, parts_of_batch
from training.loop.devices import Devices, moved
from training.stylegan3.blur import blur_matrix, blur_sigma_px, blurred
from training.stylegan3.discriminator import Discriminator
from training.stylegan3.generator import Generator
from training.stylegan3.options import StyleGAN3Options


class StyleGAN3Losses:
    """The three phases of an iteration. augment: None for none. All random numbers come from (seed, purpose, roll-backs, iteration).

    Losses depend on their inputs (z, c, reals, real_c and, while pictures are blurred, blur) and on `random`, which making the inputs seeds.
    """

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
        self.random = TurnRandom(devices.device, options.seed)
        self.orders = {name: ImageOrder(len(data), options.seed, mirror=options.mirror, purpose=f"reals of {name}") for name in ("D", "G")}

    def phases(self) -> list[Phase]:
        """G, D and, every `reg_interval` iterations, the gradient penalty as a step of its own."""
        phases = [
            Phase("G", "G", self.generator_losses, reported_as="g", inputs=self.generator_inputs, key=self.key),
            Phase("D", "D", self.discriminator_losses, reported_as="d", inputs=self.discriminator_inputs, key=self.key),
        ]
        if self.gamma:
            inputs = self.penalty_inputs
            phases.append(Phase("D_reg", "D", self.penalties, every=self.options.reg_interval, inputs=inputs, key=self.key))
        return phases

    def key(self, now: Moment) -> int:
        """What turns have in common that differ in their inputs alone."""
        return now.rollback

    def generator_inputs(self, now: Moment) -> Inputs:
        return self._inputs(now, latents="G", reals="G" if self.is_relative else None)

    def discriminator_inputs(self, now: Moment) -> Inputs:
        return self._inputs(now, latents="D", reals="D")

    def penalty_inputs(self, now: Moment) -> Inputs:
        return self._inputs(now, latents="D_reg" if self.is_relative else None, reals="D")

    def generator_losses(self, now: Moment, given: Inputs | None = None) -> Iterator[PartLoss]:
        """Fakes should look real, or with the relativistic loss more real than the reals they are paired with."""
        given = self.generator_inputs(now) if given is None else given
        z, labels, reals, real_labels = given["z"], given.get("c"), given.get("reals"), given.get("real_c")
        for rows in self._parts():
            c = _rows(labels, rows)
            fake_logits = self._logits(self._fakes(z[rows], c), c, "G fakes", rows, given)
            if reals is None:
                loss = non_saturating_g(fake_logits)
            else:
                loss = relativistic_g(self._logits(reals[rows], _rows(real_labels, rows), "G reals", rows, given).detach(), fake_logits)
            yield loss.sum() / self.options.batch, {}

    def discriminator_losses(self, now: Moment, given: Inputs | None = None) -> Iterator[PartLoss]:
        """Reals should look real and fakes fake. Reports the mean logits and their mean signs; r_t, the sign on reals, is what ADA steers by."""
        batch = self.options.batch
        given = self.discriminator_inputs(now) if given is None else given
        z, labels, reals, real_labels = given["z"], given.get("c"), given["reals"], given.get("real_c")
        self.generator.forget_observed()
        pair_loss = relativistic_d if self.is_relative else non_saturating_d
        for rows in self._parts():
            c = _rows(labels, rows)
            with torch.no_grad():
                fakes = self._fakes(z[rows], c, observe=True)
            fake_logits = self._logits(fakes, c, "D fakes", rows, given)
            real_logits = self._logits(reals[rows], _rows(real_labels, rows), "D reals", rows, given)
            real, fake = (logits.detach().float() for logits in (real_logits, fake_logits))
            shown = {"r_t": real.sign(), "fake_sign": fake.sign(), "real_logit": real, "fake_logit": fake}
            yield pair_loss(real_logits, fake_logits).sum() / batch, {name: value.sum() / batch for name, value in shown.items()}
        # G's running averages (of w, for truncation, and of input magnitudes) take one step an iteration, whatever the batch was cut into.
        self.generator.move_averages(self.devices.sum)

    def penalties(self, now: Moment, given: Inputs | None = None) -> Iterator[PartLoss]:
        """R1, and with the relativistic loss R2 too, times gamma / 2; twice as much for each roll-back, and `reg_interval` times for being lazy.

        Reports the penalties by themselves: mean squared norms of D's gradient.
        """
        weight = self.gamma * 2.0**now.rollback / 2 * self.options.reg_interval
        given = self.penalty_inputs(now) if given is None else given
        reals, real_labels, labels = given["reals"], given.get("real_c"), given.get("c")
        for rows in self._parts():
            images = reals[rows].requires_grad_()
            r1 = r1_penalty(self._logits(images, _rows(real_labels, rows), "D_reg reals", rows, given), images).sum() / self.options.batch
            yield r1 * weight, {"r1_penalty": r1.detach()}
            if self.is_relative:
                c = _rows(labels, rows)
                with torch.no_grad():
                    fakes = self._fakes(given["z"][rows], c)
                fakes.requires_grad_()
                r2 = r2_penalty(self._logits(fakes, c, "D_reg fakes", rows, given), fakes).sum() / self.options.batch
                yield r2 * weight, {"r2_penalty": r2.detach()}

    def _parts(self) -> Iterator[slice]:
        return parts_of_batch(self.options.batch, self.options.side_by_side, self.devices)

    def _inputs(self, now: Moment, *, latents: str | None, reals: str | None) -> Inputs:
        self.random.begin(now.rollback, now.iteration)
        z, c = self._latents(latents, now) if latents else (None, None)
        images, real_c = self._reals(reals, now) if reals else (None, None)
        sigma = self._blur_sigma_px(now)
        blur = moved(blur_matrix(self.data.resolution, sigma), self.devices.device) if sigma else None
        named = {"z": z, "c": c, "reals": images, "real_c": real_c, "blur": blur}
        return {name: tensor for name, tensor in named.items() if tensor is not None}

    def _latents(self, phase: str, now: Moment) -> tuple[Tensor, Tensor | None]:
        purpose = (self.options.seed, f"latents of {phase}", now.rollback, now.iteration)
        return random_latents(self.generator.config.z_dim, self.options.batch, self.data.labels, *purpose, device=self.devices.device)

    def _reals(self, phase: str, now: Moment) -> tuple[Tensor, Tensor | None]:
        return batch_of(self.data, self.orders[phase], now.samples_seen, self.options.batch, self.devices.device, salt=now.rollback)

    def _fakes(self, z: Tensor, c: Tensor | None, *, observe: bool = False) -> Tensor:
        return self.generator(z, c, observe=observe)

    def _logits(self, images: Tensor, c: Tensor | None, purpose: str, rows: slice, given: Inputs) -> Tensor:
        """What D says of pictures, those of `rows` of the batch, as it sees them: blurred at the beginning of configuration R, and augmented."""
        if "blur" in given:
            images = blurred(images, given["blur"])
        if self.augment is not None:
            images = self.augment(images, self.random.of(f"augment {purpose}", rows.start), rows=rows, batch=self.options.batch)
        return self.discriminator(images, c)

    def _blur_sigma_px(self, now: Moment) -> float:
        # Networks that know pictures already need no soft start.
        if not self.generator.config.is_rotation_equivariant or self.options.resume_from is not None:
            return 0.0
        return blur_sigma_px(now.samples_seen, batch_size=self.options.batch)


def _rows(labels: Tensor | None, rows: slice) -> Tensor | None:
    return None if labels is None else labels[rows]
