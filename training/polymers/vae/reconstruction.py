"""How well a PolyVAE writes molecules back from their latents, and how much of its latent it uses.

Shapes: N molecules, L latent dimensions.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from training.polymers.batches import BatchStream, TrainingSet
from training.polymers.smiles_tokenizer import PAD
from training.polymers.vae.losses import kl_by_dimension
from training.polymers.vae.networks import PolyVAE
from training.polymers.vae.writer import write_from

if TYPE_CHECKING:
    from tokenizers import Tokenizer

# Burda et al. 2016, section 5.2: a dimension is active where the mean of its posterior varies by more over the data.
_ACTIVE_VARIANCE = 0.01
_BATCH = 128


@dataclass(frozen=True)
class Reconstruction:
    """What became of N molecules, written from the means of their posteriors.

    tokens: [N] next tokens of each. right: [N] of them guessed under teacher forcing. right_greedy: [N] places where the molecule written token by
    token has the same. exact, exact_greedy: [N] whether all are right. cross_entropy: [N] nats, from a latent drawn from the posterior.
    mean: [N, L] of the posteriors. kl: [N, L] nats.
    """

    tokens: Tensor
    right: Tensor
    right_greedy: Tensor
    cross_entropy: Tensor
    mean: Tensor
    kl: Tensor

    @property
    def exact(self) -> Tensor:
        return self.right == self.tokens

    @property
    def exact_greedy(self) -> Tensor:
        return self.right_greedy == self.tokens

    @property
    def active_units(self) -> int:
        """Dimensions whose posterior mean varies by more than 0.01 over these molecules (Burda et al. 2016)."""
        return int((self.mean.var(dim=0, unbiased=False) > _ACTIVE_VARIANCE).sum())


@torch.no_grad()
def reconstruct(model: PolyVAE, tokenizer: "Tokenizer", data: TrainingSet, seed: int) -> Reconstruction:
    """Write all molecules of `data` back, each in the light of all its properties. model: in evaluation mode."""
    stream = BatchStream(data, _BATCH, seed, "reconstruction", conditional=True)
    device = model.token_embedding.weight.device
    parts: list[tuple[Tensor, ...]] = []
    random = torch.Generator().manual_seed(seed)
    while sum(len(part[0]) for part in parts) < len(data):
        batch = stream.next(at_most=_BATCH).to(device)
        asked = batch.wanted, batch.wanted_mask
        mean, log_variance = model.posterior(batch.tokens, *asked)
        drawn = mean + torch.randn(mean.shape, generator=random).to(device) * (0.5 * log_variance).exp()
        shown, targets = batch.tokens[:, :-1], batch.tokens[:, 1:]
        logits = model.decode(shown, drawn, *asked)
        cost = functional.cross_entropy(logits.transpose(1, 2), targets, ignore_index=PAD, reduction="none").sum(dim=1)
        guessed = model.decode(shown, mean, *asked).argmax(dim=-1)
        # Cut or filled up to the length of the targets: what goes on for longer has something else where their <eos> is.
        written = write_from(model, tokenizer, mean, batch.wanted.cpu(), batch.wanted_mask.cpu())
        written = functional.pad(written, (0, max(0, targets.shape[1] - written.shape[1])), value=PAD)[:, : targets.shape[1]]
        is_real = targets != PAD
        right, right_greedy = (((tokens == targets) & is_real).sum(dim=1) for tokens in (guessed, written))
        parts.append((is_real.sum(dim=1), right, right_greedy, cost, mean, kl_by_dimension(mean, log_variance)))
    return Reconstruction(*(torch.cat(column).cpu() for column in zip(*parts, strict=True)))
