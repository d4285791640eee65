"""A trained PolyLDM on disk, with all that it needs to write molecules.

    model.safetensors, config.json    denoiser, property embedding and statistics of latents, and what they are built from
    vae/                              the PolyVAE whose latents these are, with the tokenizer, as model_folder.py of that model writes it

The same weights and tokenizer make the same bytes.
"""

from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import nn

from formats.weights import ModelFiles, write_weights
from training.polymers.conditions import MoleculeModelError
from training.polymers.ldm.networks import PolyLDM, PolyLDMShape
from training.polymers.vae import load_polyvae, save_polyvae

_FILES = ModelFiles("polyldm", "PolyLDM", "polyldm", PolyLDMShape, MoleculeModelError)


def save_polyldm(folder: Path, model: PolyLDM, tokenizer: Tokenizer) -> None:
    """Write all files of the list above into `folder`."""
    write_weights(folder / "model.safetensors", _own(model))
    _FILES.write_config(folder, model.shape)
    (folder / "vae").mkdir()
    save_polyvae(folder / "vae", model.vae, tokenizer)


def load_polyldm(folder: str | Path, *, device: str | torch.device = "cpu") -> tuple[PolyLDM, Tokenizer]:
    """The model in evaluation mode and its tokenizer from a `data/polyldm` folder. Raises MoleculeModelError or SmilesTokenizerError."""
    folder = Path(folder)
    shape = _FILES.read_config(folder)
    vae, tokenizer = load_polyvae(folder / "vae")
    try:
        model = PolyLDM(shape, vae)
    except MoleculeModelError as error:
        raise MoleculeModelError(f"{folder}: {error}") from None
    _FILES.read_weights(folder / "model.safetensors", _own(model))
    return model.to(device).eval(), tokenizer


def _own(model: PolyLDM) -> nn.Module:
    """What is PolyLDM's alone, tensors shared with `model`."""
    own = nn.Module()
    own.diffuser = model.diffuser
    for name in ("latent_mean", "latent_std"):
        own.register_buffer(name, getattr(model, name))
    return own
