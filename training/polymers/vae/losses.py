"""The loss of PolyVAE, in nats for a molecule: what its tokens cost, and what its latent costs.

    total = sum over tokens of CE(next token) + weight * KL(posterior, N(0, I))
    KL    = -1/2 * sum over dimensions of (1 + log variance - mean^2 - variance)                                  Kingma and Welling 2014, appendix B

Both are sums over a molecule and means over molecules. Averaging the second over dimensions instead, as older programs do, divides its weight by
their number, and the first over tokens multiplies it by their number: only sums make `weight = 1` the bound on the likelihood.

*Free nats.* With them a dimension costs max(free, its KL on average over the batch): below it nothing pulls it to the prior (Kingma et al. 2016).
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.polymers.batches import Batch
from training.polymers.smiles_tokenizer import BOS, MASK, PAD
from training.polymers.vae.networks import PolyVAE


@dataclass(frozen=True)
class LossOptions:
    """weight: of the Kullback-Leibler term. free_nats: of each dimension. molecules, tokens: of the whole batch (all processes).

    summed: adds up a tensor over all processes; the free nats are a matter of the whole batch.
    """

    weight: float
    free_nats: float
    molecules: int
    tokens: int
    summed: Callable[[Tensor], Tensor] = lambda values: values


@dataclass(frozen=True)
class Losses:
    """Scalars, each this process's share of the mean over the whole batch. kl: without weight and free nats. accuracy: of next tokens."""

    total: Tensor
    cross_entropy: Tensor
    kl: Tensor
    accuracy: Tensor

    def by_name(self) -> dict[str, Tensor]:
        """As they are reported, the total first."""
        return {"loss": self.total, "cross_entropy_loss": self.cross_entropy, "kl_loss": self.kl, "accuracy": self.accuracy}


def polyvae_losses(model: PolyVAE, batch: Batch, noise: Tensor, shown: Tensor, options: LossOptions) -> Losses:
    """All terms for `batch`. noise: [B, L] standard normal. shown: [B, T] the tokens as the writer sees them, see `drop_words`."""
    mean, log_variance = model.posterior(batch.tokens, batch.wanted, batch.wanted_mask)
    latents = mean + noise * (0.5 * log_variance).exp()
    logits = model.decode(shown[:, :-1], latents, batch.wanted, batch.wanted_mask).float()
    targets = batch.tokens[:, 1:]
    is_real = targets != PAD
    cross_entropy = functional.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=PAD, reduction="sum") / options.molecules
    accuracy = ((logits.argmax(dim=-1) == targets) & is_real).sum() / options.tokens

    # The molecule of a process without any has no token beyond <bos>, and counts for nothing.
    kl = (kl_by_dimension(mean, log_variance) * is_real[:, :1]).sum(dim=0) / options.molecules
    cost = _beyond_free(kl, options).sum() if options.free_nats else kl.sum()
    return Losses(cross_entropy + options.weight * cost, cross_entropy, kl.sum(), accuracy)


def kl_by_dimension(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Kullback-Leibler divergence of N(mean, variance) from N(0, 1), in nats; of any shape."""
    return -0.5 * (1 + log_variance - mean.square() - log_variance.exp())


def drop_words(tokens: Tensor, uniform: Tensor, share: float) -> Tensor:
    """Tokens [B, T] with <mask> where `uniform` [B, T], in [0, 1), is below `share`; never <bos> or <pad>. Bowman et al. 2016, section 3.1."""
    return tokens.masked_fill((uniform < share) & (tokens != BOS) & (tokens != PAD), MASK)


def _beyond_free(kl: Tensor, options: LossOptions) -> Tensor:
    """kl: [L] this process's share of the mean over the batch. A dimension that costs the free amount has no gradient."""
    whole = options.summed(kl.detach().clone())
    share = kl.detach() / whole.clamp(min=torch.finfo(kl.dtype).tiny)
    return torch.where(whole > options.free_nats, kl, options.free_nats * share)
