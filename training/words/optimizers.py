"""AdamW for everything, or Muon for the hidden matrices and AdamW for the rest; all have one learning rate."""

import torch
from torch import nn
from transformers import PreTrainedModel

from training.words.fine_tuning import FineTuning


def build_optimizers(model: PreTrainedModel, config: FineTuning) -> list[torch.optim.Optimizer]:
    """AdamW (Loshchilov and Hutter 2019) with decay on matrices only; where asked for, Muon (Jordan 2024) takes the hidden matrices.

    Muon's steps are scaled to the size of AdamW's (Liu et al. 2025), so that both have the same learning rate.
    """
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    head = model.get_output_embeddings()
    outer = [module.weight for module in (*model.modules(), head) if isinstance(module, nn.Embedding) or (module is head and head is not None)]
    is_hidden = {id(parameter) for parameter in learning if config.optimizer == "muon" and parameter.dim() == 2} - {id(weight) for weight in outer}
    rest = [parameter for parameter in learning if id(parameter) not in is_hidden]
    groups = [
        {"params": [parameter for parameter in rest if parameter.dim() >= 2], "weight_decay": config.weight_decay},
        {"params": [parameter for parameter in rest if parameter.dim() < 2], "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = [torch.optim.AdamW(groups, lr=config.learning_rate, betas=(0.9, config.adam_beta2), fused=True)]
    if hidden := [parameter for parameter in learning if id(parameter) in is_hidden]:
        optimizers.append(torch.optim.Muon(hidden, lr=config.learning_rate, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"))
    return optimizers
