"""Let a trained PolyVAE write molecules, from latents of its prior.

python -m training.polymers.vae.sample                                             # the stage: data/polyvae_samples/samples.parquet
python -m training.polymers.vae.sample --model data/polyvae --number 20 --temperature 0.8                          # SMILES, one a line
python -m training.polymers.vae.sample --model data/polyvae --number 20 --property mol_wt=150:350 --property tpsa=60    # a table
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer

from training.polymers.decoding import sample_smiles
from training.polymers.sampling import OpenModel, open_writer, sampling_program
from training.polymers.vae.model_folder import load_polyvae
from training.polymers.vae.networks import PolyVAE
from training.polymers.vae.writer import PolyVAEWriter

STAGE, MODEL = "polyvae_samples", "polyvae"


def sample(model: PolyVAE, tokenizer: Tokenizer, **wanted: Any) -> list[str]:
    """SMILES as written by the model; for `number`, `properties` and the rest see `sample_smiles`."""
    return sample_smiles(PolyVAEWriter(model, tokenizer), **wanted)


def open_polyvae(folder: Path, device: torch.device) -> OpenModel:
    return open_writer(PolyVAEWriter(*load_polyvae(folder, device=device)))


def main(argv: Sequence[str] | None = None) -> int:
    return sampling_program(STAGE, MODEL, open_polyvae, __doc__, argv, expected=())


if __name__ == "__main__":
    sys.exit(main())
