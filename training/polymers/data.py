"""What a model of molecules learns from: the tables that its options name, encoded, and the properties that it can be asked for."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy

from formats.molecule_tables import MoleculeTable, property_columns, read_molecules
from stages.reporting import Reporter
from training.polymers.batches import TrainingSet, build_training_set, property_scale
from training.polymers.conditions import MoleculeModelError
from training.polymers.smiles_tokenizer import load_smiles_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

TOKENIZER = "smiles_tokenizer"


class ReadOptions(Protocol):
    """What the section of every model of molecules says of its data; see PolyGPTConfig."""

    @property
    def split_column(self) -> str: ...
    @property
    def properties(self) -> tuple[str, ...]: ...
    @property
    def maximum_tokens(self) -> int: ...
    @property
    def seed(self) -> int: ...


@dataclass(frozen=True)
class MoleculeData:
    """Reads and encodes the datasets of one training. mean, std: [P], of the training molecules that teach the properties; units: by property."""

    stage: str
    folder: Path
    options: ReadOptions
    reporter: Reporter
    tokenizer: "Tokenizer"
    mean: numpy.ndarray
    std: numpy.ndarray
    units: dict[str, str]

    def shape(self) -> dict[str, Any]:
        """The fields of a `ConditionedShape`."""
        scale = {"property_mean": tuple(self.mean.tolist()), "property_std": tuple(self.std.tolist()), "property_units": self.units}
        return {
            "vocabulary_size": self.tokenizer.get_vocab_size(),
            "maximum_tokens": self.options.maximum_tokens,
            "properties": self.options.properties,
            **scale,
        }

    def learnt(self, names: Sequence[str], what: str, *, spellings: int = 0) -> TrainingSet:
        """The training split of the datasets `names`. what: such as `pre-train on`. Raises MoleculeModelError when nothing is left."""
        tables = [molecule_table(self.folder / name, self.options, "train") for name in names]
        encoded = self._encoded(tables, spellings=spellings, processes=os.cpu_count() or 1)
        set_aside = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in encoded.set_aside.items())
        self.reporter.log(f"{self.stage}: {len(encoded):,} molecules to {what}, set aside: {set_aside}")
        if not len(encoded):
            raise MoleculeModelError(
                f"{' and '.join(str(self.folder / name) for name in names)}: no molecule to {what} ({sum(map(len, tables)):,} in the training split, "
                f"set aside: {set_aside}); check split_column, maximum_tokens ({self.options.maximum_tokens}) and that the tokenizer fits"
            )
        return encoded

    def held_out(self, names: Sequence[str]) -> TrainingSet:
        """The validation split of the datasets `names`; may be empty."""
        return self._encoded([molecule_table(self.folder / name, self.options, "valid") for name in names])

    def _encoded(self, tables: Sequence[MoleculeTable], *, spellings: int = 0, processes: int = 1) -> TrainingSet:
        how: dict[str, Any] = {"maximum_tokens": self.options.maximum_tokens, "mean": self.mean, "std": self.std}
        return build_training_set(tables, self.tokenizer, **how, spellings=spellings, seed=self.options.seed, processes=processes)


def open_data(stage: str, folder: Path, options: ReadOptions, teachers: Sequence[str], reporter: Reporter) -> MoleculeData:
    """teachers: the datasets whose training splits teach the properties; a property may be missing from some of them, but one must have it.

    Raises MoleculeTableError, SmilesTokenizerError.
    """
    tokenizer = load_smiles_tokenizer(folder / TOKENIZER)
    had = {name for dataset in teachers for name in property_columns(folder / dataset)}
    unknown = [name for name in options.properties if name not in had]
    if unknown:
        # Reading it as a must from one of them says which names there are.
        read_molecules(folder / teachers[0], split="train", split_column=options.split_column, properties=unknown)
    # Properties are measured in standard deviations of the molecules that teach them.
    tables = [molecule_table(folder / name, options, "train") for name in teachers]
    mean, std = property_scale(tables)
    units = {name: unit for table in tables for name, unit in table.units.items()}
    return MoleculeData(stage, folder, options, reporter, tokenizer, mean, std, units)


def molecule_table(folder: Path, options: ReadOptions, split: str) -> MoleculeTable:
    """One split of the dataset in `folder`; properties that it does not have are NaN."""
    return read_molecules(folder, split=split, split_column=options.split_column, properties=options.properties, absent_is_missing=True)
