"""What a PolyTAO learns from: molecules in tokens, and the wishes that their own properties are."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy
import torch

from formats.molecule_tables import MoleculeTable
from training.fine_tuning.pairs import PairExamples
from training.polymers.tao.prompts import PromptForm
from training.polymers.tao.tokenizer import encode


@dataclass(frozen=True)
class Molecules:
    """N molecules that can be written. targets: their tokens, ends included. values: [N, P] in the units of the dataset, NaN where missing.

    set_aside: how many were left out, by reason.
    """

    smiles: Sequence[str]
    targets: Sequence[Sequence[int]]
    values: numpy.ndarray
    set_aside: Mapping[str, int]


def writable(tables: Sequence[MoleculeTable], tokenizer: Any, maximum_tokens: int) -> Molecules:
    """Of the molecules of `tables` those without an unknown token and of at most `maximum_tokens` tokens."""
    smiles = [text for table in tables for text in table.smiles]
    values = numpy.concatenate([table.properties for table in tables])
    encoded = encode(tokenizer, smiles)
    reasons = ["out_of_vocabulary" if tokenizer.unk_token_id in ids else "too_long" if len(ids) > maximum_tokens else "" for ids in encoded]
    kept, counts = [place for place, reason in enumerate(reasons) if not reason], Counter(reasons)
    set_aside = {reason: counts[reason] for reason in ("out_of_vocabulary", "too_long")}
    return Molecules([smiles[place] for place in kept], [encoded[place] for place in kept], values[kept], set_aside)


@dataclass(frozen=True)
class PromptedMolecules(PairExamples):
    """Molecules behind prompts of their own properties, some of which are left out by chance. condition_dropout: see PolyTAOConfig."""

    values: numpy.ndarray
    form: PromptForm
    tokenizer: Any
    condition_dropout: float

    def read(self, indices: Sequence[int], random: torch.Generator | None) -> Sequence[Sequence[int]]:
        if not self.condition_dropout or random is None:
            return super().read(indices, random)
        # Some molecules are shown without a wish, so that it writes unasked (Ho and Salimans 2022), some with a part, so that it heeds a single wish.
        share, *coins = torch.rand(len(indices), 1 + len(self.form.properties), generator=random).T.numpy()
        by_coin = (share >= self.condition_dropout) & (numpy.stack(coins) < 0.5)
        is_wished = ((share >= 2 * self.condition_dropout) | by_coin).T
        return encode(self.tokenizer, self.form.texts(numpy.where(is_wished, self.values[list(indices)], numpy.nan)))


def prompted(molecules: Molecules, form: PromptForm, tokenizer: Any, *, condition_dropout: float = 0.0) -> PromptedMolecules:
    sources = encode(tokenizer, form.texts(molecules.values))
    return PromptedMolecules(sources, molecules.targets, tokenizer.pad_token_id, molecules.values, form, tokenizer, condition_dropout)
