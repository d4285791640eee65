"""The step of an adversarial training as the loop's `Trainable`, whoever plays: players that take turns, their averages, their exact state.

A model brings its players (networks and what moves them) and its phases (whose turn it is, and the losses of that turn, part by part). Two networks
or four, pictures or text, one discriminator step or five: the turns, the care with gradients that are not finite, lazy regularisation, several
processes, roll-backs and resuming are the same. PROVENANCE.md names the papers.
"""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from training.gans.graphs import Graphs, TurnRandom
from training.loop.collapse_guard import GradientWatch, gradient_norm
from training.loop.devices import Devices
from training.loop.ema import Ema
from training.loop.loop import StepOutcome, TrainingError, step_unless
from training.loop.memory import CudaMeter, Meter, measured_model

_LARGEST_GRADIENT = 1e5
# Samples side by side by which the memory of a turn is measured, and twice as many.
_FEW = 4
# Among the values of a turn: whether its step was skipped.
_SKIPPED = "skipped"


@dataclass(frozen=True)
class Moment:
    """When a turn is taken; with a seed it decides every random number of the turn. rollback: how many there have been."""

    samples_seen: int
    iteration: int
    rollback: int


# The loss of a part of the batch, summed over the part and divided by the whole batch; and what to add up over the parts and report.
PartLoss = tuple[Tensor, Mapping[str, Tensor]]
# What a turn is given: all that is another each time, on the device.
Inputs = Mapping[str, Tensor]


