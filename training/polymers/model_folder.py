"""A trained model of molecules on disk: model.safetensors, config.json and its tokenizer. The same weights and tokenizer make the same bytes."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch import nn

from formats.weights import ModelFiles, write_weights
from training.polymers.conditions import MoleculeModelError
from training.polymers.smiles_tokenizer import load_smiles_tokenizer, save_smiles_tokenizer

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Model = TypeVar("Model", bound=nn.Module)
WEIGHTS = "model.safetensors"


def save_molecule_model(folder: Path, files: ModelFiles[Any], model: nn.Module, tokenizer: "Tokenizer") -> None:
    """model: has the `shape` it was built from."""
    write_weights(folder / WEIGHTS, model)
    files.write_config(folder, model.shape)
    save_smiles_tokenizer(tokenizer, folder)


def load_molecule_model(
    folder: str | Path, files: ModelFiles[Any], build: Callable[[Any], Model], device: str | torch.device
) -> "tuple[Model, Tokenizer]":
    """The model in evaluation mode, built from its shape, and its tokenizer. Raises MoleculeModelError or SmilesTokenizerError."""
    folder = Path(folder)
    shape = files.read_config(folder)
    model = build(shape)
    files.read_weights(folder / WEIGHTS, model)
    tokenizer = load_smiles_tokenizer(folder)
    if tokenizer.get_vocab_size() != shape.vocabulary_size:
        raise MoleculeModelError(
            f"{folder}: the tokenizer has {tokenizer.get_vocab_size()} tokens, the model {shape.vocabulary_size}; they do not belong together"
        )
    return model.to(device).eval(), tokenizer
