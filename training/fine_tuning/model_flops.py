"""Floating-point operations that training needs of the models that are fine-tuned here, by how long each example is (training/loop/flops.py)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from transformers.pytorch_utils import Conv1D

from training.fine_tuning.pairs import PairExamples
from training.loop.flops import attention_flops, matrix_parameters, training_flops

_KINDS = (nn.Linear, Conv1D)


def causal_flops(model: Any, lengths: Sequence[int]) -> float:
    """Of a GPT-2 that learns documents of these lengths once; each attends to itself alone, also in a row with others."""
    config, matrices = model.config, matrix_parameters(model.modules(), _KINDS)
    return sum(training_flops(matrices, tokens) + attention_flops(config.n_layer, config.n_embd, tokens, tokens) for tokens in lengths)


def pair_flops(model: Any, pairs: PairExamples) -> float:
    """Of a T5 that learns each pair once."""
    config, head = model.config, model.get_output_embeddings()
    width = config.num_heads * config.d_kv
    # Keys and values of cross-attention are made of what was read; all else of the decoder works on what is written.
    crossing = [module for name, module in model.get_decoder().named_modules() if name.endswith(("EncDecAttention.k", "EncDecAttention.v"))]
    reading = matrix_parameters([*model.get_encoder().modules(), *crossing], _KINDS)
    writing = matrix_parameters([*model.get_decoder().modules(), head], _KINDS, without=crossing)
    total = 0.0
    for read, written in zip(map(len, pairs.sources), map(len, pairs.targets), strict=True):
        total += training_flops(reading, read) + training_flops(writing, written)
        total += attention_flops(config.num_layers, width, read, read)
        total += attention_flops(config.num_decoder_layers, width, written, written + read)
    return total


def picture_flops(model: Any, **inputs: torch.Tensor) -> tuple[float, Any]:
    """(Of one forward and backward pass of a picture model over `inputs`, whose numbers do not matter, what it gave without numbers).

    Counted by torch in a model of the same shape that has no memory, since those who see pictures differ too much for a formula; twice as much for
    the way back as for the way there.
    """
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        given = type(model)(model.config).eval()(**{name: values.to("meta") for name, values in inputs.items()})
    return 3.0 * counter.get_total_flops(), given


def titler_flops(model: Any, pixel_values: torch.Tensor, lengths: Sequence[int]) -> float:
    """Of a VisionEncoderDecoder of a GPT-2 that learns pairs of a picture, like the one of `pixel_values` [1, 3, P, P], and a title, each once."""
    seeing, given = picture_flops(model.encoder, pixel_values=pixel_values)
    config, seen = model.decoder.config, given[0].shape[1]
    # Keys and values of cross-attention are made of what was seen, as is what brings it to the decoder's width.
    crossing = [module for name, module in model.decoder.named_modules() if name.endswith("crossattention.c_attn")]
    carried = matrix_parameters([*crossing, getattr(model, "enc_to_dec_proj", nn.Identity())], _KINDS)
    writing = matrix_parameters(model.decoder.modules(), _KINDS, without=crossing)
    total = len(lengths) * (seeing + training_flops(carried, seen))
    return total + sum(
        training_flops(writing, written) + attention_flops(config.n_layer, config.n_embd, written, written + seen) for written in lengths
    )
