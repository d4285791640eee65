"""Train PolyGPT: first to write molecules at all, then to write molecules with wanted properties.

    python -m training.polymers.gpt.train
    python -m training.polymers.gpt.train --set pretrain_samples=2000 --set finetune_samples=1000      # a minute on a CPU
    torchrun --nproc-per-node 4 -m training.polymers.gpt.train

Reads data/molecules, data/polymers (whichever `pretrain_on` and `finetune_on` name) and data/smiles_tokenizer; writes data/polygpt. The same command
again continues where the last one was interrupted.
"""

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from formats.molecule_tables import MoleculeTable, MoleculeTableError, property_columns, read_molecules
from stages.artifact_id import content_id
from stages.derived_seed import derive_seed
from stages.output_folder import OutputFolder
from stages.params import load_params
from stages.program import program
from stages.reporting import Reporter, SilentReporter
from stages.run_key import run_key
from training.loop.checkpoint import CheckpointError, Checkpoints
from training.loop.devices import Devices, open_devices
from training.loop.ema import Ema
from training.loop.loop import Hook, Outcome, Plan, StepOutcome, TrainingError, backward_and_step, linear_schedule, train
from training.loop.seeding import seed_everything
from training.polymers.gpt.batches import BatchStream, TrainingSet, build_training_set, property_scale
from training.polymers.gpt.config import PolyGPTConfig, PolyGPTShape
from training.polymers.gpt.losses import LossWeights, polygpt_losses
from training.polymers.gpt.networks import PolyGPT, PolyGPTError
from training.polymers.smiles import SpellingError
from training.polymers.smiles_tokenizer import SmilesTokenizerError, load_smiles_tokenizer, save_smiles_tokenizer
from training.tracking.tracker import InputArtifact, TrackingError, open_tracker

STAGE = "polygpt"
_VALIDATION_MOLECULES = 1024


@dataclass(frozen=True)
class PolyGPTData:
    """What PolyGPT learns from: the molecules of each phase (None: the phase is left out), those it is judged on, and the shape they imply."""

    shape: PolyGPTShape
    tokenizer: Tokenizer
    pretrain: TrainingSet | None
    finetune: TrainingSet | None
    valid: TrainingSet


