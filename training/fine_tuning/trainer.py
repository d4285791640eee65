"""Any model of transformers as a `Trainable`: it learns examples in batches that are cut to fit the memory, and keeps its best weights."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from stages.derived_seed import derive_seed
from stages.output_folder import OutputFolder
from stages.reporting import Reporter
from training.fine_tuning.examples import NO_LABEL, ExampleOrder, Examples
from training.fine_tuning.options import FineTuning
from training.fine_tuning.packing import bordered
from training.loop.compiling import Compiled, padded
from training.loop.devices import Devices, Precision, moved
from training.loop.ema import Ema
from training.loop.loop import StepOutcome, TrainingError, linear_schedule, step_on_gradients
from training.loop.memory import MemoryModel, Meter, measured_model, require_memory
from training.loop.muon import Muon
from training.loop.seeding import generator
from training.tracking.tracker import Signature

# What fills the places that make lengths come in few sizes: tokens that nothing is learned of, that no other looks at, and that look at nothing else.
FILLERS = {"input_ids": 0, "attention_mask": 0, "labels": NO_LABEL, "position_ids": 0, "documents": 0}


@dataclass(frozen=True)
class Task:
    """What one fine-tuning is, beside what all of them share.

    loss: (sum of losses, number of terms) of a batch; sums, so that a batch may be cut. samples: to be shown at every evaluation, by file name: text
    or what writes a picture. measure: more numbers at every evaluation, from the model, its held-out loss, and the numbers of the examples that have
    it. savers: have `save_pretrained`. buckets: see `ExampleOrder`. counts, facts: for the summary. limits: Markdown. pipeline: the task as hubs
    name it. beside: writes more files into the model's folder, from the content ids of the inputs by name. epoch_flops: floating-point
    operations, forward and backward, of all of `train` once (model_flops.py); None = not told. attention: chooses how a model on its device attends,
    before it has learnt anything, and says it in a sentence.
    """

    model: PreTrainedModel
    train: Examples
    valid: Examples
    loss: Callable[[PreTrainedModel, Mapping[str, Tensor]], tuple[Tensor, Tensor]]
    samples: Callable[[PreTrainedModel], Mapping[str, str | Callable[[Path], None]]] = lambda model: {}
    measure: Callable[[PreTrainedModel, float, Sequence[int]], Mapping[str, float]] = lambda model, loss, judged: {}
    savers: Sequence[Any] = ()
    buckets: bool = True
    counts: Mapping[str, int] = field(default_factory=dict)
    limits: str = ""
    pipeline: str = ""
    size: str = ""
    signature: Signature | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    beside: Callable[[OutputFolder, Mapping[str, str]], None] = lambda output, input_ids: None
    epoch_flops: float | None = None
    attention: Callable[[PreTrainedModel, torch.device, Precision], str] | None = None


class FineTuner:
    """One model, one set of examples. Of several processes each takes every n-th example of a batch, and gradients are sums over all of it."""

    def __init__(self, task: Task, config: FineTuning, devices: Devices, reporter: Reporter) -> None:
        self.task, self.config, self.devices, self.reporter = task, config, devices, reporter
        self.model = task.model.to(devices.device)
        if task.attention is not None:
            reporter.log(task.attention(self.model, devices.device, config.precision))
        # Equal weights in every process, but not equal dropout.
        torch.manual_seed(derive_seed(config.seed, "dropout", devices.rank))
        self.parameters = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        self.optimizers = build_optimizers(self.model, config)
        self.ema = Ema(self.model, half_life_samples=config.ema_half_life_samples) if config.ema_half_life_samples else None
        self.lengths = list(task.train.lengths())
        self.order = ExampleOrder(self.lengths, config.batch_size, config.seed, buckets=task.buckets)
        drawn = torch.randperm(len(task.valid), generator=generator(config.seed, "judged")).tolist()
        self.judged = sorted(drawn[: config.evaluate_at_most or None])
        self.at_once, self.samples_seen = config.examples_at_once or config.batch_size, 0
        self.loss = Compiled(task.loss, "loss", config.compile, devices.device)
        samples = sum(self.lengths) if config.what == "tokens" else len(self.lengths)
        self.flops_per_sample = task.epoch_flops / samples if task.epoch_flops is not None else None
        self.best_loss, self.evaluations_since_best = math.inf, 0
        self.best: dict[str, Tensor] = {}
        self.best_values: dict[str, float] = {}

    def step(self) -> StepOutcome:
        indices, config = self.order.next(), self.config
        schedule = {"warmup_samples": config.warmup_samples, "total_samples": config.total_samples}
        rate = config.learning_rate * linear_schedule(self.samples_seen, **schedule, final_fraction=config.final_learning_rate_fraction)
        for group in (group for optimizer in self.optimizers for group in optimizer.param_groups):
            group["lr"] = rate
        self.model.train()
        loss, number = self._until_it_fits(indices)
        torch._foreach_div_([parameter.grad for parameter in self.parameters if parameter.grad is not None], number.float())
        norm, skipped = step_on_gradients(loss, self.optimizers, self.parameters, clip_norm=config.gradient_clip_norm, devices=self.devices)
        # A batch counts as its tokens or examples; the last one, as what was left of the budget.
        samples = sum(self.lengths[index] for index in indices) if config.what == "tokens" else len(indices)
        samples = min(samples, config.total_samples - self.samples_seen)
        # Also after a step that was left out, of which only the device knows.
        if self.ema is not None:
            self.ema.update(self.model, samples=samples)
        self.samples_seen += samples
        return StepOutcome({"loss": loss, "gradient_norm": norm, "learning_rate": rate}, samples, skipped)

    @torch.no_grad()
    def evaluate(self, model: PreTrainedModel) -> dict[str, float]:
        """The mean loss of `judged_model()` on held-out examples, and what the task measures; remembers the weights where the loss was least."""
        if not self.judged:
            return {}
        loss = float(self._mean(model, self.task.valid, self.judged)[0])
        values = {"validation_loss": loss, **(self.task.measure(model, loss, self.judged) if self.devices.is_main else {})}
        self.evaluations_since_best += 1
        if loss < self.best_loss:
            self.best_loss, self.evaluations_since_best = loss, 0
            if self.config.early_stopping_evaluations:
                self.best = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
                self.best_values = values
        return values

    def why_done(self) -> str | None:
        patience = self.config.early_stopping_evaluations
        is_done = 0 < patience <= self.evaluations_since_best
        return f"the held-out loss has not fallen below {self.best_loss:.4g} for {patience} evaluations" if is_done else None

    def judged_model(self) -> PreTrainedModel:
        """The averaged weights where there is an average, in evaluation mode."""
        return self.ema.averaged(self.model) if self.ema is not None else self.model.eval()

    def final_model(self) -> PreTrainedModel:
        """The model to save: the best weights where they were kept."""
        self.model.load_state_dict(self.best or (self.ema or self.model).state_dict())
        return self.model.eval()

    def state_dict(self) -> dict[str, Any]:
        own = [self.samples_seen, self.at_once, self.order.place, self.order.salt, self.best_loss, self.evaluations_since_best]
        return {"own": [*own, self.best, self.best_values], **{name: part.state_dict() for name, part in self._parts().items()}}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        (self.samples_seen, self.at_once, self.order.place, self.order.salt, *best) = state["own"]
        self.best_loss, self.evaluations_since_best, self.best, self.best_values = best
        for name, part in self._parts().items():
            part.load_state_dict(state[name])

    def reseed(self, rollback: int) -> None:
        self.order.salt = rollback

    def fit_memory(self, meter: Meter) -> MemoryModel:
        """Take as many examples at once as a measured model of memory says fit, at most what was asked for. Raises TrainingError where none does.

        Measured on the longest examples, and nothing is learned of them. The optimizer's two averages come later, and are counted.
        """
        longest = sorted(range(len(self.lengths)), key=self.lengths.__getitem__, reverse=True)

        def trial(examples: int) -> None:
            with torch.random.fork_rng(devices=[self.devices.device] if self.devices.device.type == "cuda" else []):
                self.model.train()
                self._forget_gradients()
                self._mean(self.model, self.task.train, longest[: examples * self.devices.world_size])
                self._forget_gradients()

        wanted = min(self.at_once, max(1, len(longest) // self.devices.world_size))
        self.at_once = len(longest)
        sizes = (1, 2) if wanted < 8 else (wanted // 8, wanted // 4)
        later = 8.0 * sum(parameter.numel() for parameter in self.parameters)
        model, capacity = measured_model(meter, trial, sizes, later=later), meter.capacity()
        require_memory("fine-tuning", model, self.config.examples_at_once or 1, capacity, parameter="examples_at_once")
        self.at_once = min(wanted, model.largest(capacity))
        if self.at_once < wanted:
            self.reporter.log(f"{wanted} examples at once would not fit the memory; {self.at_once} at once do, by a measurement of two batches")
        return model

    def _forget_gradients(self) -> None:
        for parameter in self.parameters:
            parameter.grad = None

    def _until_it_fits(self, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Gradients of the sum of losses into the parameters. What does not fit the memory is tried again in halves, all of the batch anew."""
        while True:
            self._forget_gradients()
            try:
                return self._mean(self.model, self.task.train, indices)
            except torch.OutOfMemoryError as error:
                reason = str(error).partition("\n")[0]
            except Exception as error:
                if self.loss.gives_up(error):
                    continue
                raise
            # Outside the handler, whose traceback holds on to the tensors that did not fit.
            if self.at_once == 1:
                raise TrainingError(f"one example alone does not fit the memory ({reason}); choose a smaller model or shorter examples")
            if self.at_once == (self.config.examples_at_once or self.config.batch_size):
                self.reporter.log(f"{self.at_once} examples at once do not fit the memory; they are halved until they do")
            self.at_once = max(1, min(self.at_once, len(indices) // self.devices.world_size) // 2)
            if self.devices.device.type == "cuda":
                torch.cuda.empty_cache()

    def _mean(self, model: PreTrainedModel, examples: Examples, indices: Sequence[int]) -> tuple[Tensor, Tensor]:
        """(mean loss, number of terms) over all processes, on the device; in training mode with the gradients of the sum of this one's share."""
        # Of a batch, not of a piece of it: masks are the same however it is cut.
        purpose = ("examples", self.order.salt, self.order.place) if model.training else ("validation",)
        random, device = generator(self.config.seed, *purpose, self.devices.rank), self.devices.device
        sums = torch.zeros(2, dtype=torch.float64, device=device)
        share = indices[self.devices.rank :: self.devices.world_size]
        # Evaluations come in other shapes, and are too few to be compiled for.
        loss = self.loss if model.training else self.task.loss
        for start in range(0, len(share), self.at_once):
            batch = examples.batch(share[start : start + self.at_once], random)
            if model.training and self.loss.is_on:
                batch = padded(batch, FILLERS, rows="documents" in batch)
            batch = bordered(model, batch)
            with self.devices.autocast(self.config.precision):
                losses, count = loss(model, {name: moved(tensor, device) for name, tensor in batch.items()})
            if model.training:
                losses.backward()
            sums += torch.stack([losses.detach().double(), torch.as_tensor(count, device=device).double()])
        total, number = self.devices.sum(sums)
        number = number.clamp(min=1.0)
        return total / number, number

    def _parts(self) -> dict[str, Any]:
        """What has a state of its own."""
        optimizers = {type(optimizer).__name__: optimizer for optimizer in self.optimizers}
        return {"model": self.model, **optimizers, **({"ema": self.ema} if self.ema is not None else {})}


def build_optimizers(model: PreTrainedModel, config: FineTuning) -> list[torch.optim.Optimizer]:
    """AdamW (Loshchilov and Hutter 2019) with decay on matrices only; where asked for, Muon (Jordan 2024) takes the hidden matrices.

    Muon's steps are scaled to the size of AdamW's (Liu et al. 2025), so that both have the same learning rate.
    """
    learning, head = [parameter for parameter in model.parameters() if parameter.requires_grad], model.get_output_embeddings()
    outer = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding) or (module is head and head is not None)}
    hidden = [weight for weight in learning if config.optimizer == "muon" and weight.dim() == 2 and id(weight) not in outer]
    taken, rate, decay = set(map(id, hidden)), config.learning_rate, config.weight_decay
    matrices = [weight for weight in learning if weight.dim() >= 2 and id(weight) not in taken]
    groups = [{"params": matrices, "weight_decay": decay}, {"params": [weight for weight in learning if weight.dim() < 2], "weight_decay": 0.0}]
    adamw = torch.optim.AdamW(groups, lr=rate, betas=(0.9, config.adam_beta2), fused=True)
    return [adamw, Muon(hidden, lr=rate, weight_decay=decay, adjust_lr_fn="match_rms_adamw")] if hidden else [adamw]
