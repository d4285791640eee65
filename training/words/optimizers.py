"""AdamW for everything, or Muon for the hidden matrices and AdamW for the rest; both as one thing that steps."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedModel

from training.words.fine_tuning import FineTuning


class Optimizers:
    """Several optimizers as one, with one learning rate."""

    def __init__(self, parts: Sequence[torch.optim.Optimizer]) -> None:
        self.parts = tuple(parts)

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def set_learning_rate(self, rate: float) -> None:
        for group in (group for part in self.parts for group in part.param_groups):
            group["lr"] = rate

    def state_dict(self) -> dict[str, Any]:
        return {str(number): part.state_dict() for number, part in enumerate(self.parts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for number, part in enumerate(self.parts):
            part.load_state_dict(state[str(number)])


def build_optimizers(model: PreTrainedModel, config: FineTuning) -> Optimizers:
    """AdamW (Loshchilov and Hutter 2019) with decay on matrices only; where asked for, Muon (Jordan 2024) takes the hidden matrices.

    Muon's steps are scaled to the size of AdamW's (Liu et al. 2025), so that both have the same learning rate.
    """
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    outer = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)} | {id(_head(model))}
    is_hidden = {id(parameter) for parameter in learning if config.optimizer == "muon" and parameter.dim() == 2} - outer
    rest = [parameter for parameter in learning if id(parameter) not in is_hidden]
    groups = [
        {"params": [parameter for parameter in rest if parameter.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [parameter for parameter in rest if parameter.dim() < 2], "weight_decay": 0.0},
    ]
    parts: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, config.adam_beta2), fused=True)]
    if hidden := [parameter for parameter in learning if id(parameter) in is_hidden]:
        parts.append(torch.optim.Muon(hidden, lr=config.learning_rate, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"))
    return Optimizers(parts)


def _head(model: PreTrainedModel) -> Any:
    return getattr(model.get_output_embeddings(), "weight", None)
