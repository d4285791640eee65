"""The three-term loss of PolyGPT, and the loss of the property predictor that its third term needs.

    total = alpha * CE(next token) + beta * MSE(auxiliary heads, perturbation) + gamma * MSE(aligned properties, wanted properties)

During pre-training no property is given (the prefix is zeros) and the third term is zero.

*Auxiliary.* The model is given perturbed properties, wanted = p + e with e normal, and must tell e: that needs both the wanted values and what the
molecule really has. The heads tell the second, p', and the perturbation told is wanted - p', so that its error is (wanted - p') - e = p - p'.
It is the same for any e, also for none, and so the heads learn from every molecule, given properties or not, in both phases.
# Differs from the outline, which has heads for e alone, in fine-tuning alone: e is a tenth of a standard deviation, its mean square 0.01, and
# weighted by beta that is a thousandth of the next-token term, while telling nothing at all costs no more. Such heads learned nothing.

*Align, and how it is differentiable.* The properties of a sampled SMILES have no gradient. So nothing is sampled: under teacher forcing each
position gives a distribution over the next token; the property predictor reads the expected embedding of each distribution and predicts the
properties of this "expected molecule", which are compared with the wanted ones. The gradient flows through the distributions into the
transformer; the predictor's weights are held fixed in this term. They learn beside it, from true molecules and their true properties (the
`predictor` term, which touches no weight of the transformer), also during pre-training.
# Differs from the outline: expected molecules stand for sampled ones, and their positions are conditioned on the true beginning of the molecule.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional

from training.polymers.batches import Batch, Denominators
from training.polymers.gpt.networks import PolyGPT
from training.polymers.smiles_tokenizer import PAD


@dataclass(frozen=True)
class LossWeights:
    """alpha: next token. beta: auxiliary heads. gamma: alignment of wanted and expected properties."""

    alpha: float
    beta: float
    gamma: float


@dataclass(frozen=True)
class Losses:
    """Scalars, each its share of the mean over the whole batch (all processes). `accuracy` is the share of next tokens guessed right."""

    total: Tensor
    cross_entropy: Tensor
    auxiliary: Tensor
    align: Tensor
    predictor: Tensor
    accuracy: Tensor

    def by_name(self) -> dict[str, Tensor]:
        """As they are reported, the total first."""
        parts = {"cross_entropy_loss": self.cross_entropy, "auxiliary_loss": self.auxiliary, "align_loss": self.align}
        return {"loss": self.total, **parts, "predictor_loss": self.predictor, "accuracy": self.accuracy}


def polygpt_losses(model: PolyGPT, batch: Batch, weights: LossWeights, denominators: Denominators) -> Losses:
    """All terms for `batch`; sums over its molecules divided by `denominators`, so shares of several processes add up to the mean."""
    # CE(next token): position 0 is the prefix, so the state at position t has read t tokens and tells the next.
    prefix = model.property_embedding(batch.wanted, batch.wanted_mask)
    hidden = model(batch.tokens, prefix)
    logits = model.logits(hidden[:, 1:-1]).float()
    targets = batch.tokens[:, 1:]
    real = targets != PAD
    cross_entropy = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PAD, reduction="sum") / denominators.tokens
    accuracy = ((logits.argmax(dim=-1) == targets) & real).sum() / denominators.tokens

    # Heads and predictor learn from true molecules in both phases; alignment comes only where properties are given.
    zero = cross_entropy.new_zeros(())
    auxiliary = align = predictor = zero
    if model.shape.properties:
        # As in `PolyGPT.tell`, here with the properties given.
        told = model.auxiliary_heads(hidden[:, 2:], real)
        auxiliary = masked_squared_error(told, batch.properties, batch.properties_mask) / denominators.properties
        predictor = masked_squared_error(model.predictor(targets, real), batch.properties, batch.properties_mask) / denominators.properties
        if batch.conditional:
            align = _align_error(model, logits, real, batch) / denominators.wanted
    total = weights.alpha * cross_entropy + weights.beta * auxiliary + weights.gamma * align + predictor
    return Losses(total, cross_entropy, auxiliary, align, predictor, accuracy)


def masked_squared_error(predicted: Tensor, target: Tensor, mask: Tensor) -> Tensor:
    """Sum of squared differences where `mask` is True; all [B, P]. What is masked may be NaN."""
    difference = predicted.float() - torch.where(mask, target, torch.zeros_like(target))
    return torch.where(mask, difference, torch.zeros_like(difference)).square().sum()


def _align_error(model: PolyGPT, logits: Tensor, real: Tensor, batch: Batch) -> Tensor:
    # The predictor with its weights held fixed: the gradient reaches the transformer through the distributions alone.
    fixed = {name: parameter.detach() for name, parameter in model.predictor.named_parameters()}
    expected = functional_call(model.predictor, fixed, (logits.softmax(dim=-1), real))
    return masked_squared_error(expected, batch.wanted, batch.wanted_mask)
