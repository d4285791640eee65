"""What the two players of a Progressive GAN minimise at the resolution of the moment, and the real pictures of that resolution.

Source: Karras et al. 2018, section 2 and appendix A.1; Gulrajani et al. 2017 (WGAN-GP); non-saturating with R1: Mescheder et al. 2018.
"""

from collections.abc import Hashable, Iterator

import torch
from torch import Tensor

from training.gans.image_stream import ImageOrder, TrainingImages, batch_of, random_latents
from training.gans.losses import (
    between,
    drift_penalty,
    gradient_penalty,
    non_saturating_d,
    non_saturating_g,
    r1_penalty,
    wasserstein_d,
    wasserstein_g,
)
from training.gans.players import Inputs, Moment, PartLoss, Phase, parts_of_batch
from training.loop.devices import Devices, moved
from training.loop.seeding import generator
from training.progressive.discriminator import Discriminator
from training.progressive.generator import Generator
from training.progressive.layers import faded
from training.progressive.options import ProgressiveOptions

_AT_ONCE = 256


class Pyramid:
    """Pictures at lower resolutions, made when they are asked for; the last level stays, as a phase asks for one and the same.

    On the GPU where there is one, if the level leaves it room; the full size may stay in the computer's own memory.
    """

    def __init__(self, data: TrainingImages, devices: Devices) -> None:
        self.data = self._level = data.near(devices)
        self._devices = devices

    def at(self, px: int) -> TrainingImages:
        """The pictures at `px`: each pixel the mean of a box, in whole numbers, halves rounded up, as `formats.image_shards` makes them."""
        if px == self.data.resolution:
            self._level = self.data
        elif px != self._level.resolution:
            self._level = TrainingImages(torch.cat([_boxes(part, px) for part in self.data.images.split(_AT_ONCE)])).near(self._devices)
        return self._level


def _boxes(images: Tensor, px: int) -> Tensor:
    N, C, H, _ = images.shape
    factor = H // px
    sums = images.view(N, C, px, factor, px, factor).sum(dim=(3, 5), dtype=torch.int32)
    return ((sums + factor * factor // 2) // factor**2).to(torch.uint8)


class ProgressiveLosses:
    """The two phases of an iteration. All random numbers come from (seed, purpose, roll-backs, iteration)."""

    def __init__(
        self, generator: Generator, discriminator: Discriminator, data: TrainingImages, options: ProgressiveOptions, devices: Devices
    ) -> None:
        self.generator, self.discriminator = generator, discriminator
        self.pyramid, self.options, self.devices = Pyramid(data, devices), options, devices
        self.order = ImageOrder(len(data), options.seed, mirror=options.mirror, purpose="reals of D")
        self.schedule = options.schedule(data.resolution)
        self.is_wasserstein = options.loss == "wgan-gp"

    def phases(self) -> list[Phase]:
        """D in every iteration, G in every `n_critic`-th."""
        return [
            Phase("D", "D", self.discriminator_losses, reported_as="d", inputs=self.discriminator_inputs, key=self.key),
            Phase("G", "G", self.generator_losses, every=self.options.n_critic, reported_as="g", inputs=self.generator_inputs, key=self.key),
        ]

    def key(self, now: Moment) -> Hashable:
        """What turns have in common that differ in their inputs, and in a fade in the networks' `share`, alone."""
        growth = self.schedule.at(now.samples_seen)
        return growth.phase, self.batch_at(now.samples_seen), now.rollback

    def generator_inputs(self, now: Moment) -> Inputs:
        return {"z": self._latents("G", now, self.batch_at(now.samples_seen))}

    def discriminator_inputs(self, now: Moment) -> Inputs:
        batch = self.batch_at(now.samples_seen)
        share = torch.rand(batch, generator=generator(self.options.seed, "between", now.rollback, now.iteration))
        return {"reals": self.reals(now, batch), "z": self._latents("D", now, batch), "share": moved(share, self.devices.device)}

    def batch_at(self, images: int) -> int:
        """Pictures of the iteration that begins after so many: no more than are left of the phase, which ends at its exact picture."""
        growth = self.schedule.at(images)
        batch = self.options.batch_of(growth.px)
        return batch if growth.end is None else min(batch, growth.end - images)

    def generator_losses(self, now: Moment, given: Inputs | None = None) -> Iterator[PartLoss]:
        """Fakes should look real."""
        batch = self.batch_at(now.samples_seen)
        z = (self.generator_inputs(now) if given is None else given)["z"]
        loss = wasserstein_g if self.is_wasserstein else non_saturating_g
        for rows in self._parts(batch):
            yield loss(self._logits(self._fakes(z[rows]))).sum() / batch, {}

    def discriminator_losses(self, now: Moment, given: Inputs | None = None) -> Iterator[PartLoss]:
        """Reals, faded as the networks are, should look real and fakes fake; the penalty comes behind, at the same pictures.

        Reports mean logits, the penalty by itself and, for losses with a bound between real and fake, mean signs.
        """
        options, batch = self.options, self.batch_at(now.samples_seen)
        given = self.discriminator_inputs(now) if given is None else given
        reals, z, share = given["reals"], given["z"], given["share"]
        # Twice the penalty for each roll-back.
        stricter = 2.0**now.rollback
        for rows in self._parts(batch):
            with torch.no_grad():
                fakes = self._fakes(z[rows])
            real_logits, fake_logits = self._logits(torch.cat([reals[rows], fakes]), sets=2).chunk(2)
            shown = {"real_logit": real_logits.detach(), "fake_logit": fake_logits.detach()}
            if self.is_wasserstein:
                loss = wasserstein_d(real_logits, fake_logits) + options.drift * drift_penalty(real_logits)
            else:
                loss = non_saturating_d(real_logits, fake_logits)
                shown |= {"r_t": shown["real_logit"].sign(), "fake_sign": shown["fake_logit"].sign()}
            yield loss.sum() / batch, {name: value.sum() / batch for name, value in shown.items()}
            if self.is_wasserstein and options.gp_lambda:
                images = between(reals[rows], fakes, share[rows])
                penalty = gradient_penalty(self._logits(images), images).sum() / batch
                yield penalty * options.gp_lambda * stricter, {"gradient_penalty": penalty.detach()}
            elif not self.is_wasserstein and options.gamma:
                images = reals[rows].detach().requires_grad_()
                penalty = r1_penalty(self._logits(images), images).sum() / batch
                yield penalty * options.gamma / 2 * stricter, {"r1_penalty": penalty.detach()}

    def reals(self, now: Moment, batch: int) -> Tensor:
        """The real pictures of an iteration as D is shown them: of the resolution of the moment, and faded as the networks are."""
        growth = self.schedule.at(now.samples_seen)
        level = self.pyramid.at(growth.px)
        images, _ = batch_of(level, self.order, now.samples_seen, batch, self.devices.device, salt=now.rollback)
        return faded(images, growth.alpha)

    def _parts(self, batch: int) -> Iterator[slice]:
        return parts_of_batch(batch, self.options.side_by_side, self.devices)

    def _latents(self, phase: str, now: Moment, batch: int) -> Tensor:
        purpose = (self.options.seed, f"latents of {phase}", now.rollback, now.iteration)
        return random_latents(self.generator.config.z_dim, batch, None, *purpose, device=self.devices.device)[0]

    def _fakes(self, z: Tensor) -> Tensor:
        with self.devices.autocast(self.options.precision):
            return self.generator.draw(self.generator.latents(z))

    def _logits(self, images: Tensor, *, sets: int = 1) -> Tensor:
        with self.devices.autocast(self.options.precision):
            return self.discriminator(images, sets)
