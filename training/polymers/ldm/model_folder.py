"""A trained PolyLDM on disk, with all that it needs to write molecules. The same weights and tokenizer make the same bytes.

model.safetensors, config.json    denoiser, property embedding and statistics of latents, and what they are built from
vae/                              the PolyVAE whose latents these are, with its tokenizer
"""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from formats.weights import ModelFiles, write_weights
from training.polymers.conditions import MoleculeModelError
from training.polymers.ldm.networks import PolyLDM, PolyLDMShape
from training.polymers.vae import load_polyvae, save_polyvae

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_FILES = ModelFiles("polyldm", "PolyLDM", "polyldm", PolyLDMShape, MoleculeModelError)


def save_polyldm(folder: Path, model: PolyLDM, tokenizer: "Tokenizer") -> None:
    """Write all files of the list above into `folder`."""
    write_weights(folder / "model.safetensors", model.diffuser)
    _FILES.write_config(folder, model.shape)
    (folder / "vae").mkdir()
    save_polyvae(folder / "vae", model.vae, tokenizer)


def load_polyldm(folder: str | Path, *, device: str | torch.device = "cpu") -> "tuple[PolyLDM, Tokenizer]":
    """The model in evaluation mode and its tokenizer from a `data/polyldm` folder. Raises MoleculeModelError or SmilesTokenizerError."""
    shape = _FILES.read_config(Path(folder))
    vae, tokenizer = load_polyvae(Path(folder) / "vae")
    model = PolyLDM(shape, vae)
    _FILES.read_weights(Path(folder) / "model.safetensors", model.diffuser)
    return model.to(device).eval(), tokenizer
