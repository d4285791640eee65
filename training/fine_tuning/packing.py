"""Documents of a causal language model in one row, none of which sees another: positions begin anew, and attention ends at a document's border."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from transformers import PreTrainedModel

from training.fine_tuning.examples import NO_LABEL
from training.fine_tuning.token_losses import summed_cross_entropy


def pack(documents: Sequence[Sequence[int]], row_tokens: int, pad: int) -> dict[str, Tensor]:
    """Documents (token ids) in the rows that first-fit makes of them in the given order; with `row_tokens` 0 each in a row of its own.

    Returns [B, T] of each: input_ids; position_ids, from 0 in each document; labels, -100 at pads and at a document's first token, which follows from
    nothing; documents, numbered from 1 in each row, 0 at pads.
    """
    rows: list[list[Sequence[int]]] = []
    for document in documents:
        row = next((row for row in rows if sum(map(len, row)) + len(document) <= row_tokens), None)
        if row is None:
            rows.append(row := [])
        row.append(document)
    shape = (len(rows), max(sum(map(len, row)) for row in rows))
    fillers = {"input_ids": pad, "labels": NO_LABEL, "position_ids": 0, "documents": 0}
    packed = {name: torch.full(shape, filler) for name, filler in fillers.items()}
    for place, members in enumerate(rows):
        end = 0
        for number, document in enumerate(members, start=1):
            start, end = end, end + len(document)
            packed["input_ids"][place, start:end] = torch.tensor(document)
            packed["labels"][place, start + 1 : end] = torch.tensor(document[1:])
            packed["position_ids"][place, start:end] = torch.arange(len(document))
            packed["documents"][place, start:end] = number
    return packed


def document_mask(documents: Tensor) -> Tensor:
    """[B, T] to [B, 1, T, T]: 0 where a token (rows) sees one (columns) of its own document up to itself, -inf elsewhere; pads see pads."""
    tokens = documents.shape[1]
    is_seen = (documents[:, :, None] == documents[:, None, :]) & torch.ones(tokens, tokens, dtype=torch.bool, device=documents.device).tril()
    return torch.zeros(is_seen.shape, device=documents.device).masked_fill(~is_seen, -torch.inf)[:, None]


def causal_loss(model: PreTrainedModel, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """(Sum of -log p in nats over the labelled tokens, their number) of what `pack` makes."""
    mask, labels = document_mask(batch["documents"]), batch["labels"][:, 1:]
    hidden = model.base_model(input_ids=batch["input_ids"], attention_mask=mask, position_ids=batch["position_ids"], use_cache=False)[0]
    return summed_cross_entropy(hidden[:, :-1], model.get_output_embeddings().weight, labels), (labels != NO_LABEL).sum()
