"""A trained PolyGPT on disk, with its tokenizer: for this project, and for `transformers` in a process that has nothing of it.

    model.safetensors, config.json                   weights, and what the network is built from
    modeling_polygpt.py, generation_config.json      what AutoModelForCausalLM runs, and how `generate` begins, ends and chooses
    tokenizer.json, tokenizer_config.json, special_tokens_map.json

The same weights and tokenizer make the same bytes.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from formats.weights import ModelFiles
from training.polymers.conditions import MoleculeModelError
from training.polymers.gpt.networks import PolyGPT, PolyGPTShape
from training.polymers.gpt.self_contained import modeling_source
from training.polymers.model_folder import load_molecule_model, save_molecule_model
from training.polymers.smiles_tokenizer import BOS, EOS, MASK, PAD, UNK

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_MODELING = "modeling_polygpt"
_FOR_TRANSFORMERS = {
    "architectures": ["PolyGPTForCausalLM"],
    "auto_map": {"AutoConfig": f"{_MODELING}.PolyGPTTransformersConfig", "AutoModelForCausalLM": f"{_MODELING}.PolyGPTForCausalLM"},
}
_FILES = ModelFiles("polygpt", "PolyGPT", "polygpt", PolyGPTShape, MoleculeModelError, beside=_FOR_TRANSFORMERS)


def save_polygpt(folder: Path, model: PolyGPT, tokenizer: "Tokenizer") -> None:
    """Write all files of the list above into `folder`."""
    save_molecule_model(folder, _FILES, model, tokenizer)
    # `sample.py` never chooses these either, and a molecule has as much room.
    generation = {"bos_token_id": BOS, "eos_token_id": EOS, "pad_token_id": PAD, "suppress_tokens": [PAD, BOS, UNK, MASK]}
    generation |= {"do_sample": True, "max_length": model.shape.maximum_tokens, "top_k": 0}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n", encoding="utf-8")
    (folder / f"{_MODELING}.py").write_text(modeling_source(), encoding="utf-8")


def load_polygpt(folder: str | Path, *, device: str | torch.device = "cpu") -> "tuple[PolyGPT, Tokenizer]":
    """The model in evaluation mode and its tokenizer from a `data/polygpt` folder. Raises MoleculeModelError or SmilesTokenizerError."""
    return load_molecule_model(folder, _FILES, PolyGPT, device)
