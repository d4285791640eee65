"""Titles as documents of a causal model: which are learnt, as which tokens, in which rows."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from formats.text_tables import read_paper_texts
from training.words.examples import WordsError
from training.words.packing import pack
from training.words.titles.config import TitleOptions


@dataclass(frozen=True)
class Titles:
    """Documents and what they read, by number. row_tokens: of a packed row; 0 = each document has a row of its own."""

    texts: Sequence[str]
    documents: Sequence[Sequence[int]]
    pad: int
    row_tokens: int

    def __len__(self) -> int:
        return len(self.documents)

    def lengths(self) -> Sequence[int]:
        return [len(document) for document in self.documents]

    def batch(self, indices: Sequence[int], random: torch.Generator) -> dict[str, Tensor]:
        del random
        return pack([self.documents[index] for index in indices], self.row_tokens, self.pad)


@dataclass(frozen=True)
class TitleTexts:
    """Titles of both splits that may be used. set_aside: by reason, of both."""

    train: Sequence[str]
    valid: Sequence[str]
    set_aside: dict[str, int]


def read_titles(folder: Path, config: TitleOptions) -> TitleTexts:
    """Each title once. Raises TextTableError, and WordsError when none is left to learn."""
    papers = read_paper_texts(folder)
    allowed = [paper for paper in papers if config.allow_unknown_licence or paper.licence != "unknown"]
    splits = {split: [paper.title for paper in allowed if paper.split == split] for split in ("train", "valid")}
    unique = {split: list(dict.fromkeys(titles)) for split, titles in splits.items()}
    repeated = sum(map(len, splits.values())) - sum(map(len, unique.values()))
    set_aside = {"unknown_licence": len(papers) - len(allowed), "repeated": repeated}
    if not unique["train"]:
        raise WordsError(
            f"{folder}: no titles left to learn of {len(papers):,} papers ({_words(set_aside)}; {len(allowed):,} may be used, none of the training "
            "split); crawl more, or set allow_unknown_licence"
        )
    return TitleTexts(unique["train"], unique["valid"], set_aside)


def encode_titles(texts: TitleTexts, tokenizer: Any, config: TitleOptions, positions: int) -> tuple[Titles, Titles, dict[str, int]]:
    """(train, valid, counts of what was set aside): begin token, title, end token. positions: that the model has.

    The longest length is that of the training titles at the quantile; longer titles are set aside. Raises WordsError when none is left.
    """
    # The tokenizer puts the first token by itself; the last belongs to documents, not to prompts.
    encoded = {
        split: [[*ids, tokenizer.eos_token_id] for ids in tokenizer(list(titles))["input_ids"]] if titles else []
        for split, titles in (("train", texts.train), ("valid", texts.valid))
    }
    lengths = sorted(len(document) for document in encoded["train"])
    longest = min(lengths[max(0, math.ceil(config.length_quantile * len(lengths)) - 1)], config.maximum_tokens, positions)
    parts, too_long = [], 0
    for titles, split in ((texts.train, "train"), (texts.valid, "valid")):
        kept = [(text, document) for text, document in zip(titles, encoded[split], strict=True) if len(document) <= longest]
        too_long += len(titles) - len(kept)
        row_tokens = longest if config.packing else 0
        parts.append(Titles([text for text, _ in kept], [document for _, document in kept], tokenizer.pad_token_id, row_tokens))
    counts = {**texts.set_aside, "too_long": too_long}
    if not len(parts[0]):
        raise WordsError(f"no titles left to learn: all {len(lengths):,} have more than {longest} tokens; raise maximum_tokens or length_quantile")
    return parts[0], parts[1], counts


def _words(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in counts.items())
