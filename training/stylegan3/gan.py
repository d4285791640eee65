"""The adversarial training of StyleGAN3 as one `Trainable`: an iteration of both networks, the averages, the augmentation's strength.

Source: Karras et al. 2021 (StyleGAN3), appendix; Karras et al. 2020 (StyleGAN2: lazy regularisation; ADA); Huang et al. 2024 (relativistic loss
with R1 and R2).
"""

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from training.gans.augment import Augment
from training.gans.image_stream import ImageOrder, TrainingImages, batch_of, device_generator, random_latents
from training.gans.losses import (
    non_saturating_d,
    non_saturating_g,
    r1_penalty,
    r2_penalty,
    relativistic_d,
    relativistic_g,
)
from training.loop.collapse_guard import GradientWatch, gradient_norm
from training.loop.devices import Devices
from training.loop.ema import Ema
from training.loop.loop import StepOutcome
from training.stylegan3.blur import blur_sigma_px, gaussian_blur
from training.stylegan3.discriminator import Discriminator
from training.stylegan3.generator import Generator
from training.stylegan3.options import StyleGAN3Options

_BETAS, _EPSILON = (0.0, 0.99), 1e-8
_LARGEST_GRADIENT = 1e5
_ADA_INTERVAL = 4
# A transfer starts from networks that know images already: the augmentation may follow faster.
_ADA_KIMG_OF_A_TRANSFER = 100.0


class AugmentController:
    """The probability p of augmentations: up while D knows the reals too well, down while it does not (Karras et al. 2020, ADA).

    Every four iterations p moves by sign(r_t - target) · images / (1000 · kimg), where r_t is the mean sign of D's logits on reals.
    Differs from the published program: p stays in [0, 1], because a p above 1 does nothing but take long to come back.
    """

    def __init__(self, p: float, *, target: float, kimg: float) -> None:
        self.p, self.target, self.kimg = p, target, kimg
        self._signs = self._count = 0.0
        self._iterations = 0

    def observe(self, sign_mean: float, images: int) -> None:
        """After one iteration: the mean sign of the logits on `images` reals."""
        self._signs += sign_mean * images
        self._count += images
        self._iterations += 1
        if self._iterations < _ADA_INTERVAL:
            return
        r_t = self._signs / self._count
        step = self._count / (1000 * self.kimg)
        self.p = min(1.0, max(0.0, self.p + math.copysign(step, r_t - self.target) * (r_t != self.target)))
        self._signs = self._count = 0.0
        self._iterations = 0

    def state_dict(self) -> dict[str, float]:
        return {"p": self.p, "signs": self._signs, "count": self._count, "iterations": self._iterations}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.p, self._signs, self._count, self._iterations = state["p"], state["signs"], state["count"], state["iterations"]


@dataclass
class _Player:
    """One network and what moves it. watches: by phase, because gradients of a penalty are of another size than those of a loss."""

    network: nn.Module
    parameters: list[nn.Parameter]
    optimizer: torch.optim.Optimizer
    learning_rate: float
    watches: dict[str, GradientWatch]


