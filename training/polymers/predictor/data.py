"""What the predictor learns from: molecules of its tables that have at least one of its properties, as features and values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy
from rdkit import Chem

from formats.molecule_tables import MoleculeTable, property_columns, read_molecules
from training.polymers.batches import property_scale
from training.polymers.conditions import MoleculeModelError
from training.polymers.predictor.config import PredictorConfig
from training.polymers.predictor.features import Features, Recipe, measure

# Of a property, in training and in validation: fewer say nothing of what a predictor of it is worth.
MINIMUM_VALUES = 10


@dataclass(frozen=True)
class Labelled:
    """N molecules and what is known of them. values: [N, P] float64 in the units of the dataset, NaN where a value is missing.

    units: by property. set_aside: molecules of the tables that were left out, by reason.
    """

    features: Features
    values: numpy.ndarray
    units: Mapping[str, str]
    set_aside: Mapping[str, int] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.values)

    def rows(self, rows: numpy.ndarray) -> "Labelled":
        """Those of the molecules numbered `rows`."""
        return Labelled(self.features.rows(rows), self.values[rows], self.units)

    @property
    def scale(self) -> "Scale":
        tables = (MoleculeTable([], values, (), {}) for values in (self.values, self.features.descriptors))
        return Scale(*(part for table in tables for part in property_scale([table])))


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of the properties [P] and of the descriptors [D], in their units."""

    property_mean: numpy.ndarray
    property_std: numpy.ndarray
    descriptor_mean: numpy.ndarray
    descriptor_std: numpy.ndarray

    def descriptors(self, features: Features) -> numpy.ndarray:
        """[N, D] float32 in standard deviations; one that a molecule does not have is as the mean."""
        return numpy.nan_to_num((features.descriptors - self.descriptor_mean) / self.descriptor_std, nan=0.0).astype(numpy.float32)


def read_labelled(
    folder: Path, config: PredictorConfig, *splits: str, recipe: Recipe | None = None, at_most: int | None = None, seed: int = 0
) -> Labelled:
    """The molecules of these splits of the datasets below `folder` that have a value; `at_most`, drawn at random. recipe: by default as config says.

    Raises MoleculeTableError, MoleculeModelError.
    """
    had = {name for dataset in config.train_on for name in property_columns(folder / dataset)}
    if unknown := [name for name in config.properties if name not in had]:
        # Reading it as a must from one of them says which names there are.
        read_molecules(folder / config.train_on[0], split=splits[0], split_column=config.split_column, properties=unknown)
    how: dict[str, Any] = {"split_column": config.split_column, "properties": config.properties, "absent_is_missing": True}
    tables = [read_molecules(folder / dataset, split=split, **how) for split in splits for dataset in config.train_on]
    values = numpy.concatenate([table.properties for table in tables])
    has_some = ~numpy.isnan(values).all(axis=1)
    rows = numpy.sort(numpy.random.default_rng(seed).permutation(numpy.flatnonzero(has_some))[:at_most])
    smiles = numpy.array([one for table in tables for one in table.smiles], dtype=object)[rows].tolist()
    molecules = [Chem.MolFromSmiles(one) for one in smiles]
    if None in molecules:
        unreadable = smiles[molecules.index(None)]
        raise MoleculeModelError(f"RDKit cannot read '{unreadable}', which a dataset has; make the dataset again with this release of RDKit")
    units = {name: unit for table in tables for name, unit in table.units.items()}
    recipe = recipe or Recipe(config.radius, config.bits, config.described_by)
    return Labelled(measure(molecules, recipe), values[rows], units, {"without_a_value": int((~has_some).sum())})


def check_enough(config: PredictorConfig, **parts: Labelled) -> None:
    """Raises MoleculeModelError where a split, by its name, knows too little of a property."""
    for split, labelled in parts.items():
        for name, known in zip(config.properties, (~numpy.isnan(labelled.values)).sum(axis=0).tolist(), strict=True):
            if known < MINIMUM_VALUES:
                raise MoleculeModelError(
                    f"{known} values of {name} in the split {split} of {' and '.join(config.train_on)}, at least {MINIMUM_VALUES} are needed "
                    f"to learn it and to calibrate what is said of it; leave it out of properties, or split otherwise"
                )
