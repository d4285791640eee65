"""Documents of a causal language model in one row, none of which sees another: positions begin anew, and attention ends at a document's border."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from training.fine_tuning.examples import NO_LABEL
from training.fine_tuning.token_losses import summed_cross_entropy

_BY_DOCUMENTS = "by_documents"


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


def document_blocks(documents: Tensor) -> BlockMask:
    """`document_mask` as flex attention wants it: blocks of keys that no query sees are never touched, and no mask is stored."""

    def is_seen(row: Tensor, _: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return (documents[row, query] == documents[row, key]) & (query >= key)

    rows, tokens = documents.shape
    return create_block_mask(is_seen, rows, None, tokens, tokens, device=documents.device)


def attend_by_documents(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    document_blocks: BlockMask | None = None,
    **more: Any,
) -> tuple[Tensor, Tensor | None]:
    """Attention for transformers: flex attention (Dong et al. 2024, arXiv 2412.05496) where the model was given `document_blocks`, else SDPA."""
    if document_blocks is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **more)
    return flex_attention(query, key, value, block_mask=document_blocks, scale=scaling).transpose(1, 2).contiguous(), None


AttentionInterface.register(_BY_DOCUMENTS, attend_by_documents)
AttentionMaskInterface.register(_BY_DOCUMENTS, sdpa_mask)


def fuse_document_attention(model: PreTrainedModel) -> None:
    """Let `causal_loss`, where it is compiled, attend by blocks. A model with dropout of attention, which flex attention lacks, stays as it is."""
    if getattr(model.config, "attn_pdrop", 1.0) == 0.0:
        model.set_attn_implementation(_BY_DOCUMENTS)


def causal_loss(model: PreTrainedModel, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """(Sum of -log p in nats over the labelled tokens, their number) of what `pack` makes."""
    documents, labels = batch["documents"], batch["labels"][:, 1:]
    # Outside the compiler flex attention would make the scores of all pairs of tokens.
    is_fused = model.config._attn_implementation == _BY_DOCUMENTS and torch.compiler.is_compiling()
    seen = {"document_blocks": document_blocks(documents)} if is_fused else {"attention_mask": document_mask(documents)}
    hidden = model.base_model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False, **seen)[0]
    return summed_cross_entropy(hidden[:, :-1], model.get_output_embeddings().weight, labels), (labels != NO_LABEL).sum()
