"""Sentences as rows of word ids: the words, <end>, then <pad>."""

from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from formats.text_tables import load_vocabulary, read_sentences
from stages.reporting import Reporter
from training.words.text_gan.networks import END, PAD, UNK, TextGanError


@dataclass(frozen=True)
class TextData:
    """train, valid: [N, S] ids, on the CPU. set_aside: sentences by why they are not used."""

    train: Tensor
    valid: Tensor
    tokenizer: Tokenizer
    set_aside: dict[str, int]


def read_data(data: Path, stage: str, reporter: Reporter, *, maximum_words: int) -> TextData:
    """What `sentences` and `vocabulary` below `data` hold. Raises TextGanError when no sentence of the training split is left, or TextTableError."""
    tokenizer = load_vocabulary(data / "vocabulary")
    set_aside = {"too long": 0, "words outside the vocabulary": 0}
    rows: dict[str, list[list[int]]] = {"train": [], "valid": []}
    for sentence in read_sentences(data / "sentences"):
        ids = tokenizer.encode(sentence.text, add_special_tokens=False).ids
        if sentence.split in rows and UNK in ids:
            set_aside["words outside the vocabulary"] += 1
        elif sentence.split in rows and not 0 < len(ids) <= maximum_words:
            set_aside["too long"] += 1
        elif sentence.split in rows:
            rows[sentence.split].append([*ids, END, *[PAD] * (maximum_words - len(ids))])
    told = ", ".join(f"{count:,} {why}" for why, count in set_aside.items() if count) or "none"
    reporter.log(f"{stage}: {len(rows['train']):,} sentences to learn from, {len(rows['valid']):,} held out; set aside: {told}")
    if not rows["train"]:
        raise TextGanError(
            f"{data / 'sentences'}: no sentence of split train can be used (set aside: {told}); raise maximum_words, or the size of the vocabulary"
        )
    train, valid = (torch.tensor(part, dtype=torch.long).reshape(-1, maximum_words + 1) for part in rows.values())
    return TextData(train, valid, tokenizer, set_aside)
