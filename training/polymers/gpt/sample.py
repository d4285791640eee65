"""Let a trained PolyGPT write molecules.

python -m training.polymers.gpt.sample                                             # the stage: data/polygpt_samples/samples.parquet
python -m training.polymers.gpt.sample --model data/polygpt --number 20 --temperature 0.8                          # SMILES, one a line
python -m training.polymers.gpt.sample --model data/polygpt --number 20 --property mol_wt=150:350 --property tpsa=60    # a table
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from training.polymers.decoding import ModelWriter, sample_smiles
from training.polymers.gpt.model_folder import load_polygpt
from training.polymers.gpt.networks import PolyGPT
from training.polymers.sampling import OpenModel, open_writer, sampling_program
from training.polymers.smiles_tokenizer import BOS
from training.polymers.transformer import KeyValueCache

if TYPE_CHECKING:
    from tokenizers import Tokenizer

STAGE, MODEL = "polygpt_samples", "polygpt"


@dataclass(frozen=True)
class PolyGPTWriter(ModelWriter):
    """PolyGPT as training/polymers/decoding.py wants it."""

    def begin(self, wanted: Tensor, mask: Tensor, capacity: int, _: Sequence[torch.Generator]) -> tuple[Tensor, KeyValueCache]:
        prefix = self.model.property_embedding(wanted.to(self.device), mask.to(self.device))
        cache = KeyValueCache(self.shape, len(wanted), capacity=capacity + 1, device=self.device, dtype=prefix.dtype)
        hidden = self.model(torch.full((len(wanted), 1), BOS, device=self.device), prefix, cache)
        return self.model.logits(hidden[:, -1]), cache

    def advance(self, tokens: Tensor, cache: KeyValueCache) -> Tensor:
        return self.model.logits(self.model(tokens.unsqueeze(-1), None, cache)[:, -1])


def sample(model: PolyGPT, tokenizer: "Tokenizer", **wanted: Any) -> list[str]:
    """SMILES as written by the model; for `number`, `properties` and the rest see `sample_smiles`."""
    return sample_smiles(PolyGPTWriter(model, tokenizer), **wanted)


def open_polygpt(folder: Path, device: torch.device) -> OpenModel:
    return open_writer(PolyGPTWriter(*load_polygpt(folder, device=device)))


def main(argv: Sequence[str] | None = None) -> int:
    return sampling_program(STAGE, MODEL, open_polygpt, __doc__, argv, expected=())


if __name__ == "__main__":
    sys.exit(main())