class GanTrainer:
    """StyleGAN3's training. augment: None for none.

    generator_ema: the state of the averaged generator to begin from, of a transfer. All random numbers come from (seed, purpose, iteration).
    """

    def __init__(
        self,
        generator: Generator,
        discriminator: Discriminator,
        augment: Augment | None,
        data: TrainingImages,
        options: StyleGAN3Options,
        devices: Devices,
        *,
        generator_ema: dict[str, Tensor] | None = None,
    ) -> None:
        self.options, self.devices, self.data = options, devices, data
        self.generator, self.discriminator = generator.to(devices.device).train(), discriminator.to(devices.device).train()
        self.augment = augment.to(devices.device) if augment is not None else None
        self.gamma = options.resolved_gamma(data.resolution)
        self.samples_seen = self.iteration = self.rollback = 0
        is_transfer = generator_ema is not None
        self.discriminator.freeze(options.freezed)
        self.players = {
            "G": self._player(self.generator, options.glr, lazy=False, phases=("G",)),
            # The penalty comes in every `reg_interval`-th iteration as a step of its own.
            "D": self._player(self.discriminator, options.dlr, lazy=True, phases=("D", "D_reg")),
        }
        self.ema_ramp = None if is_transfer else options.ema_rampup
        self.ema = Ema(self.generator, half_life_samples=options.ema_half_life_images, copied=[name for name, _ in self.generator.named_buffers()])
        if generator_ema is not None:
            self.ema.load_state_dict(generator_ema)
        ada_kimg = min(options.ada_kimg, _ADA_KIMG_OF_A_TRANSFER) if is_transfer else options.ada_kimg
        self.controller = AugmentController(options.p if options.aug == "fixed" else 0.0, target=options.target, kimg=ada_kimg)
        self.orders = {name: ImageOrder(len(data), options.seed, mirror=options.mirror, purpose=f"reals of {name}") for name in ("D", "G")}
        self._set_p()

    # What the loop asks for

    def step(self) -> StepOutcome:
        """One iteration: G, D and, every `reg_interval` iterations, the gradient penalty; then the averages and the augmentation."""
        batch = self.options.batch
        values, skipped = self._generator_phase()
        discriminator_values, discriminator_skipped = self._discriminator_phase()
        values |= discriminator_values
        skipped = skipped or discriminator_skipped
        if self.iteration % self.options.reg_interval == 0:
            skipped = self._penalty_phase() or skipped
        # At first the average is short, so that it does not drag the untrained weights along.
        self.ema.update(self.generator, samples=batch, most_half_life=self.ema_ramp * self.samples_seen if self.ema_ramp else None)
        self.samples_seen += batch
        self.iteration += 1
        names = list(values)
        sums = self.devices.sum(torch.stack([values[name] for name in names])).tolist()
        shown = dict(zip(names, sums, strict=True))
        if self.options.aug == "ada" and math.isfinite(shown["r_t"]):
            self.controller.observe(shown["r_t"], batch)
            self._set_p()
        return StepOutcome({**shown, "p": self.controller.p}, batch, skipped)

    def state_dict(self) -> dict[str, Any]:
        return {
            "samples_seen": self.samples_seen,
            "iteration": self.iteration,
            "rollback": self.rollback,
            "generator": self.generator.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizers": {name: player.optimizer.state_dict() for name, player in self.players.items()},
            "watches": {phase: watch.state_dict() for player in self.players.values() for phase, watch in player.watches.items()},
            "controller": self.controller.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.samples_seen, self.iteration = state["samples_seen"], state["iteration"]
        self.generator.load_state_dict(state["generator"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.ema.load_state_dict(state["ema"])
        for name, player in self.players.items():
            player.optimizer.load_state_dict(state["optimizers"][name])
            for phase, watch in player.watches.items():
                watch.load_state_dict(state["watches"][phase])
        self.controller.load_state_dict(state["controller"])
        self._set_rollback(state["rollback"])
        self._set_p()

    def reseed(self, rollback: int) -> None:
        """Other images and latent vectors, half the learning rate, twice the gamma, for each roll-back so far."""
        self._set_rollback(rollback)
        for player in self.players.values():
            for group in player.optimizer.param_groups:
                group["lr"] = player.learning_rate * 0.5**rollback

    def averaged_generator(self) -> Generator:
        """A copy of G with the averaged weights, in eval mode."""
        averaged = copy.deepcopy(self.generator)
        averaged.load_state_dict(self.ema.state_dict())
        return averaged.eval().requires_grad_(False)

    # The phases

    def _generator_phase(self) -> tuple[dict[str, Tensor], bool]:
        batch, is_relative = self.options.batch, self.options.loss == "rpgan"
        z, labels = self._latents("G")
        reals, real_labels = self._reals("G") if is_relative else (None, None)
        loss_sum = self._zero()
        self._begin("G")
        for chunk, rows in self._chunks():
            c = _rows(labels, rows)
            fake_logits = self._logits(self._fakes(z[rows], c, update_averages=False), c, "G fakes", chunk)
            if is_relative:
                assert reals is not None
                real_logits = self._logits(reals[rows], _rows(real_labels, rows), "G reals", chunk)
                loss = relativistic_g(real_logits.detach(), fake_logits).sum() / batch
            else:
                loss = non_saturating_g(fake_logits).sum() / batch
            loss.backward()
            loss_sum += loss.detach()
        norm, skipped = self._finish("G", "G", loss_sum)
        return {"g_loss": loss_sum, "g_gradient_norm": self._shared(norm)}, skipped

    def _discriminator_phase(self) -> tuple[dict[str, Tensor], bool]:
        batch = self.options.batch
        z, labels = self._latents("D")
        reals, real_labels = self._reals("D")
        loss_sum, signs, fake_signs = self._zero(), self._zero(), self._zero()
        self._begin("D")
        for chunk, rows in self._chunks():
            c = _rows(labels, rows)
            with torch.no_grad():
                fakes = self._fakes(z[rows], c, update_averages=True)
            fake_logits = self._logits(fakes, c, "D fakes", chunk)
            real_logits = self._logits(reals[rows], _rows(real_labels, rows), "D reals", chunk)
            pair_loss = relativistic_d if self.options.loss == "rpgan" else non_saturating_d
            loss = pair_loss(real_logits, fake_logits).sum() / batch
            loss.backward()
            loss_sum += loss.detach()
            signs += real_logits.detach().float().sign().sum() / batch
            fake_signs += fake_logits.detach().float().sign().sum() / batch
        self._share_averages()
        norm, skipped = self._finish("D", "D", loss_sum)
        return {"d_loss": loss_sum, "d_gradient_norm": self._shared(norm), "r_t": signs, "fake_sign": fake_signs}, skipped

    def _penalty_phase(self) -> bool:
        """The lazily applied gradient penalty: R1, and R2 too with the relativistic loss. Returns whether its step was skipped."""
        batch, weight = self.options.batch, self.gamma * 2.0**self.rollback / 2 * self.options.reg_interval
        if not weight:
            return False
        reals, real_labels = self._reals("D")
        is_relative = self.options.loss == "rpgan"
        z, labels = self._latents("D_reg")
        loss_sum = self._zero()
        self._begin("D")
        for chunk, rows in self._chunks():
            images, c = reals[rows].requires_grad_(), _rows(real_labels, rows)
            loss = r1_penalty(self._logits(images, c, "D_reg reals", chunk), images).sum() * (weight / batch)
            loss.backward()
            loss_sum += loss.detach()
            if is_relative:
                c = _rows(labels, rows)
                with torch.no_grad():
                    fakes = self._fakes(z[rows], c, update_averages=False)
                fakes.requires_grad_()
                loss = r2_penalty(self._logits(fakes, c, "D_reg fakes", chunk), fakes).sum() * (weight / batch)
                loss.backward()
                loss_sum += loss.detach()
        return self._finish("D", "D_reg", loss_sum)[1]

    # Their parts

    def _chunks(self) -> Iterator[tuple[int, slice]]:
        """The parts of the batch this process works on one after the other, each with its number in the whole batch."""
        share, side_by_side = self.options.batch // self.devices.world_size, self.options.side_by_side
        first = self.devices.rank * share
        for start in range(first, first + share, side_by_side):
            yield start // side_by_side, slice(start, min(start + side_by_side, first + share))

    def _latents(self, phase: str) -> tuple[Tensor, Tensor | None]:
        parts = (self.options.seed, f"latents of {phase}", self.rollback, self.iteration)
        return random_latents(self.generator.config.z_dim, self.options.batch, self.data.labels, *parts, device=self.devices.device)

    def _reals(self, phase: str) -> tuple[Tensor, Tensor | None]:
        return batch_of(self.data, self.orders[phase], self.samples_seen, self.options.batch, self.devices.device)

    def _fakes(self, z: Tensor, c: Tensor | None, *, update_averages: bool) -> Tensor:
        ws = self.generator.mapping(z, c, update_emas=update_averages)
        return self.generator.synthesis(ws, update_emas=update_averages)

    def _logits(self, images: Tensor, c: Tensor | None, purpose: str, chunk: int) -> Tensor:
        if self.generator.config.is_rotation_equivariant:
            images = gaussian_blur(images, blur_sigma_px(self.samples_seen, batch_size=self.options.batch))
        if self.augment is not None:
            random = device_generator(self.devices.device, self.options.seed, f"augment {purpose}", self.rollback, self.iteration, chunk)
            images = self.augment(images, random)
        return self.discriminator(images, c)

    def _begin(self, name: str) -> None:
        """Gradients for one player only; frozen layers stay frozen."""
        for other, player in self.players.items():
            for parameter in player.parameters:
                parameter.requires_grad_(other == name)
        self.players[name].optimizer.zero_grad(set_to_none=True)

    def _finish(self, name: str, phase: str, loss: Tensor) -> tuple[float, bool]:
        """Sum the gradients over all processes and take the step, unless the loss is not finite or the gradient wild. Returns (norm, skipped)."""
        player = self.players[name]
        self.devices.sum_gradients(player.parameters)
        for parameter in player.parameters:
            if parameter.grad is not None:
                torch.nan_to_num(parameter.grad, nan=0.0, posinf=_LARGEST_GRADIENT, neginf=-_LARGEST_GRADIENT, out=parameter.grad)
        norm = gradient_norm(player.parameters)
        is_finite = not self.devices.any(not math.isfinite(float(loss)))
        if not is_finite or player.watches[phase].is_wild(norm):
            return norm, True
        player.optimizer.step()
        return norm, False

    def _player(self, network: nn.Module, learning_rate: float, *, lazy: bool, phases: tuple[str, ...]) -> _Player:
        # With one more step for the penalty every so many iterations, rate and decay are those of as many steps in all (StyleGAN2, appendix B).
        share = self.options.reg_interval / (self.options.reg_interval + 1) if lazy else 1.0
        parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
        optimizer = torch.optim.Adam(
            parameters,
            lr=learning_rate * share,
            betas=(_BETAS[0] ** share, _BETAS[1] ** share),
            eps=_EPSILON,
            fused=True if self.devices.device.type == "cuda" else None,
        )
        return _Player(network, parameters, optimizer, learning_rate * share, {phase: GradientWatch() for phase in phases})

    def _share_averages(self) -> None:
        """G's running averages are the mean over all processes."""
        if self.devices.world_size > 1:
            for name, buffer in self.generator.named_buffers():
                if name.endswith(("w_avg", "magnitude_ema")):
                    buffer.copy_(self.devices.sum(buffer.clone()) / self.devices.world_size)

    def _set_rollback(self, rollback: int) -> None:
        self.rollback = rollback
        for order in self.orders.values():
            order.salt = rollback

    def _set_p(self) -> None:
        if self.augment is not None:
            self.augment.p.fill_(self.controller.p)

    def _zero(self) -> Tensor:
        return torch.zeros((), device=self.devices.device)

    def _shared(self, value: float) -> Tensor:
        """A value that all processes have, so that their sum is the value."""
        return torch.tensor(value / self.devices.world_size, device=self.devices.device)


def _rows(labels: Tensor | None, rows: slice) -> Tensor | None:
    return None if labels is None else labels[rows]
