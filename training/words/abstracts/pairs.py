"""Titles and abstracts of the same papers as token ids: what a T5 reads, and what it is to write.

Shapes: a batch has `input_ids` and `attention_mask` [B, S], and `labels` [B, T] with -100 where there is nothing to write.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from formats.text_tables import read_paper_texts
from stages.derived_seed import derive_seed
from training.words.examples import WordsError

TEXTS = "paper_texts"
IGNORED = -100


@dataclass(frozen=True)
class Pairs:
    """sources, targets: what is read and what is to be written, on one line each, by serial of the paper. set_aside: papers by what they lack."""

    sources: Sequence[str]
    targets: Sequence[str]
    set_aside: Mapping[str, int]


def read_pairs(folder: Path, stage: str, split: str, *, may_be_none: bool = False) -> Pairs:
    """The pairs of one split for `abstract_t5` or `title_t5`. Raises TextTableError, and WordsError where there is none."""
    pairs, set_aside = [], Counter[str]()
    for paper in read_paper_texts(folder, split=split):
        title, abstract = (" ".join((text or "").split()) for text in (paper.title, paper.abstract))
        if title and abstract:
            pairs.append((title, abstract) if stage == "abstract_t5" else (abstract, title))
        else:
            set_aside["no_abstract" if title else "no_title"] += 1
    if not pairs and not may_be_none:
        found = ", ".join(f"{count:,} with {lack.replace('_', ' ')}" for lack, count in set_aside.items()) or "no paper at all"
        raise WordsError(
            f"{folder}: {stage} needs papers of split {split} with both a title and an abstract, found {found}; add a source that states abstracts "
            "to journal_pages (see docs/journals.md), or raise the fractions or lower min_abstract_chars of paper_texts"
        )
    return Pairs([source for source, _ in pairs], [target for _, target in pairs], set_aside)


@dataclass(frozen=True)
class PairExamples:
    """Pairs in tokens. characters: that the tokens of each target stand for. cut: how many texts are longer than their limit."""

    sources: Sequence[Sequence[int]]
    targets: Sequence[Sequence[int]]
    characters: Sequence[int]
    pad: int
    cut: Mapping[str, int]

    def __len__(self) -> int:
        return len(self.targets)

    def lengths(self) -> list[int]:
        """Tokens of both texts: pairs of like length go side by side."""
        return [len(source) + len(target) for source, target in zip(self.sources, self.targets, strict=True)]

    def batch(self, indices: Sequence[int], random: torch.Generator | None = None) -> dict[str, Tensor]:
        del random
        inputs = _padded([self.sources[index] for index in indices], self.pad)
        labels = _padded([self.targets[index] for index in indices], IGNORED)
        return {"input_ids": inputs, "attention_mask": (inputs != self.pad).long(), "labels": labels}


def encode_pairs(tokenizer: Any, pairs: Pairs, limits: Any, *, most: int | None = None) -> PairExamples:
    """The first `most` pairs. limits: says prefix, source_tokens and target_tokens (ends included), as the configuration of a trained model does."""
    read = _encode(tokenizer, [limits.prefix + source for source in pairs.sources[:most]], limits.source_tokens)
    written = _encode(tokenizer, pairs.targets[:most], limits.target_tokens)
    # What is read always ends; no model should learn to end a text where only room did.
    sources = [ids if is_whole else [*ids[:-1], tokenizer.eos_token_id] for ids, _, is_whole in read]
    cut = {f"cut_{name}": sum(not is_whole for _, _, is_whole in texts) for name, texts in (("sources", read), ("targets", written))}
    return PairExamples(sources, [ids for ids, _, _ in written], [characters for _, characters, _ in written], tokenizer.pad_token_id, cut)


def _encode(tokenizer: Any, texts: Sequence[str], limit: int) -> list[tuple[list[int], int, bool]]:
    """Of each text at most `limit` tokens, the characters that they stand for, and whether they are all of it, the end of text included."""
    # No token stands for more characters than the longest has, so what lies behind cannot matter, be it 10 MB.
    reach = limit * max(map(len, tokenizer.get_vocab()))
    read = tokenizer([text[:reach] for text in texts], add_special_tokens=False, return_offsets_mapping=True, verbose=False) if texts else {}
    encoded = []
    for text, ids, offsets in zip(texts, read.get("input_ids", ()), read.get("offset_mapping", ()), strict=True):
        is_whole = len(ids) < limit and len(text) <= reach
        characters = len(text) if is_whole else offsets[min(limit, len(ids)) - 1][1]
        encoded.append(([*ids, tokenizer.eos_token_id] if is_whole else ids[:limit], max(1, characters), is_whole))
    return encoded


def others(items: Sequence[Any], seed: int) -> list[Any]:
    """For each item another one, each once: its neighbour in a ring in random order. The control of what a source tells."""
    order = torch.randperm(len(items), generator=torch.Generator().manual_seed(derive_seed(seed, "shuffled"))).tolist()
    following = dict(zip(order, [*order[1:], *order[:1]], strict=True))
    return [items[following[place]] for place in range(len(items))]


def _padded(rows: Sequence[Sequence[int]], filler: int) -> Tensor:
    width = max(map(len, rows))
    return torch.tensor([[*row, *[filler] * (width - len(row))] for row in rows], dtype=torch.int64)
