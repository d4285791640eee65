"""Any model of transformers as a `Trainable`: it learns examples in batches that are cut to fit the memory, and keeps its best weights."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from transformers import PreTrainedModel

from stages.derived_seed import derive_seed
from stages.reporting import Reporter
from training.loop.devices import Devices
from training.loop.ema import Ema
from training.loop.loop import StepOutcome, TrainingError, linear_schedule, step_on_gradients
from training.loop.seeding import generator
from training.tracking.tracker import Signature
from training.words.examples import ExampleOrder, Examples
from training.words.fine_tuning import FineTuning
from training.words.optimizers import build_optimizers

Loss = Callable[[PreTrainedModel, Mapping[str, Tensor]], tuple[Tensor, Tensor]]
Shown = Mapping[str, str | Callable[[Path], None]]


class Saver(Protocol):
    """A tokenizer or an image processor."""

    def save_pretrained(self, folder: Any) -> Any: ...


@dataclass(frozen=True)
class Task:
    """What one fine-tuning is, beside what all of them share.

    loss: (sum of losses, number of what it is a sum over) of a batch; sums, so that a batch may be cut. samples: what to show at every evaluation, by
    file name: text, or what writes the file (a picture). measure: more numbers at every evaluation, from the model and its held-out loss; in the main
    process alone. savers: lie beside the weights. buckets: see `ExampleOrder`. counts: of examples and what was set aside, for the summary.
    limits: Markdown for the model card. pipeline: the kind of task as model hubs name it. size: the model in a word or two, for people.
    """

    model: PreTrainedModel
    train: Examples
    valid: Examples
    loss: Loss
    samples: Callable[[PreTrainedModel], Shown] = lambda model: {}
    measure: Callable[[PreTrainedModel, float], Mapping[str, float]] = lambda model, loss: {}
    savers: Sequence[Saver] = ()
    buckets: bool = True
    counts: Mapping[str, int] = field(default_factory=dict)
    limits: str = ""
    pipeline: str = ""
    size: str = ""
    signature: Signature | None = None


class FineTuner:
    """One model, one set of examples. With several processes each takes every n-th example of a batch, and gradients are sums over all of it."""

    def __init__(self, task: Task, config: FineTuning, devices: Devices, reporter: Reporter) -> None:
        self.task, self.config, self.devices, self.reporter = task, config, devices, reporter
        self.model = task.model.to(devices.device)  # type: ignore[arg-type]
        # Equal weights in every process, but not equal dropout.
        torch.manual_seed(derive_seed(config.seed, "dropout", devices.rank))
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizers = build_optimizers(self.model, config)
        self.ema = Ema(self.model, half_life_samples=config.ema_half_life_samples) if config.ema_half_life_samples else None
        self.lengths = list(task.train.lengths())
        self.order = ExampleOrder(self.lengths, config.batch_size, config.seed, buckets=task.buckets)
        self.judged = _drawn(len(task.valid), config.evaluate_at_most, config.seed)
        self.at_once = config.examples_at_once or config.batch_size
        self.samples_seen = 0
        # The best held-out loss, the weights that had it, and evaluations since.
        self.best_loss, self.evaluations_since_best = math.inf, 0
        self.best: dict[str, Tensor] | None = None

    def step(self) -> StepOutcome:
        indices = self.order.next()
        rate = self._set_learning_rate()
        self.model.train()
        total, number = self._until_it_fits(indices[self.devices.rank :: self.devices.world_size])
        counts = self.devices.sum(torch.tensor([total, number], dtype=torch.float64, device=self.devices.device))
        loss, number = float(counts[0] / counts[1].clamp(min=1)), max(1.0, float(counts[1]))
        for parameter in self.parameters:
            if parameter.grad is not None:
                parameter.grad.div_(number)
        norm, skipped = step_on_gradients(loss, self.optimizers, self.parameters, clip_norm=self.config.gradient_clip_norm, devices=self.devices)
        samples = self._samples(indices)
        if self.ema is not None and not skipped:
            self.ema.update(self.model, samples=samples)
        self.samples_seen += samples
        return StepOutcome({"loss": loss, "gradient_norm": norm, "learning_rate": rate}, samples, skipped)

    def evaluate(self) -> dict[str, float]:
        """The mean loss on held-out examples, and what the task measures; remembers the weights where this was best."""
        model = self.judged_model()
        values: dict[str, float] = {}
        if self.judged:
            values["validation_loss"] = loss = self._held_out_loss(model)
            if loss < self.best_loss:
                self.best_loss, self.evaluations_since_best = loss, 0
                if self.config.early_stopping_evaluations:
                    self.best = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
            else:
                self.evaluations_since_best += 1
            if self.devices.is_main:
                with torch.no_grad():
                    values |= self.task.measure(model, loss)
        return values

    def why_done(self) -> str | None:
        patience = self.config.early_stopping_evaluations
        if not patience or self.evaluations_since_best < patience:
            return None
        return f"the held-out loss has not fallen below {self.best_loss:.4g} for {patience} evaluations"

    def judged_model(self) -> PreTrainedModel:
        """The averaged weights where there is an average, in evaluation mode."""
        return self.ema.averaged(self.model) if self.ema is not None else self.model.eval()

    def final_model(self) -> PreTrainedModel:
        """The model to save: the best weights where they were kept."""
        if self.best is not None:
            self.model.load_state_dict(self.best)
        elif self.ema is not None:
            self.model.load_state_dict(self.ema.state_dict())
        return self.model.eval()

    def state_dict(self) -> dict[str, Any]:
        return {
            "samples_seen": self.samples_seen,
            "model": self.model.state_dict(),
            "optimizers": self.optimizers.state_dict(),
            "ema": self.ema.state_dict() if self.ema is not None else None,
            "order": self.order.state_dict(),
            "at_once": self.at_once,
            "best": {"loss": self.best_loss, "since": self.evaluations_since_best, "weights": self.best},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.samples_seen, self.at_once = state["samples_seen"], state["at_once"]
        self.model.load_state_dict(state["model"])
        self.optimizers.load_state_dict(state["optimizers"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
        self.order.load_state_dict(state["order"])
        best = state["best"]
        self.best_loss, self.evaluations_since_best, self.best = best["loss"], best["since"], best["weights"]

    def reseed(self, rollback: int) -> None:
        self.order.salt = rollback

    def _until_it_fits(self, indices: Sequence[int]) -> tuple[float, float]:
        """Gradients of the sum of losses into the parameters. What does not fit the memory is tried again in halves, all of the batch anew."""
        while True:
            try:
                return self._gradients(indices)
            except torch.OutOfMemoryError as error:
                reason = str(error).partition("\n")[0]
            # Outside the handler, whose traceback holds on to the tensors that did not fit.
            self._halve(len(indices), reason)

    def _gradients(self, indices: Sequence[int]) -> tuple[float, float]:
        for parameter in self.parameters:
            parameter.grad = None
        # Of a step, not of a piece of it: masks are the same however the batch is cut.
        random = generator(self.config.seed, "examples", self.order.salt, self.order.place, self.devices.rank)
        total = number = 0.0
        for piece in _pieces(indices, self.at_once):
            with self.devices.autocast(self.config.precision):
                losses, count = self.task.loss(self.model, self._batch(self.task.train, piece, random))
            losses.backward()  # type: ignore[no-untyped-call]
            total, number = total + float(losses.detach()), number + float(count)
        return total, number

    def _halve(self, examples: int, reason: str) -> None:
        if self.at_once == 1:
            raise TrainingError(f"one example alone does not fit the memory ({reason}); choose a smaller model or shorter examples")
        is_first = self.at_once == (self.config.examples_at_once or self.config.batch_size)
        self.at_once = max(1, min(self.at_once, examples) // 2)
        if self.devices.device.type == "cuda":
            torch.cuda.empty_cache()
        if is_first:
            self.reporter.log(f"a batch does not fit the memory; it is cut until its pieces do (now {self.at_once} examples at once)")

    @torch.no_grad()
    def _held_out_loss(self, model: PreTrainedModel) -> float:
        random = generator(self.config.seed, "validation", self.devices.rank)
        total = number = 0.0
        for piece in _pieces(self.judged[self.devices.rank :: self.devices.world_size], self.at_once):
            with self.devices.autocast(self.config.precision):
                losses, count = self.task.loss(model, self._batch(self.task.valid, piece, random))
            total, number = total + float(losses), number + float(count)
        sums = self.devices.sum(torch.tensor([total, number], dtype=torch.float64, device=self.devices.device))
        return float(sums[0] / sums[1].clamp(min=1))

    def _batch(self, examples: Examples, indices: Sequence[int], random: torch.Generator) -> dict[str, Tensor]:
        return {name: tensor.to(self.devices.device, non_blocking=True) for name, tensor in examples.batch(indices, random).items()}

    def _samples(self, indices: Sequence[int]) -> int:
        """What a batch counts as; the last one, as what was left of the budget."""
        number = sum(self.lengths[index] for index in indices) if self.config.what == "tokens" else len(indices)
        return min(number, self.config.total_samples - self.samples_seen)

    def _set_learning_rate(self) -> float:
        config = self.config
        schedule = {"warmup_samples": config.warmup_samples, "total_samples": config.total_samples}
        factor = linear_schedule(self.samples_seen, **schedule, final_fraction=config.final_learning_rate_fraction)
        self.optimizers.set_learning_rate(factor * config.learning_rate)
        return factor * config.learning_rate


def _pieces(indices: Sequence[int], size: int) -> list[Sequence[int]]:
    return [indices[start : start + size] for start in range(0, len(indices), size)]


def _drawn(number: int, at_most: int, seed: int) -> list[int]:
    """Numbers of the held-out examples that are judged, always the same ones."""
    if not at_most or number <= at_most:
        return list(range(number))
    return sorted(torch.randperm(number, generator=generator(seed, "judged"))[:at_most].tolist())
