"""What all trainings of a model of molecules from nothing share: one optimizer, an average of weights, their state, and what is saved at the end."""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from stages.output_folder import OutputFolder
from training.loop.devices import Devices
from training.loop.ema import Ema
from training.loop.job import Companions, Training, Workplace
from training.loop.loop import Hook, Outcome, StepOutcome, backward_and_step, linear_schedule
from training.polymers.options import TrainingOptions
from training.polymers.origin import write_origin

OptionsT = TypeVar("OptionsT", bound=TrainingOptions)


class Part(Protocol):
    """Molecules of a training. set_aside: how many were left out, by reason."""

    @property
    def set_aside(self) -> Mapping[str, int]: ...
    def __len__(self) -> int: ...


class MoleculeTrainer(Generic[OptionsT]):
    """A `Trainable` but for its `step`, which makes losses and gives them to `learned`, and for what it is judged by.

    learner: the module whose weights are learnt. streams: of batches, by phase, such as `BatchStream`. rampup: of the average, see `Ema`.
    """

    # Of the weights that are saved, where those are not the last ones.
    best_values: Mapping[str, float] = {}

    def __init__(self, learner: Any, optimizer: Any, streams: Mapping[str, Any], config: OptionsT, devices: Devices, *, rampup: float = 0) -> None:
        self.learner, self.optimizer, self.streams, self.config, self.devices = learner, optimizer, streams, config, devices
        self.parameters: list[nn.Parameter] = list(learner.parameters())
        half_life = config.ema_half_life_samples
        self.ema = Ema(learner, half_life_samples=half_life, rampup=rampup) if half_life else None
        self.samples_seen = 0

    def learned(self, losses: Mapping[str, Tensor], samples: int, told: Mapping[str, float]) -> StepOutcome:
        """One step on the gradients of the first of `losses`, with `told["learning_rate"]`.

        losses: scalars, each this process's share of a mean over the whole batch of `samples` molecules. told: what else is to be reported.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = told["learning_rate"]
        clip_norm, (loss, *_) = self.config.gradient_clip_norm, losses.values()
        norm, skipped = backward_and_step(loss, self.optimizer, self.parameters, clip_norm=clip_norm, devices=self.devices)
        # Also after a step that was left out, of which only the device knows: what is averaged has the samples as its clock.
        if self.ema is not None:
            self.ema.update(self.learner, samples=samples, seen=self.samples_seen)
        self.samples_seen += samples
        shares = self.devices.sum(torch.stack([share.detach().float() for share in losses.values()]))
        return StepOutcome({**dict(zip(losses, shares, strict=True)), **told, "gradient_norm": norm}, samples, skipped)

    def rate(self, highest: float, samples: int, total_samples: int) -> float:
        """The learning rate after `samples` of a phase of `total_samples`: a warm-up, then down in a straight line."""
        warmup, final = self.config.warmup_samples, self.config.final_learning_rate_fraction
        return highest * linear_schedule(samples, warmup_samples=warmup, total_samples=total_samples, final_fraction=final)

    def final_model(self) -> Any:
        """The model to save, in evaluation mode: what was learnt, with the averaged weights where there is an average."""
        return self.ema.averaged(self.learner) if self.ema is not None else self.learner.eval()

    def state_dict(self) -> dict[str, Any]:
        streams = {phase: stream.state_dict() for phase, stream in self.streams.items()}
        parts = {"learner": self.learner.state_dict(), "optimizer": self.optimizer.state_dict(), "streams": streams}
        return {"samples_seen": self.samples_seen, **parts, "ema": self.ema.state_dict() if self.ema is not None else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.samples_seen = state["samples_seen"]
        self.learner.load_state_dict(state["learner"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
        for phase, stream in self.streams.items():
            stream.load_state_dict(state["streams"][phase])

    def reseed(self, rollback: int) -> None:
        for stream in self.streams.values():
            stream.salt = rollback

    def why_done(self) -> str | None:
        """See `TrainingLoop`: the whole budget is spent."""
        return None


def training_of(
    trainer: Any,
    datasets: Sequence[str],
    parts: Mapping[str, Part | None],
    save: Callable[[Path, Any], None],
    *,
    facts: Callable[[Outcome], Mapping[str, Any]] = lambda outcome: {},
    check: Callable[[Workplace], None] = lambda place: None,
    **told: Any,
) -> Training:
    """A `MoleculeTrainer` as a training that validates at every checkpoint and saves its final model, its origin and training_summary.json.

    datasets: names of those learnt from. parts: their molecules, by what they are for. save: writes a model into a folder. facts: more for the
    summary, once it is saved. check: raises where the inputs do not fit. told: `size`, `outcome` and `signature` of the `Training`.
    """

    def finish(place: Workplace, output: OutputFolder, outcome: Outcome) -> dict[str, float]:
        model = trainer.final_model()
        save(output.folder, model)
        write_origin(output, place.input_ids, datasets, trainer.config.split_column)
        parameters = sum(parameter.numel() for parameter in model.parameters())
        there = {name: part for name, part in parts.items() if part is not None}
        summary = {
            "samples_seen": outcome.samples_seen,
            "finished": outcome.finished,
            "parameters": parameters,
            "skipped_steps": outcome.skipped_steps,
            "rollbacks": outcome.rollbacks,
            "molecules": {name: len(part) for name, part in there.items()},
            "set_aside": {name: part.set_aside for name, part in there.items()},
            "last_values": rounded(outcome.values),
        }
        output.write_json("training_summary.json", {**summary, **facts(outcome)})
        shown, values = ("validation_", "loss", "latent_distance"), {**outcome.values, **trainer.best_values}
        return {"parameters": parameters, **{name: value for name, value in values.items() if name.startswith(shown)}}

    def begin(place: Workplace) -> Companions:
        check(place)
        hooks = [Hook(trainer.config.checkpoint_every_samples, trainer.validate)]
        return Companions(functools.partial(finish, place), hooks, why_done=trainer.why_done)

    return Training(trainer, begin, **told)


def rounded(values: Mapping[str, float]) -> dict[str, float]:
    """As they stand in a summary."""
    return {name: round(value, 6) for name, value in values.items()}
