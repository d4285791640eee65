"""A project with toy molecules, their tokenizer and a PolyVAE of them that has learnt nothing: what PolyLDM does with latents needs no good ones."""

from pathlib import Path

import pytest
import torch

from stages.artifact_id import content_id
from stages.output_folder import OutputFolder
from tests.training.harness import Harness
from tests.training.polymers.toy_molecules import write_molecules
from training.polymers import smiles_tokenizer
from training.polymers.origin import write_origin
from training.polymers.smiles_tokenizer import load_smiles_tokenizer
from training.polymers.vae import PolyVAE, PolyVAEShape, save_polyvae

PARAMS = """
smiles_tokenizer: {read: [molecules], vocabulary_size: null}
polyldm:
  hidden_width: 16
  step_width: 8
  diffusion_steps: 100
  condition_dropout: 0.2
  total_samples: 640
  batch_size: 20
  unfreeze_at_samples: 300
  learning_rate: 3.0e-3
  warmup_samples: 40
  ema_half_life_samples: 100
  validation_steps: 5
  checkpoint_every_samples: 100
  report_every_samples: 50
  seed: 3
polyldm_samples: {unconditional: 5, conditional: 15, temperatures: [1.0, 0.5], batch_size: 4, steps: 5, eta: 0.5, guidance: 2.0}
"""
LATENT = 6
HARNESS = Harness("polyldm", "training.polymers.ldm.train", ("data/molecules", "data/smiles_tokenizer", "data/polyvae"), copies=True)


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("project")
    write_molecules(folder / "data", number=180)
    (folder / "params.yaml").write_text(PARAMS)
    assert smiles_tokenizer.main(["--params", str(folder / "params.yaml"), "--data", str(folder / "data")]) == 0
    write_polyvae(folder / "data")
    return folder


def write_polyvae(data: Path, *, split_column: str = "split_random") -> PolyVAE:
    """`data/polyvae`, at first random; deeper than small at the latents, so that molecules differ in them."""
    tokenizer = load_smiles_tokenizer(data / "smiles_tokenizer")
    names, mean, std = ("length", "rings"), (10.0, 0.5), (3.0, 0.5)
    sizes = {"width": 16, "property_width": 8, "latent": LATENT, "encoder_layers": 1, "layers": 1, "heads": 2, "dropout": 0.0}
    shape = PolyVAEShape(tokenizer.get_vocab_size(), 40, names, mean, std, {"length": "characters", "rings": ""}, **sizes)
    torch.manual_seed(5)
    vae = PolyVAE(shape)
    with torch.no_grad():
        for parameter in vae.parameters():
            parameter.normal_(std=0.4)
    with OutputFolder(data / "polyvae") as output:
        save_polyvae(output.folder, vae, tokenizer)
        write_origin(output, {"molecules": content_id(data / "molecules")}, ["molecules"], split_column)
    return vae


@pytest.fixture
def project(prepared, tmp_path) -> Path:
    """A project of its own that shares the prepared inputs."""
    return HARNESS.project(prepared, tmp_path / "p")
