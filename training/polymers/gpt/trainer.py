"""Both phases of PolyGPT as one `Trainable`, and how well it does on held-out molecules."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy
import torch
from torch import Tensor

from stages.derived_seed import derive_seed
from training.loop.compiling import Compiled, padded
from training.loop.devices import Devices, moved
from training.loop.flops import attention_flops, matrix_parameters, training_flops
from training.loop.loop import StepOutcome
from training.loop.seeding import seed_everything
from training.metrics.regression import r_squared
from training.polymers.batches import Batch, BatchStream, Denominators, TrainingSet
from training.polymers.gpt.config import PolyGPTConfig
from training.polymers.gpt.data import PolyGPTData
from training.polymers.gpt.losses import LossWeights, polygpt_losses
from training.polymers.gpt.networks import PolyGPT
from training.polymers.optimizer import adamw
from training.polymers.smiles_tokenizer import EOS, PAD
from training.polymers.trainer import MoleculeTrainer

_VALIDATION_MOLECULES, _VALIDATION_BATCH = 1024, 128


class PolyGPTTrainer(MoleculeTrainer[PolyGPTConfig]):
    """Both phases of PolyGPT as one `Trainable`: which one is on follows from `samples_seen`."""

    def __init__(self, data: PolyGPTData, config: PolyGPTConfig, devices: Devices) -> None:
        seed_everything(config.seed)
        self.model = PolyGPT(data.shape).to(devices.device)
        # Equal weights in every process, but not equal dropout.
        torch.manual_seed(derive_seed(config.seed, "dropout", devices.rank))
        parts = {"pretrain": data.pretrain, "finetune": data.finetune}
        streams = {phase: _stream(phase, part, config) for phase, part in parts.items() if part is not None}
        optimizer = adamw(self.model, learning_rate=config.learning_rate, weight_decay=config.weight_decay, beta2=config.adam_beta2)
        super().__init__(self.model, optimizer, streams, config, devices)
        self.weights = LossWeights(config.alpha, config.beta, config.gamma)
        self.losses = Compiled(polygpt_losses, "polygpt", config.compile, devices.device)
        self.flops_per_sample = model_flops(self.model, [part for part in parts.values() if part is not None])
        # Drawn, not the first batches: those are of molecules of one length each, and say little of the others.
        self.valid = data.valid.drawn(_VALIDATION_MOLECULES, derive_seed(config.seed, "validation"))

    @property
    def phase(self) -> str:
        return "pretrain" if self.samples_seen < self.config.pretrain_samples else "finetune"

    def step(self) -> StepOutcome:
        # A batch never crosses the border of the phases. Each process computes its share of it, in sums over the whole batch's counts.
        config = self.config
        end = config.pretrain_samples if self.phase == "pretrain" else config.total_samples
        batch = self.streams[self.phase].next(at_most=end - self.samples_seen)
        share = batch.share(self.devices.rank, self.devices.world_size).to(self.devices.device)
        self.model.train()
        denominators = batch.denominators()
        if self.losses.is_on:
            share, denominators = _in_few_shapes(share, denominators)
        while True:
            try:
                with self.devices.autocast(config.precision):
                    losses = self.losses(self.model, share, self.weights, denominators)
                return self.learned(losses.by_name(), len(batch.tokens), {"learning_rate": self._learning_rate()})
            except Exception as error:
                # Nothing is learned yet where the compiler fails, in the backward pass at the latest.
                if not self.losses.gives_up(error):
                    raise

    def trial(self, molecules: int) -> None:
        """The memory of a step of the largest kind: gradients of so many molecules of full length, given properties. Nothing is learned of them."""
        size, device = (molecules, len(self.config.properties)), self.devices.device
        values, given = torch.zeros(size), torch.ones(size, dtype=torch.bool)
        tokens = torch.full((molecules, self.config.maximum_tokens), EOS)
        conditional = bool(self.config.finetune_samples and self.config.properties)
        batch = Batch(tokens, torch.full((molecules,), tokens.shape[1]), values, given, values, given, conditional)
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), self.devices.autocast(self.config.precision):
            self.model.train()
            polygpt_losses(self.model, batch.to(device), self.weights, batch.denominators()).total.backward()
        self.optimizer.zero_grad(set_to_none=True)

    def _learning_rate(self) -> float:
        # Each phase has a warm-up and a decay of its own.
        config, seen = self.config, self.samples_seen
        if self.phase == "pretrain":
            return self.rate(config.learning_rate, seen, config.pretrain_samples)
        return self.rate(config.finetune_learning_rate, seen - config.pretrain_samples, config.finetune_samples)

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """On held-out molecules: cross-entropy and accuracy per token, asked for with their true properties once fine-tuning has begun; and for each
        property the R² of what the auxiliary heads tell of a molecule that is shown without any.
        """
        if not len(self.valid):
            return {}
        self.model.eval()
        # Always the same molecules with the same perturbations: a new stream begins at the beginning.
        conditional, size = self.phase == "finetune", _VALIDATION_BATCH
        stream = BatchStream(self.valid, size, self.config.seed, "valid", conditional=conditional, noise=self.config.property_noise)
        sums: dict[str, float] = {}
        tokens = 0
        true, told = [], []
        for _ in range(-(-len(self.valid) // size)):
            drawn = stream.next(at_most=size)
            batch, denominators = drawn.to(self.devices.device), drawn.denominators()
            losses = polygpt_losses(self.model, batch, self.weights, denominators)
            tokens += denominators.tokens
            for name, value in (("validation_loss", losses.cross_entropy), ("validation_accuracy", losses.accuracy)):
                sums[name] = sums.get(name, 0.0) + float(value) * denominators.tokens
            if self.config.properties:
                true.append(batch.properties.cpu())
                told.append(self.model.tell(batch.tokens, batch.tokens != PAD).cpu())
        means = {name: total / tokens for name, total in sums.items()}
        return {**means, **_property_r2(self.config.properties, torch.cat(true), torch.cat(told))} if true else means


def _in_few_shapes(share: Batch, counts: Denominators) -> tuple[Batch, Denominators]:
    """The same, for the compiler, which would make each length and each count anew: padded, and counts as tensors."""
    tokens, device = padded({"tokens": share.tokens}, {"tokens": PAD}, rows=False)["tokens"], share.tokens.device
    tensors: dict[str, Any] = {name: moved(torch.tensor(float(value)), device) for name, value in vars(counts).items()}
    return replace(share, tokens=tokens), Denominators(**tensors)


def model_flops(model: PolyGPT, learned: Sequence[TrainingSet]) -> float:
    """Floating-point operations of a molecule on average, forward and backward; the property predictor, whose work is a hundredth, left out."""
    shape, aside = model.shape, [*model.predictor.modules(), *model.property_encoder.modules()] if model.shape.properties else []
    matrices = matrix_parameters(model.modules(), without=aside) + model.token_embedding.weight.numel()
    # A position more than tokens: the prefix.
    positions = numpy.concatenate([numpy.diff(part.starts) for part in learned]) + 1.0
    squares = float((positions**2).mean())
    return training_flops(matrices, float(positions.mean())) + attention_flops(shape.layers, shape.width, 1, squares)


def _stream(phase: str, data: TrainingSet, config: PolyGPTConfig) -> BatchStream:
    conditional = phase == "finetune" and bool(config.properties)
    noise, dropout = config.property_noise, config.condition_dropout
    return BatchStream(data, config.batch_size, config.seed, phase, conditional=conditional, noise=noise, condition_dropout=dropout)


def _property_r2(names: Sequence[str], true: Tensor, told: Tensor) -> dict[str, float]:
    """`validation_property_r2_<name>` of true [N, P] (NaN: not known) and told [N, P]; none for a property with no two different known values."""
    scores = {}
    for column, name in enumerate(names):
        is_known = ~true[:, column].isnan()
        score = r_squared(true[is_known, column].double().numpy(), told[is_known, column].double().numpy())
        if math.isfinite(score):
            scores[f"validation_property_r2_{name}"] = score
    return scores
