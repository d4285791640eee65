"""The optimizer of every model of molecules that is trained from nothing."""

import torch
from torch import nn


def adamw(model: nn.Module, *, learning_rate: float, weight_decay: float, beta2: float) -> torch.optim.AdamW:
    """AdamW (Loshchilov and Hutter 2019) with decay on matrices only, not on biases and gains, as GPT-2's followers do."""
    matrices = [parameter for parameter in model.parameters() if parameter.dim() >= 2]
    others = [parameter for parameter in model.parameters() if parameter.dim() < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, beta2), fused=True)
