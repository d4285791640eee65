"""A trained PolyVAE on disk: model.safetensors, config.json and its tokenizer. The same weights and tokenizer make the same bytes."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from formats.weights import ModelFiles
from training.polymers.conditions import MoleculeModelError
from training.polymers.model_folder import load_molecule_model, save_molecule_model
from training.polymers.vae.networks import PolyVAE, PolyVAEShape

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_FILES = ModelFiles("polyvae", "PolyVAE", "polyvae", PolyVAEShape, MoleculeModelError)


def save_polyvae(folder: Path, model: PolyVAE, tokenizer: "Tokenizer") -> None:
    """Write the model and its tokenizer into `folder`."""
    save_molecule_model(folder, _FILES, model, tokenizer)


def load_polyvae(folder: str | Path, *, device: str | torch.device = "cpu") -> "tuple[PolyVAE, Tokenizer]":
    """The model in evaluation mode and its tokenizer from a `data/polyvae` folder. Raises MoleculeModelError or SmilesTokenizerError."""
    return load_molecule_model(folder, _FILES, PolyVAE, device)
