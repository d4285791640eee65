"""Documents of a causal language model in one row, none of which sees another: positions begin anew, and attention ends at a document's border."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

NO_LABEL = -100


def pack(documents: Sequence[Sequence[int]], row_tokens: int, pad: int) -> dict[str, Tensor]:
    """Documents (token ids) in as few rows as first-fit in the given order makes of them; with `row_tokens` 0 each in a row of its own.

    Returns [B, T] of each: input_ids; position_ids, from 0 in each document; labels, where a document's first token, which follows from nothing, and
    pads have -100; documents, numbered from 1 in each row, 0 at pads. T is the fullest row's length.
    """
    rows: list[list[Sequence[int]]] = []
    for document in documents:
        row = next((row for row in rows if sum(map(len, row)) + len(document) <= row_tokens), None)
        if row is None:
            rows.append(row := [])
        row.append(document)
    shape = (len(rows), max(sum(map(len, row)) for row in rows))
    packed = {"input_ids": torch.full(shape, pad), "labels": torch.full(shape, NO_LABEL)}
    packed |= {name: torch.zeros(shape, dtype=torch.long) for name in ("position_ids", "documents")}
    for row, members in enumerate(rows):
        start = 0
        for number, document in enumerate(members, start=1):
            place = slice(start, start + len(document))
            packed["input_ids"][row, place] = packed["labels"][row, place] = torch.tensor(document)
            packed["labels"][row, start] = NO_LABEL
            packed["position_ids"][row, place] = torch.arange(len(document))
            packed["documents"][row, place] = number
            start += len(document)
    return packed


def document_mask(documents: Tensor) -> Tensor:
    """[B, T] numbers of documents to [B, 1, T, T]: 0 where a token (rows) sees one (columns) of its own document up to itself, -inf elsewhere.

    A pad sees the pads before it, so that no row is without anything to see.
    """
    tokens = documents.shape[1]
    is_seen = (documents[:, :, None] == documents[:, None, :]) & torch.ones(tokens, tokens, dtype=torch.bool, device=documents.device).tril()
    return torch.zeros(is_seen.shape, device=documents.device).masked_fill(~is_seen, -torch.inf)[:, None]


def causal_loss(model: PreTrainedModel, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """(Sum of -log p in nats over the labelled tokens, their number) of what `pack` makes."""
    mask = document_mask(batch["documents"])
    logits = model(input_ids=batch["input_ids"], attention_mask=mask, position_ids=batch["position_ids"], use_cache=False).logits
    labels = batch["labels"][:, 1:]
    losses = torch.nn.functional.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels.flatten(), ignore_index=NO_LABEL, reduction="sum")
    return losses, (labels != NO_LABEL).sum()
