"""A trained PolyVAE on disk: model.safetensors, config.json and its tokenizer. The same weights and tokenizer make the same bytes."""

from pathlib import Path

import torch
from tokenizers import Tokenizer

from formats.weights import ModelFiles, write_weights
from training.polymers.conditions import MoleculeModelError
from training.polymers.smiles_tokenizer import load_smiles_tokenizer, save_smiles_tokenizer
from training.polymers.vae.networks import PolyVAE, PolyVAEShape

_FILES = ModelFiles("polyvae", "PolyVAE", "polyvae", PolyVAEShape, MoleculeModelError)


def save_polyvae(folder: Path, model: PolyVAE, tokenizer: Tokenizer) -> None:
    """Write the model and its tokenizer into `folder`."""
    write_weights(folder / "model.safetensors", model)
    _FILES.write_config(folder, model.shape)
    save_smiles_tokenizer(tokenizer, folder)


def load_polyvae(folder: str | Path, *, device: str | torch.device = "cpu") -> tuple[PolyVAE, Tokenizer]:
    """The model in evaluation mode and its tokenizer from a `data/polyvae` folder. Raises MoleculeModelError or SmilesTokenizerError."""
    folder = Path(folder)
    model = PolyVAE(_FILES.read_config(folder))
    _FILES.read_weights(folder / "model.safetensors", model)
    tokenizer = load_smiles_tokenizer(folder)
    if tokenizer.get_vocab_size() != model.shape.vocabulary_size:
        raise MoleculeModelError(
            f"{folder}: the tokenizer has {tokenizer.get_vocab_size()} tokens, the model {model.shape.vocabulary_size}; they do not belong together"
        )
    return model.to(device).eval(), tokenizer
