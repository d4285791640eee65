"""Titles as documents of a causal model: which are learnt, as which tokens, in which rows."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from training.fine_tuning.examples import TuningError
from training.fine_tuning.packing import pack
from training.words.titles.config import TitleOptions


@dataclass(frozen=True)
class Titles:
    """Titles and their tokens, by number. row_tokens: of a packed row; 0 = each has a row of its own."""

    texts: Sequence[str]
    documents: Sequence[Sequence[int]]
    pad: int
    row_tokens: int

    def __len__(self) -> int:
        return len(self.documents)

    def lengths(self) -> Sequence[int]:
        return [len(document) for document in self.documents]

    def batch(self, indices: Sequence[int], _: torch.Generator) -> dict[str, Tensor]:
        return pack([self.documents[index] for index in indices], self.row_tokens, self.pad)


def read_titles(folder: Path, config: TitleOptions) -> tuple[dict[str, list[str]], dict[str, int]]:
    """The titles of "train" and "valid", each once, and the "abstracts" of "train" that are learnt; how many papers were set aside, by reason.

    Raises TextTableError, or TuningError for no titles.
    """
    from formats.text_tables import read_paper_texts

    papers = [paper for paper in read_paper_texts(folder) if paper.split != "test"]
    allowed = [paper for paper in papers if config.allow_unknown_licence or paper.licence != "unknown"]
    # No title has 32 characters to a token; a tokenizer would work on one of megabytes for hours.
    usable = [paper for paper in allowed if 0 < len(paper.title) <= 32 * config.maximum_tokens]
    titles = {split: list(dict.fromkeys(paper.title for paper in usable if paper.split == split)) for split in ("train", "valid")}
    counts = {"unknown_licence": len(papers) - len(allowed), "empty_or_endless": len(allowed) - len(usable)}
    if not titles["train"]:
        told = f"{len(papers):,} papers, {', '.join(f'{count:,} {name}' for name, count in counts.items())}, the others held out"
        raise TuningError(f"{folder}: no titles left to learn ({told}); crawl more, or set allow_unknown_licence")
    counts["repeated"] = len(usable) - sum(map(len, titles.values()))
    abstracts = [paper.abstract for paper in usable if paper.split == "train" and paper.abstract] if config.abstracts else []
    return {**titles, "abstracts": list(dict.fromkeys(abstracts))}, counts


def encode_titles(titles: Mapping[str, Sequence[str]], tokenizer: Any, config: TitleOptions, positions: int) -> tuple[Titles, Titles, int]:
    """(train, valid, how many were too long): first token, title, last token. positions: that the model has. Raises TuningError when none is left."""
    # The tokenizer puts the first token by itself; the last belongs to documents, not to prompts.
    encoded = {split: [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in texts] for split, texts in titles.items()}
    lengths = sorted(map(len, encoded["train"]))
    longest = min(lengths[max(0, math.ceil(config.length_quantile * len(lengths)) - 1)], config.maximum_tokens, positions)
    if lengths[0] > longest:
        raise TuningError(f"no titles left to learn: all {len(lengths):,} have more than {longest} tokens; raise maximum_tokens or length_quantile")
    parts = []
    for split in ("train", "valid"):
        kept = [(title, ids) for title, ids in zip(titles[split], encoded[split], strict=True) if len(ids) <= longest]
        parts.append(Titles([title for title, _ in kept], [ids for _, ids in kept], tokenizer.pad_token_id, longest * config.packing))
    too_long = sum(len(titles[split]) for split in ("train", "valid")) - sum(map(len, parts))
    # Pieces of abstracts are without the first token, so that what follows from it is a title.
    pieces = [ids[start : start + longest] for ids in encoded["abstracts"] for start in range(1, len(ids) - 1, longest)]
    train = replace(parts[0], texts=[*parts[0].texts] * config.title_copies, documents=[*[*parts[0].documents] * config.title_copies, *pieces])
    return train, parts[1], too_long
