"""What PolyGPT learns from: the datasets that its options name, encoded, and the shape of the model that they imply."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from formats.molecule_tables import MoleculeTable, property_columns, read_molecules
from stages.reporting import Reporter
from training.polymers.gpt.batches import TrainingSet, build_training_set, property_scale
from training.polymers.gpt.config import PolyGPTConfig
from training.polymers.gpt.networks import PolyGPTError, PolyGPTShape
from training.polymers.smiles_tokenizer import load_smiles_tokenizer

TOKENIZER = "smiles_tokenizer"


@dataclass(frozen=True)
class PolyGPTData:
    """What PolyGPT learns from: the molecules of each phase (None: the phase is left out), those it is judged on, and the shape they imply."""

    shape: PolyGPTShape
    tokenizer: Tokenizer
    pretrain: TrainingSet | None
    finetune: TrainingSet | None
    valid: TrainingSet


def read_data(folder: Path, config: PolyGPTConfig, reporter: Reporter) -> PolyGPTData:
    """Read and encode what `config` names from the data folder. Raises MoleculeTableError, SmilesTokenizerError or PolyGPTError."""
    tokenizer = load_smiles_tokenizer(folder / TOKENIZER)
    _check_properties(folder, config)
    tables = {name: _read_table(folder / name, config, "train") for name in config.datasets}

    # Properties are measured in standard deviations of the molecules that teach them.
    finetune_tables = [tables[name] for name in config.finetune_on if name in tables] if config.finetune_samples else list(tables.values())
    mean, std = property_scale(finetune_tables)
    encoding: dict[str, Any] = {"maximum_tokens": config.maximum_tokens, "mean": mean, "std": std}

    def encode(names: Sequence[str], what: str, spellings: int = 0) -> TrainingSet:
        parts = [tables[name] for name in names]
        processes = os.cpu_count() or 1
        encoded = build_training_set(parts, tokenizer, **encoding, spellings=spellings, seed=config.seed, processes=processes)
        reporter.log(f"polygpt: {len(encoded):,} molecules to {what}, set aside: {_counts(encoded)}")
        if not len(encoded):
            raise PolyGPTError(
                f"{' and '.join(str(folder / name) for name in names)}: no molecule to {what} ({sum(map(len, parts)):,} in the training split, "
                f"set aside: {_counts(encoded)}); check split_column, maximum_tokens ({config.maximum_tokens}) and that the tokenizer fits"
            )
        return encoded

    # What both classes name, they mean alike.
    shared = {field.name: getattr(config, field.name) for field in fields(PolyGPTShape) if hasattr(config, field.name)}
    units = {name: unit for table in finetune_tables for name, unit in table.units.items()}
    scale: dict[str, Any] = {"property_mean": tuple(mean.tolist()), "property_std": tuple(std.tolist()), "property_units": units}
    valid_tables = [_read_table(folder / name, config, "valid") for name in config.datasets]
    return PolyGPTData(
        shape=PolyGPTShape(tokenizer.get_vocab_size(), **shared, **scale),
        tokenizer=tokenizer,
        pretrain=encode(config.pretrain_on, "pre-train on", config.spellings_per_molecule) if config.pretrain_samples else None,
        finetune=encode(config.finetune_on, "fine-tune on") if config.finetune_samples else None,
        valid=build_training_set(valid_tables, tokenizer, **encoding),
    )


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


def _counts(encoded: TrainingSet) -> str:
    return ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in encoded.set_aside.items())