class Player:
    """Networks that learn together (several as an `nn.ModuleDict`), and what moves those of their parameters that are not frozen."""

    def __init__(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        self.network, self.optimizer = network, optimizer
        self.parameters: list[nn.Parameter] = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self.rates = [group["lr"] for group in optimizer.param_groups]


@dataclass(frozen=True)
class Phase:
    """One turn. losses: the parts of the batch this process has, one after the other; none at all takes no step.

    name: of its gradients' watch, because those of a penalty are of another size than those of a loss. every: iterations from one turn to the next.
    reported_as: d gives d_loss and d_gradient_norm; "" reports neither.
    inputs: where there are any, `losses` gets them beside the moment, and depends on the moment no further than `key` does: turns of equal keys
    differ in their inputs alone and may be recorded as a graph. key None: this one not.
    """

    name: str
    player: str
    losses: Callable[..., Iterator[PartLoss]]
    every: int = 1
    reported_as: str = ""
    inputs: Callable[[Moment], Inputs] | None = None
    key: Callable[[Moment], Hashable | None] = lambda now: None


class AdversarialTrainer:
    """Phases in turn, then the averages, then `after_step`.

    players: by name. averages: by the player they follow. others: whatever else changes and has `state_dict` and `load_state_dict`, such as the
    strength of an augmentation or a pool of earlier fakes. batch_size: samples of an iteration; or where it varies, of one that begins after so many.
    schedule: factor of all learning rates after so many samples. before_step: told of each iteration before its first turn.
    after_step: told the reported values (0-d, on the device) and the number of samples of each step; what it returns is reported too.
    graphs, random: what turns are recorded by, and what they draw with on the device.

    No number of a step is read by the computer, which runs ahead of the device: losses, norms and whether a step was skipped stay there.
    """

    def __init__(
        self,
        players: Mapping[str, Player],
        phases: Sequence[Phase],
        *,
        batch_size: int | Callable[[int], int],
        devices: Devices,
        averages: Mapping[str, Ema],
        others: Mapping[str, Any],
        schedule: Callable[[int], float] = lambda samples: 1.0,
        before_step: Callable[[Moment], None] = lambda now: None,
        after_step: Callable[[Mapping[str, Tensor], int], Mapping[str, Tensor | float]] = lambda values, samples: {},
        graphs: Graphs | None = None,
        random: TurnRandom | None = None,
    ) -> None:
        self.players, self.phases, self.averages, self.others = players, phases, averages, others
        self.devices, self.schedule, self.before_step, self.after_step = devices, schedule, before_step, after_step
        self.batch_size: Callable[[int], int] = (lambda samples: batch_size) if isinstance(batch_size, int) else batch_size
        self.graphs, self.random = graphs or Graphs(None), random
        self.meter: Meter = CudaMeter(devices.device)
        self.watches = {phase.name: GradientWatch(device=devices.device) for phase in phases}
        self.samples_seen = self.iteration = self.rollback = 0

    def step(self) -> StepOutcome:
        """One iteration: every phase whose turn it is, then the averages."""
        now = Moment(self.samples_seen, self.iteration, self.rollback)
        batch = self.batch_size(self.samples_seen)
        self.before_step(now)
        self._set_learning_rates()
        values: dict[str, Tensor] = {}
        skips: list[Tensor] = []
        for phase in self.phases:
            if self.iteration % phase.every == 0:
                try:
                    values |= self._take_turn(phase, now)
                except torch.OutOfMemoryError as error:
                    raise TrainingError(
                        f"phase {phase.name}: an iteration of {batch} samples does not fit the memory of {self.devices.device} "
                        f"({str(error).partition('. ')[0]}); set batch_gpu, those side by side, or where there is none the batch, to "
                        f"{self._what_would_fit(phase, now)}, or free the GPU of other processes; the same command then goes on from the last "
                        "checkpoint"
                    ) from None
                skips += [values.pop(_SKIPPED)] if _SKIPPED in values else []
        for name, average in self.averages.items():
            average.update(self.players[name].network, samples=batch, seen=self.samples_seen)
        self.samples_seen += batch
        self.iteration += 1

        # One message for all values.
        reported = dict(zip(values, self.devices.sum(torch.stack(list(values.values()))), strict=True))
        skipped = torch.stack(skips).any() if skips else torch.zeros((), dtype=torch.bool, device=self.devices.device)
        return StepOutcome({**reported, **self.after_step(reported, batch)}, batch, skipped)

    def state_dict(self) -> dict[str, Any]:
        counts = {"samples_seen": self.samples_seen, "iteration": self.iteration, "rollback": self.rollback}
        return {**counts, "parts": {name: part.state_dict() for name, part in self._parts().items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.samples_seen, self.iteration, self.rollback = state["samples_seen"], state["iteration"], state["rollback"]
        for name, part in self._parts().items():
            if isinstance(part, torch.optim.Optimizer):
                _load_optimizer(part, state["parts"][name])
            else:
                part.load_state_dict(state["parts"][name])
        self.graphs.forget()

    def reseed(self, rollback: int) -> None:
        """Other samples (see `Moment`) and half the learning rate, for each roll-back so far."""
        self.rollback = rollback
        self.graphs.forget()

    def forget_gradients(self) -> None:
        """Optimizers and watches as at the beginning: where networks change, what they remember is of other gradients."""
        for watch in self.watches.values():
            watch.load_state_dict([])
        for player in self.players.values():
            player.optimizer.state.clear()
        self.graphs.forget()

    def _set_learning_rates(self) -> None:
        factor = self.schedule(self.samples_seen) * 0.5**self.rollback
        for player in self.players.values():
            for group, rate in zip(player.optimizer.param_groups, player.rates, strict=True):
                if isinstance(group["lr"], Tensor):
                    group["lr"].fill_(rate * factor)
                else:
                    group["lr"] = rate * factor

    def _parts(self) -> dict[str, Any]:
        """Everything that has a state of its own."""
        networks = {name: player.network for name, player in self.players.items()}
        optimizers = {name: player.optimizer for name, player in self.players.items()}
        kinds: dict[str, Mapping[str, Any]] = {
            "network": networks,
            "optimizer": optimizers,
            "average": self.averages,
            "watch": self.watches,
            "other": self.others,
        }
        return {f"{kind} {name}": part for kind, parts in kinds.items() for name, part in parts.items()}

    def _take_turn(self, phase: Phase, now: Moment) -> Mapping[str, Tensor]:
        """Gradients of all parts, then one step. Returns what is reported, as shares of this process, and as _SKIPPED whether there was no step."""
        if phase.inputs is None:
            return self._compute(phase, phase.losses(now))
        inputs = phase.inputs(now)
        if wrong := {name: str(tensor.device) for name, tensor in inputs.items() if tensor.device.type != self.devices.device.type}:
            raise TrainingError(f"phase {phase.name}: inputs lie on {wrong}, the networks on {self.devices.device}; move them there first")
        key = phase.key(now)
        return self.graphs.play(
            None if key is None else (phase.name, key),
            lambda given: self._compute(phase, phase.losses(now, given)),
            inputs,
            self.random,
            # Inputs are made anew, which seeds what the turn draws with.
            restart=lambda: phase.inputs(now) if phase.inputs else None,
        )

    def _compute(self, phase: Phase, losses: Iterator[PartLoss]) -> dict[str, Tensor]:
        self._begin(phase.player)
        loss_sum = torch.zeros((), device=self.devices.device)
        values: dict[str, Tensor] = {}
        has_parts = False
        # The losses are asked for one by one: each part's graph is gone before the next one's forward pass.
        for loss, shown in losses:
            if loss.device.type != self.devices.device.type:
                raise TrainingError(
                    f"phase {phase.name}: its loss lies on {loss.device}, the training is on {self.devices.device}; move its inputs there"
                )
            has_parts = True
            loss.backward()
            loss_sum += loss.detach()
            for name, value in shown.items():
                values[name] = values.get(name, 0.0) + value
        if not has_parts:
            return values
        norm, skipped = self._finish(phase, loss_sum)
        if phase.reported_as:
            # All processes have the norm of the summed gradients: a share of it each adds up to it.
            values |= {f"{phase.reported_as}_loss": loss_sum, f"{phase.reported_as}_gradient_norm": norm / self.devices.world_size}
        return {**values, _SKIPPED: skipped}

    def _what_would_fit(self, phase: Phase, now: Moment) -> str:
        """How many samples side by side the memory has room for, by the peaks of a few and of twice as many. The training ends after this."""
        if phase.inputs is None:
            return "half of that"
        try:
            inputs = phase.inputs(now)
            count = max(value.shape[0] for value in inputs.values() if value.dim())
            few = min(_FEW, max(1, count // 2))

            def part(samples: int) -> None:
                self._begin(phase.player)
                # The first part of a turn that has no more samples than these; its step is not taken.
                cut = {name: value[:samples] if value.shape[:1] == (count,) else value for name, value in inputs.items()}
                next(iter(phase.losses(now, cut)))[0].backward()

            model = measured_model(self.meter, part, (few, 2 * few))
            fitting = min(model.largest(self.meter.capacity()), count)
        except torch.OutOfMemoryError:
            return "1, if that fits: a few side by side do not"
        # Groups of the minibatch's deviation are as large as the few.
        fitting = fitting // few * few or fitting
        return f"{fitting} or less ({model})" if fitting else f"what a smaller model leaves room for: not even one sample fits ({model})"

    def _begin(self, name: str) -> None:
        """Gradients for one player only; frozen layers stay frozen."""
        for other, player in self.players.items():
            for parameter in player.parameters:
                parameter.requires_grad_(other == name)
        self.players[name].optimizer.zero_grad(set_to_none=True)

    def _finish(self, phase: Phase, loss: Tensor) -> tuple[Tensor, Tensor]:
        """Sum the gradients over all processes and take the step, unless the loss is not finite or the gradient wild. Returns (norm, skipped)."""
        player = self.players[phase.player]
        self.devices.sum_gradients(player.parameters)
        # Single numbers that overflowed, as in half precision, cost themselves and not the step.
        for parameter in player.parameters:
            if parameter.grad is not None:
                torch.nan_to_num(parameter.grad, nan=0.0, posinf=_LARGEST_GRADIENT, neginf=-_LARGEST_GRADIENT, out=parameter.grad)
        norm = gradient_norm(player.parameters)
        is_bad = self.devices.sum((~loss.isfinite()).float()) > 0
        skipped = is_bad | (self.watches[phase.name].is_wild(torch.where(is_bad, torch.nan, norm)))
        _lay_out_as_parameters(player.parameters)
        step_unless(player.optimizer, skipped)
        return norm, skipped


def _load_optimizer(optimizer: torch.optim.Optimizer, state: Mapping[str, Any]) -> None:
    """Whether steps are fused, and how moments lie in memory, is as here and not as where they were saved: fused steps go by place in memory."""
    own = ("fused", "capturable", "lr")
    pairs = zip(state["param_groups"], optimizer.param_groups, strict=True)
    groups = [{**saved, **{name: here[name] for name in own}} for saved, here in pairs]
    optimizer.load_state_dict({**state, "param_groups": groups})
    for parameter, values in optimizer.state.items():
        for name, value in values.items():
            if value.shape == parameter.shape:
                values[name] = torch.empty_like(parameter).copy_(value)


def _lay_out_as_parameters(parameters: Sequence[nn.Parameter]) -> None:
    """Give gradients the strides of their parameters, as fused Adam wants them; autograd leaves those of sides of 1 (in 1 x 1 kernels) to chance.

    See https://github.com/pytorch/pytorch/issues/106951.
    """
    for parameter in parameters:
        if parameter.grad is not None and parameter.grad.stride() != parameter.stride():
            parameter.grad = torch.empty_like(parameter).copy_(parameter.grad)


def adam(
    network: nn.Module,
    rate: float,
    *,
    betas: tuple[float, float] = (0.0, 0.99),
    epsilon: float = 1e-8,
    lazy_interval: int | None = None,
) -> Player:
    """A player moved by Adam; the defaults are those of Karras et al. 2018 (Progressive GAN), appendix A.1.

    lazy_interval: iterations k from one regularisation step to the next, where these are steps of their own. The optimizer takes k + 1 steps where it
    would take k; with c = k / (k + 1), rate · c and beta^c move it as far as k steps would (Karras et al. 2020, StyleGAN2, appendix B).
    """
    c = lazy_interval / (lazy_interval + 1) if lazy_interval else 1.0
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    device = parameters[0].device
    # One launch for all weights, which may be told on the device to leave them as they are. Apple's have no such thing.
    is_fused = True if device.type in ("cuda", "cpu") else None
    optimizer = torch.optim.Adam(parameters, lr=rate * c, betas=(betas[0] ** c, betas[1] ** c), eps=epsilon, fused=is_fused)
    player = Player(network, optimizer)
    if device.type == "cuda":
        for group in optimizer.param_groups:
            # Steps that are recorded look for the rate on the device.
            group |= {"lr": torch.full((), group["lr"], device=device), "capturable": True}
    return player


def parts_of_batch(batch_size: int, side_by_side: int, devices: Devices) -> Iterator[slice]:
    """The parts of the batch this process works on one after the other, as rows of the whole batch."""
    share = batch_size // devices.world_size
    first = devices.rank * share
    for start in range(first, first + share, side_by_side):
        yield slice(start, min(start + side_by_side, first + share))
