"""Let a trained PolyLDM write molecules.

python -m training.polymers.ldm.sample                                             # the stage: data/polyldm_samples/samples.parquet
python -m training.polymers.ldm.sample --model data/polyldm --number 20 --temperature 0.8                          # SMILES, one a line
python -m training.polymers.ldm.sample --model data/polyldm --number 20 --property mol_wt=150:350 --property tpsa=60    # a table
"""

import functools
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.loop.bounds import at_least, within
from training.polymers.decoding import SamplingSettings, sample_molecules
from training.polymers.ldm.model_folder import load_polyldm
from training.polymers.ldm.networks import PolyLDM
from training.polymers.sample_table import Request, SampledMolecule
from training.polymers.sampling import OpenModel, SamplesConfig, sampling_program
from training.polymers.transformer import KeyValueCache
from training.polymers.vae import PolyVAEShape

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
class PolyLDMWriter:
    """PolyLDM as training/polymers/decoding.py wants it."""

    model: PolyLDM
    tokenizer: Tokenizer
    how: LatentSettings

    @property
    def shape(self) -> PolyVAEShape:
        return self.model.vae.shape

    @property
    def device(self) -> torch.device:
        return self.model.diffuser.latent_mean.device

    def begin(self, wanted: Tensor, mask: Tensor, capacity: int, random: Sequence[torch.Generator]) -> tuple[Tensor, KeyValueCache]:
        def draw() -> Tensor:
            # Each molecule has noise of its own, so that it does not depend on those beside it.
            return torch.stack([torch.randn(self.shape.latent, generator=own) for own in random]).to(self.device)

        wanted, mask = wanted.to(self.device), mask.to(self.device)
        latents = self.model.latents(wanted, mask, draw, steps=self.how.steps, eta=self.how.eta, guidance=self.how.guidance)
        return self.model.vae.begin(latents, wanted, mask, capacity)

    def advance(self, tokens: Tensor, cache: KeyValueCache) -> Tensor:
        return self.model.vae.advance(tokens, cache)


def write(model: PolyLDM, tokenizer: Tokenizer, requests: Sequence[Request], settings: SamplingSettings) -> Iterator[SampledMolecule]:
    """One molecule for each request. settings: LatentSettings; others mean its defaults."""
    how = settings if isinstance(settings, LatentSettings) else LatentSettings(**vars(settings))
    return sample_molecules(PolyLDMWriter(model, tokenizer, how), requests, how)


def sample(model: PolyLDM, tokenizer: Tokenizer, *, number: int, properties: Mapping[str, float] | None = None, **settings: float) -> list[str]:
    """`number` SMILES as written by the model, valid or not. properties: wanted values by name, in the units of the dataset.

    settings: fields of LatentSettings, such as temperature, guidance and seed.
    """
    how = LatentSettings(**settings)  # type: ignore[arg-type]
    return [molecule.smiles for molecule in write(model, tokenizer, [properties or {}] * number, how)]


def open_polyldm(folder: Path, device: torch.device) -> OpenModel:
    model, tokenizer = load_polyldm(folder, device=device)
    shape = model.vae.shape
    return OpenModel(functools.partial(write, model, tokenizer), {name: shape.property_units.get(name, "") for name in shape.properties})


def main(argv: Sequence[str] | None = None) -> int:
    return sampling_program(STAGE, MODEL, open_polyldm, __doc__, argv, expected=(), config=PolyLDMSamplesConfig)


if __name__ == "__main__":
    sys.exit(main())
