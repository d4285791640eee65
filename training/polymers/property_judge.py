"""Values of molecules by name: RDKit's where it can compute a property, else those of the trained property predictor, with how sure it is.

The predictor is opened by its module's name, as it is one model among those of this family.
"""

import math
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol

import numpy
from rdkit.Chem import Mol

from formats.descriptors import DESCRIPTORS
from training.metrics.molecules import Reading
from training.polymers.conditions import MoleculeModelError

PREDICTOR = "property_predictor"


class Predictor(Protocol):
    """`predict` tells mean [N, P] and std [N, P] in the units of the dataset, and in_domain [N]: whether it knows such molecules at all."""

    @property
    def properties(self) -> tuple[str, ...]: ...
    def predict(self, molecules: Sequence[Mol], /) -> Any: ...


def open_predictor(folder: Path) -> Predictor:
    """Raises MoleculeModelError where there is none."""
    if not folder.is_dir():
        raise MoleculeModelError(f"{folder}: no such folder; train the judge first: figment materialize {PREDICTOR}")
    predictor: Predictor = import_module("training.polymers.predictor").load_predictor(folder)
    return predictor


def predicted(
    reading: Reading, names: Sequence[str], predictor: Predictor
) -> tuple[dict[str, numpy.ndarray], dict[str, numpy.ndarray], numpy.ndarray]:
    """Means [N] and standard deviations [N] by those of `names` that the predictor knows and RDKit does not, and where it is at home [N] bool.

    NaN for strings that are not valid. Molecules outside the domain have values, too: the caller decides.
    """
    chosen = [name for name in names if name in predictor.properties and name not in DESCRIPTORS]
    place = {smiles: row for row, smiles in enumerate(reading.molecules)}
    is_valid = numpy.array([smiles is not None for smiles in reading.canonical], dtype=bool)
    if not chosen or not place:
        nothing = {name: numpy.full(len(is_valid), math.nan) for name in chosen}
        return nothing, nothing, numpy.zeros(len(is_valid), dtype=bool)
    told = predictor.predict(list(reading.molecules.values()))
    rows = numpy.array([0 if smiles is None else place[smiles] for smiles in reading.canonical])
    columns = [(name, predictor.properties.index(name)) for name in chosen]
    mean, std = ({name: numpy.where(is_valid, values[rows, column], math.nan) for name, column in columns} for values in (told.mean, told.std))
    return mean, std, is_valid & told.in_domain[rows]
