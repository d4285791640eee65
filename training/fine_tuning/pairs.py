"""Pairs of token sequences: what an encoder reads and what a decoder is to write, and what that costs a model such as T5.

Shapes: a batch has `input_ids` and `attention_mask` [B, S], and `labels` [B, T] with -100 where there is nothing to write. Losses are in nats.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.nn.utils.rnn import pad_sequence

from training.fine_tuning.examples import NO_LABEL
from training.fine_tuning.token_losses import summed_cross_entropy


@dataclass(frozen=True)
class PairExamples:
    """Pairs in tokens, ends included. pad: the token that fills what is read."""

    sources: Sequence[Sequence[int]]
    targets: Sequence[Sequence[int]]
    pad: int

    def __len__(self) -> int:
        return len(self.targets)

    def lengths(self) -> list[int]:
        """Tokens of both texts: pairs of like length go side by side."""
        return [len(source) + len(target) for source, target in zip(self.sources, self.targets, strict=True)]

    def read(self, indices: Sequence[int], random: torch.Generator | None) -> Sequence[Sequence[int]]:
        """What is read of each; a subclass may change it by chance, drawing from `random` pair by pair."""
        del random
        return [self.sources[index] for index in indices]

    def batch(self, indices: Sequence[int], random: torch.Generator | None = None) -> dict[str, Tensor]:
        texts = ((self.read(indices, random), self.pad), ([self.targets[index] for index in indices], NO_LABEL))
        inputs, labels = (pad_sequence([torch.tensor(ids) for ids in all_ids], batch_first=True, padding_value=filler) for all_ids, filler in texts)
        return {"input_ids": inputs, "attention_mask": (inputs != self.pad).long(), "labels": labels}

    def inputs(self, most: int) -> dict[str, Tensor]:
        """What the model is given to write for the first `most`."""
        return {name: values for name, values in self.batch(range(min(most, len(self)))).items() if name != "labels"}


def token_scores(model: Any, batch: Mapping[str, Tensor]) -> Tensor:
    """Logits [B, T, V] of `labels`, each behind the true ones before it."""
    inputs = model.prepare_decoder_input_ids_from_labels(batch["labels"])
    return model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], decoder_input_ids=inputs, use_cache=False).logits


def token_losses(model: Any, batch: Mapping[str, Tensor]) -> Tensor:
    """Negative log-likelihoods [B, T] of `labels`; 0 where there is none."""
    return cross_entropy(token_scores(model, batch).float().transpose(1, 2), batch["labels"], ignore_index=NO_LABEL, reduction="none")


def summed_loss(model: Any, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The sum of the losses of a batch, and how many tokens it is a sum over. A T5 never has the logits of all tokens at once."""
    labels, mask = batch["labels"], batch["attention_mask"]
    number = (labels != NO_LABEL).sum()
    # Where other families add to logits or scale them is theirs to know.
    if not hasattr(model.config, "scale_decoder_outputs"):
        return token_losses(model, batch).sum(), number
    read = model.get_encoder()(input_ids=batch["input_ids"], attention_mask=mask)[0]
    inputs = {"input_ids": model.prepare_decoder_input_ids_from_labels(labels), "use_cache": False}
    states = model.get_decoder()(**inputs, encoder_hidden_states=read, encoder_attention_mask=mask)[0]
    # T5 with a tied head scales what goes into it (Raffel et al. 2020, as transformers has it).
    if model.config.scale_decoder_outputs:
        states = states * model.model_dim**-0.5
    return summed_cross_entropy(states, model.get_output_embeddings().weight, labels), number
