"""Let a trained PolyVAE write molecules, from latents of its prior.

python -m training.polymers.vae.sample                                             # the stage: data/polyvae_samples/samples.parquet
python -m training.polymers.vae.sample --model data/polyvae --number 20 --temperature 0.8                          # SMILES, one a line
python -m training.polymers.vae.sample --model data/polyvae --number 20 --property mol_wt=150:350 --property tpsa=60    # a table
"""

import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from tokenizers import Tokenizer

from training.polymers.decoding import SamplingSettings, sample_molecules
from training.polymers.sampling import OpenModel, sampling_program
from training.polymers.vae.model_folder import load_polyvae
from training.polymers.vae.networks import PolyVAE
from training.polymers.vae.writer import PolyVAEWriter

STAGE, MODEL = "polyvae_samples", "polyvae"


def sample(
    model: PolyVAE, tokenizer: Tokenizer, *, number: int, temperature: float = 1.0, properties: Mapping[str, float] | None = None, seed: int = 0
) -> list[str]:
    """`number` SMILES as written by the model, valid or not. properties: wanted values by name, in the units of the dataset."""
    settings = SamplingSettings(temperature=temperature, seed=seed)
    return [molecule.smiles for molecule in sample_molecules(PolyVAEWriter(model, tokenizer), [properties or {}] * number, settings)]


def open_polyvae(folder: Path, device: torch.device) -> OpenModel:
    model, tokenizer = load_polyvae(folder, device=device)
    units = {name: model.shape.property_units.get(name, "") for name in model.shape.properties}
    return OpenModel(functools.partial(sample_molecules, PolyVAEWriter(model, tokenizer)), units)


def main(argv: Sequence[str] | None = None) -> int:
    return sampling_program(STAGE, MODEL, open_polyvae, __doc__, argv, expected=())


if __name__ == "__main__":
    sys.exit(main())