class PolyGPTTrainer:
    """Both phases of PolyGPT as one `Trainable`: which one is on follows from `samples_seen`."""

    def __init__(self, data: PolyGPTData, config: PolyGPTConfig, devices: Devices) -> None:
        self.config, self.devices = config, devices
        seed_everything(config.seed)
        self.model = PolyGPT(data.shape).to(devices.device)
        # Equal weights in every process, but not equal dropout.
        torch.manual_seed(derive_seed(config.seed, "dropout", devices.rank))
        self.parameters = list(self.model.parameters())
        self.optimizer = _adamw(self.model, config)
        self.ema = Ema(self.model, half_life_samples=config.ema_half_life_samples) if config.ema_half_life_samples else None
        self.weights = LossWeights(config.alpha, config.beta, config.gamma)
        self.streams = {
            phase: self._stream(phase, part) for phase, part in (("pretrain", data.pretrain), ("finetune", data.finetune)) if part is not None
        }
        self.valid = data.valid
        self.samples_seen = 0

    @property
    def phase(self) -> str:
        return "pretrain" if self.samples_seen < self.config.pretrain_samples else "finetune"

    def step(self) -> StepOutcome:
        end = self.config.pretrain_samples if self.phase == "pretrain" else self.config.total_samples
        batch = self.streams[self.phase].next(at_most=end - self.samples_seen)
        share = batch.share(self.devices.rank, self.devices.world_size).to(self.devices.device)
        learning_rate = self._set_learning_rate()
        self.model.train()
        with self.devices.autocast(self.config.precision):
            losses = polygpt_losses(self.model, share, self.weights, batch.denominators())
        norm, skipped = backward_and_step(
            losses.total, self.optimizer, self.parameters, clip_norm=self.config.gradient_clip_norm, devices=self.devices
        )
        if self.ema is not None and not skipped:
            self.ema.update(self.model, samples=len(batch.tokens))
        self.samples_seen += len(batch.tokens)
        values = dict(zip(_LOSS_NAMES, self._summed(losses), strict=True))
        return StepOutcome({**values, "gradient_norm": norm, "learning_rate": learning_rate}, len(batch.tokens), skipped)

    def state_dict(self) -> dict[str, Any]:
        return {
            "samples_seen": self.samples_seen,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "ema": self.ema.state_dict() if self.ema is not None else None,
            "streams": {phase: stream.state_dict() for phase, stream in self.streams.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.samples_seen = state["samples_seen"]
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.ema is not None:
            self.ema.load_state_dict(state["ema"])
        for phase, stream in self.streams.items():
            stream.load_state_dict(state["streams"][phase])

    def reseed(self, rollback: int) -> None:
        for stream in self.streams.values():
            stream.salt = rollback

    def final_model(self) -> PolyGPT:
        """The model to save: the averaged weights where there is an average."""
        if self.ema is not None:
            self.model.load_state_dict(self.ema.state_dict())
        return self.model.eval()

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Cross-entropy and accuracy per token on held-out molecules, asked for with their true properties once fine-tuning has begun."""
        if not len(self.valid):
            return {}
        self.model.eval()
        stream = BatchStream(self.valid, 128, self.config.seed, "valid", conditional=self.phase == "finetune", noise=self.config.property_noise)
        sums: dict[str, float] = {}
        tokens = 0
        for _ in range(-(-min(len(self.valid), _VALIDATION_MOLECULES) // 128)):
            batch = stream.next(at_most=128).to(self.devices.device)
            denominators = batch.denominators()
            losses = polygpt_losses(self.model, batch, self.weights, denominators)
            tokens += denominators.tokens
            for name, value in (("validation_loss", losses.cross_entropy), ("validation_accuracy", losses.accuracy)):
                sums[name] = sums.get(name, 0.0) + float(value) * denominators.tokens
        return {name: total / tokens for name, total in sums.items()}

    def _stream(self, phase: str, data: TrainingSet) -> BatchStream:
        config = self.config
        if phase == "pretrain":
            return BatchStream(data, config.batch_size, config.seed, phase)
        return BatchStream(
            data,
            config.batch_size,
            config.seed,
            phase,
            conditional=bool(config.properties),
            noise=config.property_noise,
            condition_dropout=config.condition_dropout,
        )

    def _set_learning_rate(self) -> float:
        config = self.config
        pretraining = self.phase == "pretrain"
        factor = linear_schedule(
            self.samples_seen if pretraining else self.samples_seen - config.pretrain_samples,
            warmup_samples=config.warmup_samples,
            total_samples=config.pretrain_samples if pretraining else config.finetune_samples,
            final_fraction=config.final_learning_rate_fraction,
        )
        rate = factor * (config.learning_rate if pretraining else config.finetune_learning_rate)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _summed(self, losses: Any) -> torch.Tensor:
        shares = [losses.total, losses.cross_entropy, losses.auxiliary, losses.align, losses.predictor, losses.accuracy]
        return self.devices.sum(torch.stack([share.detach().float() for share in shares]))


_LOSS_NAMES = ("loss", "cross_entropy_loss", "auxiliary_loss", "align_loss", "predictor_loss", "accuracy")


def read_data(folder: Path, config: PolyGPTConfig, reporter: Reporter) -> PolyGPTData:
    """Read and encode what `config` names from the data folder. Raises MoleculeTableError, SmilesTokenizerError or PolyGPTError."""
    tokenizer = load_smiles_tokenizer(folder / "smiles_tokenizer")
    _check_properties(folder, config)
    tables = {name: _read_table(folder / name, config, "train") for name in config.datasets}
    finetune_tables = [tables[name] for name in config.finetune_on if name in tables] if config.finetune_samples else list(tables.values())
    mean, std = property_scale(finetune_tables)
    encoding: dict[str, Any] = {"maximum_tokens": config.maximum_tokens, "mean": mean, "std": std}

    def encode(names: Sequence[str], what: str, spellings: int = 0) -> TrainingSet:
        parts = [tables[name] for name in names]
        processes = os.cpu_count() or 1
        encoded = build_training_set(parts, tokenizer, **encoding, spellings=spellings, seed=config.seed, processes=processes)
        reporter.log(f"{STAGE}: {len(encoded):,} molecules to {what}, set aside: {_counts(encoded)}")
        if not len(encoded):
            raise PolyGPTError(
                f"{' and '.join(str(folder / name) for name in names)}: no molecule to {what} ({sum(map(len, parts)):,} in the training split, "
                f"set aside: {_counts(encoded)}); check split_column, maximum_tokens ({config.maximum_tokens}) and that the tokenizer fits"
            )
        return encoded

    valid_tables = [_read_table(folder / name, config, "valid") for name in config.datasets]
    return PolyGPTData(
        shape=_shape(config, tokenizer, {name: unit for table in finetune_tables for name, unit in table.units.items()}, mean, std),
        tokenizer=tokenizer,
        pretrain=encode(config.pretrain_on, "pre-train on", config.spellings_per_molecule) if config.pretrain_samples else None,
        finetune=encode(config.finetune_on, "fine-tune on") if config.finetune_samples else None,
        valid=build_training_set(valid_tables, tokenizer, **encoding),
    )


def train_polygpt(arguments: Namespace, config: PolyGPTConfig, reporter: Reporter, devices: Devices) -> None:
    """Everything between the parameters and the output folder."""
    data = read_data(arguments.data, config, reporter)
    paths = {name: arguments.data / name for name in (*config.datasets, "smiles_tokenizer")}
    inputs = [InputArtifact(name=name, path=path, id=content_id(path)) for name, path in paths.items()]
    key = run_key(
        STAGE,
        "training.polymers.gpt.train",
        config=config.decisive(),
        inputs={item.name: item.id for item in inputs},
        libraries=("torch", "tokenizers"),
    )
    checkpoints = Checkpoints(arguments.state / "checkpoints" / STAGE, key, config.keep_checkpoints, reporter)
    if arguments.from_scratch and devices.is_main:
        checkpoints.remove()
    devices.wait()
    resume_from = checkpoints.latest()
    trainer = PolyGPTTrainer(data, config, devices)
    plan = Plan(config.total_samples, config.report_every_samples, config.checkpoint_every_samples, config.max_seconds, what="molecules")
    resume_step = resume_from["samples"] if resume_from else None
    with open_tracker(
        STAGE, run_key=key, config=asdict(config), inputs=inputs, state_dir=arguments.state, resume_step=resume_step, reporter=reporter
    ) as tracker:
        outcome = train(
            trainer,
            plan,
            checkpoints=checkpoints,
            resume_from=resume_from,
            sink=tracker,
            reporter=reporter,
            devices=devices,
            hooks=[Hook(config.checkpoint_every_samples, trainer.validate)],
        )
        if not devices.is_main:
            return
        output = arguments.data / STAGE
        _write_output(output, trainer.final_model(), data, outcome)
        checkpoints.keep_last_only()
        tracker.register_model(STAGE, output, output_id=content_id(output))
        _tell(reporter, outcome, plan, trainer.model)


def _adamw(model: PolyGPT, config: PolyGPTConfig) -> torch.optim.AdamW:
    """AdamW with decay on matrices only: not on biases and gains."""
    matrices = [parameter for parameter in model.parameters() if parameter.dim() >= 2]
    others = [parameter for parameter in model.parameters() if parameter.dim() < 2]
    groups = [{"params": matrices, "weight_decay": config.weight_decay}, {"params": others, "weight_decay": 0.0}]
    on_gpu = matrices[0].device.type == "cuda"
    return torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, config.adam_beta2), fused=True if on_gpu else None)


def _check_properties(folder: Path, config: PolyGPTConfig) -> None:
    """A property may be missing from some datasets, but one of those that teach it must have it. Raises MoleculeTableError."""
    teachers = (config.finetune_on if config.finetune_samples else ()) or config.datasets
    had = {name for dataset in teachers for name in property_columns(folder / dataset)}
    unknown = [name for name in config.properties if name not in had]
    if unknown:
        # Reading it as a must from one of them says which names there are.
        read_molecules(folder / teachers[0], split="train", split_column=config.split_column, properties=unknown)


def _read_table(folder: Path, config: PolyGPTConfig, split: str) -> MoleculeTable:
    return read_molecules(folder, split=split, split_column=config.split_column, properties=config.properties, absent_is_missing=True)


def _shape(config: PolyGPTConfig, tokenizer: Tokenizer, units: dict[str, str], mean: Any, std: Any) -> PolyGPTShape:
    return PolyGPTShape(
        vocabulary_size=tokenizer.get_vocab_size(),
        maximum_tokens=config.maximum_tokens,
        width=config.width,
        layers=config.layers,
        heads=config.heads,
        dropout=config.dropout,
        predictor_width=config.predictor_width,
        properties=config.properties,
        property_mean=tuple(mean.tolist()),
        property_std=tuple(std.tolist()),
        property_units=units,
    )


def _counts(encoded: TrainingSet) -> str:
    return ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in encoded.set_aside.items())


def _write_output(target: Path, model: PolyGPT, data: PolyGPTData, outcome: Outcome) -> None:
    parts = {"pretrain": data.pretrain, "finetune": data.finetune, "valid": data.valid}
    summary = {
        "samples_seen": outcome.samples_seen,
        "finished": outcome.finished,
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "skipped_steps": outcome.skipped_steps,
        "rollbacks": outcome.rollbacks,
        "molecules": {name: len(part) for name, part in parts.items() if part is not None},
        "set_aside": {name: part.set_aside for name, part in parts.items() if part is not None},
        "last_values": {name: round(value, 6) for name, value in sorted(outcome.values.items())},
    }
    with OutputFolder(target) as output:
        model.save(output.folder)
        save_smiles_tokenizer(data.tokenizer, output.folder)
        output.write_json("training_summary.json", summary)


def _tell(reporter: Reporter, outcome: Outcome, plan: Plan, model: PolyGPT) -> None:
    if not outcome.finished:
        reporter.log(
            f"{STAGE}: max_seconds reached after {outcome.samples_seen:,} of {plan.total_samples:,} molecules; the output holds the model so far, "
            "and the same command again continues (max_seconds may be changed)"
        )
    parameters = sum(parameter.numel() for parameter in model.parameters())
    values = {name: value for name, value in outcome.values.items() if name in ("validation_loss", "validation_accuracy", "loss")}
    reporter.metadata(samples_seen=outcome.samples_seen, finished=outcome.finished, parameters=parameters, **values)
    shown = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
    reporter.log(f"{STAGE}: {parameters:,} parameters, {outcome.samples_seen:,} molecules seen; {shown}")


def _run(arguments: Namespace, reporter: Reporter) -> None:
    overrides = arguments.overrides + ([f"max_seconds={arguments.max_seconds}"] if arguments.max_seconds is not None else [])
    config = load_params(arguments.params, STAGE, PolyGPTConfig, overrides=overrides)
    with open_devices() as devices:
        if config.batch_size % devices.world_size:
            raise PolyGPTError(f"batch_size {config.batch_size} does not divide among {devices.world_size} processes; choose a multiple")
        train_polygpt(arguments, config, reporter if devices.is_main else SilentReporter(), devices)


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--state", type=Path, default=Path(".figment"), metavar="DIR", help="folder of checkpoints and tracking (default: %(default)s)"
    )
    parser.add_argument("--max-seconds", type=float, metavar="S", help="stop at a checkpoint after this long; short for --set max_seconds=S")
    parser.add_argument("--from-scratch", action="store_true", help="forget the checkpoints of this very training and begin anew")


def main(argv: Sequence[str] | None = None) -> int:
    expected = (PolyGPTError, SmilesTokenizerError, MoleculeTableError, CheckpointError, TrainingError, SpellingError, TrackingError)
    return program(__doc__, _run, argv, expected=expected, configure=_configure)


if __name__ == "__main__":
    sys.exit(main())
