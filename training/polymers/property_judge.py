"""Values of molecules by name: RDKit's where it can compute a property, else those of the trained property predictor, with how sure it is.

The predictor is opened by its module's name, as it is one model among those of this family.
"""

import math
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Protocol

import numpy
from rdkit.Chem import Mol

from formats.descriptors import DESCRIPTORS
from training.metrics.molecules import Reading
from training.polymers.conditions import MoleculeModelError
from training.polymers.scoring import obtained_values

PREDICTOR = "property_predictor"


class Told(Protocol):
    """mean, std: [N, P] float64 in the units of the dataset. in_domain: [N], whether the predictor knows such molecules at all."""

    @property
    def mean(self) -> numpy.ndarray: ...
    @property
    def std(self) -> numpy.ndarray: ...
    @property
    def in_domain(self) -> numpy.ndarray: ...


class Predictor(Protocol):
    """A trained property predictor."""

    @property
    def properties(self) -> tuple[str, ...]: ...
    @property
    def units(self) -> Mapping[str, str]: ...
    def predict(self, molecules: Sequence[Mol], /) -> Told: ...


def open_predictor(folder: Path) -> Predictor:
    """Raises MoleculeModelError where there is none."""
    if not folder.is_dir():
        raise MoleculeModelError(f"{folder}: no such folder; train the judge first: figment materialize {PREDICTOR}")
    predictor: Predictor = import_module("training.polymers.predictor").load_predictor(folder)
    return predictor


def measured(reading: Reading, names: Sequence[str]) -> dict[str, numpy.ndarray]:
    """[N] by those of `names` that RDKit can compute; NaN for strings that are not valid."""
    return {name: obtained_values(reading, name) for name in names if name in DESCRIPTORS}


def predicted(
    reading: Reading, names: Sequence[str], predictor: Predictor
) -> tuple[dict[str, numpy.ndarray], dict[str, numpy.ndarray], numpy.ndarray]:
    """Means [N] and standard deviations [N] by those of `names` that the predictor knows and RDKit does not, and where it is at home [N] bool.

    Means and deviations are NaN for strings that are not valid, and are given for molecules outside the domain, too: the caller decides.
    """
    chosen = [name for name in names if name in predictor.properties and name not in DESCRIPTORS]
    told = predictor.predict(list(reading.molecules.values())) if chosen and reading.molecules else None
    place = {smiles: row for row, smiles in enumerate(reading.molecules)}
    rows = [None if smiles is None or told is None else place[smiles] for smiles in reading.canonical]

    def for_each(values: numpy.ndarray | None) -> numpy.ndarray:
        return numpy.array([math.nan if row is None or values is None else values[row] for row in rows], dtype=numpy.float64)

    def column(values: numpy.ndarray | None, name: str) -> numpy.ndarray:
        return for_each(None if values is None else values[:, predictor.properties.index(name)])

    means, deviations = ({name: column(values, name) for name in chosen} for values in ((told.mean, told.std) if told else (None, None)))
    return means, deviations, for_each(told.in_domain.astype(numpy.float64) if told else None) == 1
