"""A trained property predictor on disk, and what it says of molecules.

    model.safetensors, config.json     the networks, what they are built from, the units and the calibration
    domain.safetensors                 fingerprints and descriptors of training molecules: where the domain ends

The same training makes the same bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import numpy
import torch
from rdkit.Chem import Mol
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from formats.weights import ModelFiles, write_weights
from training.polymers.conditions import MoleculeModelError
from training.polymers.predictor.data import Scale
from training.polymers.predictor.domain import Domain
from training.polymers.predictor.features import Features, Recipe, canonical, measure
from training.polymers.predictor.networks import PredictorShape, PropertyEnsemble

_FILES = ModelFiles("property_predictor", "property predictor", "property_predictor", PredictorShape, MoleculeModelError)


@dataclass(frozen=True)
class Predictions:
    """Of N molecules and P properties, in the units of the dataset. mean, std: [N, P] float64. in_domain: [N] bool. why: N, "" for those inside.

    std: calibrated, so that mean ± 1.645 std holds nine in ten true values of molecules like the held-out ones. Outside of the domain numbers are
    there to be looked at, not to be used.
    """

    mean: numpy.ndarray
    std: numpy.ndarray
    in_domain: numpy.ndarray
    why: tuple[str, ...]


@dataclass(frozen=True)
class Predictor:
    """A trained predictor. Its answers depend on each molecule alone, not on how it is written or what else is asked."""

    model: PropertyEnsemble
    domain: Domain

    @property
    def properties(self) -> tuple[str, ...]:
        return self.model.shape.properties

    @property
    def units(self) -> Mapping[str, str]:
        """By property, as the dataset says them."""
        return self.model.shape.property_units

    @property
    def recipe(self) -> Recipe:
        shape = self.model.shape
        return Recipe(shape.radius, shape.bits, shape.described_by)

    @property
    def scale(self) -> Scale:
        return Scale(**{field.name: numpy.array(getattr(self.model.shape, field.name)) for field in fields(Scale)})

    def predict(self, molecules: Sequence[Mol]) -> Predictions:
        """Raises MoleculeModelError for None among the molecules."""
        if None in molecules:
            place = list(molecules).index(None)
            raise MoleculeModelError(f"molecule {place} is None, such as RDKit gives for a SMILES that it cannot read; leave it out")
        return self.predict_features(measure([canonical(molecule) for molecule in molecules], self.recipe))

    def predict_features(self, features: Features) -> Predictions:
        """The same from the features of canonical molecules."""
        scale, device = self.scale, self.model.seen.device
        descriptors = scale.descriptors(features)
        told = self.model.told(torch.from_numpy(features.counts).to(device), torch.from_numpy(descriptors).to(device))
        mean, variance = (part.cpu().double().numpy() for part in told)
        why = self.domain.why_outside(features, descriptors)
        deviation = numpy.sqrt(variance) * scale.property_std * numpy.array(self.model.shape.calibration)
        return Predictions(mean * scale.property_std + scale.property_mean, deviation, numpy.array([not reason for reason in why], dtype=bool), why)


def save_predictor(folder: Path, predictor: Predictor) -> None:
    """Write all files of the list above into `folder`."""
    write_weights(folder / "model.safetensors", predictor.model)
    _FILES.write_config(folder, predictor.model.shape)
    domain = predictor.domain
    arrays = {"bits": numpy.packbits(domain.bits, axis=1), "descriptors": domain.descriptors}
    (folder / "domain.safetensors").write_bytes(save(arrays))


def load_predictor(folder: str | Path, *, device: str | torch.device = "cpu") -> Predictor:
    """The predictor in a `data/property_predictor` folder. Raises MoleculeModelError."""
    folder = Path(folder)
    model = PropertyEnsemble(shape := _FILES.read_config(folder))
    _FILES.read_weights(folder / "model.safetensors", model)
    path = folder / "domain.safetensors"
    try:
        arrays = load_file(path)
        bits, descriptors = numpy.unpackbits(arrays["bits"], axis=1, count=shape.bits), arrays["descriptors"]
    except (OSError, SafetensorError, KeyError) as error:
        raise MoleculeModelError(f"{path}: not the domain of the predictor beside it ({error}); make the model again") from None
    domain = Domain(bits, descriptors, frozenset(shape.elements), shape.similarity_at_least, shape.distance_at_most)
    return Predictor(model.to(device).eval(), domain)
