"""Let a trained PolyLDM write molecules.

python -m training.polymers.ldm.sample                                             # the stage: data/polyldm_samples/samples.parquet
python -m training.polymers.ldm.sample --model data/polyldm --number 20 --temperature 0.8                          # SMILES, one a line
python -m training.polymers.ldm.sample --model data/polyldm --number 20 --property mol_wt=150:350 --property tpsa=60    # a table
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from training.loop.bounds import at_least, within
from training.polymers.decoding import SamplingSettings, sample_molecules
from training.polymers.ldm.model_folder import load_polyldm
from training.polymers.ldm.networks import PolyLDM
from training.polymers.sample_table import Request, SampledMolecule
from training.polymers.sampling import OpenModel, SamplesConfig, sampling_program, units_of
from training.polymers.vae.writer import PolyVAEWriter

if TYPE_CHECKING:
    from tokenizers import Tokenizer

STAGE, MODEL = "polyldm_samples", "polyldm"


@dataclass(frozen=True)
class LatentSettings(SamplingSettings):
    """How latents and tokens are chosen. steps, eta: of DDIM. guidance: of the wish, 1 none (samplers.py)."""

    steps: int = 50
    eta: float = 0.0
    guidance: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "steps")
        at_least(self, 0, "guidance")
        within(self, 0, 1, "eta")


@dataclass(frozen=True)
class PolyLDMSamplesConfig(SamplesConfig):
    """The section `polyldm_samples`. steps, eta, guidance: see LatentSettings."""

    steps: int = 50
    eta: float = 0.0
    guidance: float = 1.0

    def settings(self, temperature: float, seed: int, *, guided: bool = False) -> LatentSettings:
        return LatentSettings(**vars(super().settings(temperature, seed, guided=guided)), steps=self.steps, eta=self.eta, guidance=self.guidance)


@dataclass(frozen=True)
class PolyLDMWriter(PolyVAEWriter):
    """PolyLDM as training/polymers/decoding.py wants it: its PolyVAE, with latents that are made to order."""

    source: PolyLDM
    how: LatentSettings

    def latents(self, wanted: Tensor, mask: Tensor, random: Sequence[torch.Generator]) -> Tensor:
        how, draw = self.how, partial(self.noise, random)
        return self.source.latents(wanted, mask, draw, steps=how.steps, eta=how.eta, guidance=how.guidance)


def write(model: PolyLDM, tokenizer: "Tokenizer", requests: Sequence[Request], settings: SamplingSettings) -> Iterator[SampledMolecule]:
    """One molecule for each request. settings: LatentSettings; others mean its defaults."""
    how = settings if isinstance(settings, LatentSettings) else LatentSettings(**vars(settings))
    return sample_molecules(PolyLDMWriter(model.vae, tokenizer, model, how), requests, how)


def sample(model: PolyLDM, tokenizer: "Tokenizer", *, number: int, properties: Request | None = None, **settings: Any) -> list[str]:
    """As `sample_smiles`; settings: fields of LatentSettings, such as temperature, guidance and seed."""
    return [molecule.smiles for molecule in write(model, tokenizer, [properties or {}] * number, LatentSettings(**settings))]


def open_polyldm(folder: Path, device: torch.device) -> OpenModel:
    model, tokenizer = load_polyldm(folder, device=device)
    return OpenModel(partial(write, model, tokenizer), units_of(model.vae.shape))


def main(argv: Sequence[str] | None = None) -> int:
    return sampling_program(STAGE, MODEL, open_polyldm, __doc__, argv, expected=(), config=PolyLDMSamplesConfig)


if __name__ == "__main__":
    sys.exit(main())
