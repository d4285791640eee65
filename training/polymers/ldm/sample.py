"""Let a trained PolyLDM write molecules.

python -m training.polymers.ldm.sample                                             # the stage: data/polyldm_samples/samples.parquet
python -m training.polymers.ldm.sample --model data/polyldm --number 20 --temperature 0.8                          # SMILES, one a line
python -m training.polymers.ldm.sample --model data/polyldm --number 20 --property mol_wt=150:350 --property tpsa=60    # a table
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.loop.bounds import at_least, within
from training.polymers.decoding import SamplingSettings, sample_molecules
from training.polymers.ldm.model_folder import load_polyldm
from training.polymers.ldm.networks import PolyLDM, PolyLDMShape
from training.polymers.sample_table import Request, SampledMolecule
from training.polymers.sampling import OpenModel, SamplesConfig, sampling_program
from training.polymers.transformer import KeyValueCache

STAGE, MODEL = "polyldm_samples", "polyldm"


@dataclass(frozen=True)
class LatentSettings(SamplingSettings):
    """How latents and tokens are chosen. steps, eta: of DDIM. guidance: of the wish; 1 none (samplers.py)."""

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

    def settings(self, temperature: float, seed: int) -> LatentSettings:
        plain = super().settings(temperature, seed)
        return LatentSettings(**_values(plain), steps=self.steps, eta=self.eta, guidance=self.guidance)


@dataclass(frozen=True)
class PolyLDMWriter:
    """PolyLDM as training/polymers/decoding.py wants it."""

    model: PolyLDM
    tokenizer: Tokenizer
    settings: LatentSettings

    @property
    def shape(self) -> PolyLDMShape:
        return self.model.shape

    @property
    def device(self) -> torch.device:
        return self.model.latent_mean.device

    def begin(self, wanted: Tensor, mask: Tensor, capacity: int, random: Sequence[torch.Generator]) -> tuple[Tensor, KeyValueCache]:
        def draw() -> Tensor:
            # Each molecule has noise of its own, so that it does not depend on those beside it.
            return torch.stack([torch.randn(self.shape.latent, generator=dice) for dice in random]).to(self.device)

        wanted, mask, how = wanted.to(self.device), mask.to(self.device), self.settings
        latents = self.model.latents(wanted, mask, draw, steps=how.steps, eta=how.eta, guidance=how.guidance)
        return self.model.vae.begin(latents, wanted, mask, capacity)

    def advance(self, tokens: Tensor, cache: KeyValueCache) -> Tensor:
        return self.model.vae.advance(tokens, cache)


def write(model: PolyLDM, tokenizer: Tokenizer, requests: Sequence[Request], settings: SamplingSettings) -> Iterator[SampledMolecule]:
    """One molecule for each request. settings: LatentSettings, or others, for the usual steps and no guidance."""
    how = settings if isinstance(settings, LatentSettings) else LatentSettings(**_values(settings))
    return sample_molecules(PolyLDMWriter(model, tokenizer, how), requests, settings)


def sample(
    model: PolyLDM,
    tokenizer: Tokenizer,
    *,
    number: int,
    temperature: float = 1.0,
    properties: Mapping[str, float] | None = None,
    guidance: float = 1.0,
    seed: int = 0,
) -> list[str]:
    """`number` SMILES as written by the model, valid or not. properties: wanted values by name, in the units of the dataset."""
    settings = LatentSettings(temperature=temperature, seed=seed, guidance=guidance)
    return [molecule.smiles for molecule in write(model, tokenizer, [properties or {}] * number, settings)]


def open_polyldm(folder: Path, device: torch.device) -> OpenModel:
    model, tokenizer = load_polyldm(folder, device=device)
    units = {name: model.shape.property_units.get(name, "") for name in model.shape.properties}
    return OpenModel(lambda requests, settings: write(model, tokenizer, requests, settings), units)


def _values(settings: SamplingSettings) -> dict:
    return {field.name: getattr(settings, field.name) for field in fields(settings)}


def main(argv: Sequence[str] | None = None) -> int:
    return sampling_program(STAGE, MODEL, open_polyldm, __doc__, argv, expected=(), config=PolyLDMSamplesConfig)


if __name__ == "__main__":
    sys.exit(main())
