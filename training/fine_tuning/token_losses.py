"""Cross-entropy of tokens from hidden states and the head's weights, without the logits of all tokens at once.

The logits of a batch are its largest tensor (GPT-2: 50,257 numbers a token), and softmax and gradient each need another like it. Here a chunk of
tokens has its logits, its loss and its gradient made before the next one has any. Sources: Wijmans et al. 2024 (arXiv 2411.09009) for the loss by
pieces; Hsu et al. 2024 (arXiv 2410.10989) for the gradient in the forward pass.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from training.fine_tuning.examples import NO_LABEL

# Numbers in the logits of one chunk: 64 MiB in float32.
_CHUNK = 2**24


def chunk_rows(vocabulary: int, tokens: int) -> int:
    """Tokens of a chunk, at least 1."""
    return max(1, min(tokens, _CHUNK // vocabulary))


def summed_cross_entropy(hidden: Tensor, head: Tensor, labels: Tensor) -> Tensor:
    """The sum of -log p in nats over labelled tokens, of logits `hidden @ head.T`; differentiable once, with respect to both.

    hidden: [..., C]. head: [V, C], such as `model.get_output_embeddings().weight`. labels: [...], NO_LABEL where there is nothing to learn. Products
    are in the autocast type where that is on; softmax, sums and the head's gradient are in float32.
    """
    device = hidden.device.type
    kind = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else head.dtype
    if not torch.is_grad_enabled():
        hidden, head = hidden.detach(), head.detach()
    return _SummedCrossEntropy.apply(hidden.flatten(0, -2), head, labels.flatten(), kind)


class _SummedCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, hidden: Tensor, head: Tensor, labels: Tensor, kind: torch.dtype) -> Tensor:
        wants_hidden, wants_head, *_ = ctx.needs_input_grad
        total = torch.zeros((), device=hidden.device)
        of_hidden = torch.empty_like(hidden) if wants_hidden else None
        of_head = torch.zeros_like(head, dtype=torch.float32) if wants_head else None
        # Autocast would cast the head anew for each chunk.
        weights = head.to(kind)
        with torch.autocast(hidden.device.type, enabled=False):
            rows = chunk_rows(len(head), len(hidden))
            for start in range(0, len(hidden), rows):
                part, label = hidden[start : start + rows].to(kind), labels[start : start + rows]
                loss, logits, log_sum = _loss(part @ weights.T, label)
                total += loss
                if of_hidden is None and of_head is None:
                    continue
                slope = _slope(logits, log_sum, label).to(kind)
                if of_hidden is not None:
                    of_hidden[start : start + rows] = slope @ weights
                if of_head is not None:
                    of_head += slope.T @ part
        ctx.save_for_backward(of_hidden, None if of_head is None else of_head.to(head.dtype))
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        return (*(None if made is None else made * slopes[0] for made in ctx.saved_tensors), None, None)


def _loss(logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The summed loss of a chunk [rows, V]; its logits in float32, and their log-sum-exp [rows, 1]."""
    logits = logits.float()
    log_sum = logits.logsumexp(dim=-1, keepdim=True)
    losses = log_sum - logits.gather(1, labels.clamp(min=0)[:, None])
    return torch.where((labels != NO_LABEL)[:, None], losses, 0.0).sum(), logits, log_sum


def _slope(logits: Tensor, log_sum: Tensor, labels: Tensor) -> Tensor:
    """The derivative of the loss by `logits`, in their place: softmax less one at the label, nothing at rows without one."""
    slope = logits.sub_(log_sum).exp_()
    index = labels.clamp(min=0)[:, None]
    slope.scatter_add_(1, index, torch.full_like(index, -1, dtype=slope.dtype))
    return slope.mul_((labels != NO_LABEL)[:, None])
