"""Documents of a causal language model in one row, none of which sees another: positions begin anew, and attention ends at a document's border.

On a GPU torch's fused attention over sequences of any length takes the borders and computes no score across one (Dao 2023, arXiv 2307.08691);
elsewhere scores of a whole row are computed, and a mask leaves out what is not seen.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.varlen import varlen_attn
from torch.nn.functional import pad as padded_at_end
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from training.fine_tuning.examples import NO_LABEL
from training.fine_tuning.token_losses import summed_cross_entropy
from training.loop.compiling import rounded
from training.loop.devices import Precision

# The attention of a model that is given borders; of one that is given none, as when it writes, it is the usual one.
_BY_BORDERS = "by_borders"


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


def choose_attention(model: PreTrainedModel, device: torch.device, precision: Precision) -> str:
    """Let `model`, on its device, attend by borders where that works; a sentence for the log says what was chosen, and why not more."""
    reason = _why_dense(model, device, precision)
    if reason is not None:
        return f"packed documents: attention over whole rows with a mask: {reason}"
    model.set_attn_implementation(_BY_BORDERS)
    return "packed documents: fused attention within each document (torch.nn.attention.varlen)"


def _why_dense(model: PreTrainedModel, device: torch.device, precision: Precision) -> str | None:
    config: Any = model.config
    if device.type != "cuda":
        return f"the fused one is a GPU's, and this is {device.type}"
    if config.model_type != "gpt2":
        return f"the fused one was tried with GPT-2 alone, and this is {config.model_type}"
    if precision == "float32":
        return "the fused one knows no float32; precision: bfloat16 has it"
    if config.attn_pdrop:
        return f"the fused one drops nothing out, and here dropout is {config.attn_pdrop}; dropout: 0 has it"
    return _failure(config, device)


def _failure(config: Any, device: torch.device) -> str | None:
    """Tries the kernel: old devices, odd sizes of heads and builds without it each fail in a way of their own."""
    try:
        heads = torch.zeros(8, config.n_head, config.n_embd // config.n_head, device=device, dtype=torch.bfloat16, requires_grad=True)
        borders = torch.tensor([0, 3, 8, 8], dtype=torch.int32, device=device)
        mixed: Any = varlen_attn(heads, heads, heads, borders, borders, 8, 8, window_size=(-1, 0))
        mixed.sum().backward()
    except (RuntimeError, ValueError, AssertionError) as error:
        return f"the fused one fails here ({type(error).__name__}: {str(error).strip().partition(chr(10))[0]})"
    return None


def bordered(model: PreTrainedModel, batch: dict[str, Tensor]) -> dict[str, Tensor]:
    """What `pack` makes, on the computer, with `borders` where the model attends by them: int32 [N], from 0 to B x T.

    Each two in a row enclose a document or the pads behind one. N is one of few sizes: the last border comes again, around nothing.
    """
    if "documents" not in batch or model.config._attn_implementation != _BY_BORDERS:
        return batch
    documents = batch["documents"]
    is_new = torch.ones_like(documents, dtype=torch.bool)
    is_new[:, 1:] = documents[:, 1:] != documents[:, :-1]
    starts = is_new.flatten().nonzero()[:, 0].int()
    return {**batch, "borders": padded_at_end(starts, (0, rounded(len(starts) + 1) - len(starts)), value=documents.numel())}


def attention_scores(documents: Tensor) -> tuple[int, int]:
    """Scores that a head computes of documents [B, T], see `pack`: (by borders, over whole rows); of either, a causal kernel skips about half."""
    lengths = [row.unique_consecutive(return_counts=True)[1] for row in documents]
    return sum(int((counts**2).sum()) for counts in lengths), len(documents) * documents.shape[1] ** 2


def causal_loss(model: PreTrainedModel, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """(Sum of -log p in nats over the labelled tokens, their number) of what `pack` makes, with or without borders."""
    labels = batch["labels"][:, 1:]
    if "borders" in batch:
        # A mask of four dimensions is passed on as it is; nobody looks at this one.
        nobodys = torch.empty(1, 1, 1, 1, device=labels.device)
        seen: dict[str, Any] = {"cu_seq_lens_q": batch["borders"], "max_length_q": batch["documents"].shape[1], "attention_mask": nobodys}
    else:
        seen = {"attention_mask": document_mask(batch["documents"])}
    hidden = model.base_model(input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False, **seen)[0]
    return summed_cross_entropy(hidden[:, :-1], model.get_output_embeddings().weight, labels), (labels != NO_LABEL).sum()


def _attention_by_borders(
    module: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, scaling: float | None = None, **named: Any
) -> tuple[Tensor, None]:
    """As transformers asks for it: [B, H, T, D] each, to [B, T, H, D]. named: `cu_seq_lens_q` has the borders, and no document is longer than T."""
    borders: Tensor | None = named.get("cu_seq_lens_q")
    if borders is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **named)
    rows, _, tokens, _ = query.shape
    query, key, value = (part.transpose(1, 2).flatten(0, 1) for part in (query, key, value))
    # A window of all that is left of a token and nothing right of it.
    mixed: Any = varlen_attn(query, key, value, borders, borders, tokens, tokens, scale=scaling, window_size=(-1, 0))
    return mixed.unflatten(0, (rows, tokens)), None


AttentionInterface.register(_BY_BORDERS, _attention_by_borders)
AttentionMaskInterface.register(_BY_BORDERS, sdpa_mask)
