"""How well a T5 knows the targets of held-out pairs, and how much of that it reads from their sources."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from training.metrics.intervals import Estimate, bootstrap_interval
from training.words.abstracts.pairs import IGNORED, PairExamples, others

_SIDE_BY_SIDE = 16


def token_losses(model: Any, batch: Mapping[str, Tensor]) -> Tensor:
    """Negative log-likelihoods in nats [B, T] of `labels`; 0 where there is nothing to write."""
    inputs = model.prepare_decoder_input_ids_from_labels(batch["labels"])
    scores = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], decoder_input_ids=inputs, use_cache=False).logits
    return cross_entropy(scores.float().transpose(1, 2), batch["labels"], ignore_index=IGNORED, reduction="none")


def summed_loss(model: Any, batch: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The sum of the losses of a batch, and how many tokens it is a sum over."""
    return token_losses(model, batch).sum(), (batch["labels"] != IGNORED).sum()


@torch.no_grad()
def target_losses(model: Any, examples: PairExamples) -> numpy.ndarray:
    """Nats that each whole target [N] costs a model in evaluation mode."""
    losses, order = numpy.zeros(len(examples)), numpy.argsort(examples.lengths(), kind="stable")
    for places in numpy.split(order, range(_SIDE_BY_SIDE, len(order), _SIDE_BY_SIDE)):
        batch = {name: value.to(model.device) for name, value in examples.batch(places.tolist()).items()}
        losses[places] = token_losses(model, batch).sum(1).double().cpu().numpy()
    return losses


@dataclass(frozen=True)
class Reading:
    """true, shuffled: nats that each target [N] costs behind its own source, and behind another's. characters: of each target [N]."""

    true: numpy.ndarray
    shuffled: numpy.ndarray
    characters: numpy.ndarray

    def numbers(self, *, rounds: int = 0, seed: int = 0) -> dict[str, Estimate]:
        """Both costs over all characters, and by what share another's source makes targets dearer: 0 is a model that does not read."""
        true, shuffled, characters = self.true, self.shuffled, self.characters
        statistics: dict[str, Callable[[numpy.ndarray], numpy.ndarray]] = {
            "nll_per_char": lambda at: true[at].sum(-1) / characters[at].sum(-1),
            "shuffled_nll_per_char": lambda at: shuffled[at].sum(-1) / characters[at].sum(-1),
            "reading_gain": lambda at: shuffled[at].sum(-1) / true[at].sum(-1) - 1,
        }
        every = numpy.arange(len(true))
        return {
            name: Estimate(float(of(every)), len(every), *bootstrap_interval(len(every), of, rounds=rounds, seed=seed))
            for name, of in statistics.items()
        }


def score_reading(model: Any, examples: PairExamples, *, seed: int) -> Reading:
    """Both costs of every target. Of a single pair they are the same: there is no other source."""
    shuffled = replace(examples, sources=others(examples.sources, seed))
    return Reading(target_losses(model, examples), target_losses(model, shuffled), numpy.array(examples.characters, dtype=numpy.float64))
