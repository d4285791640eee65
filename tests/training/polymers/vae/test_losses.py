"""The loss of PolyVAE against its definition in loops, free nats, dropped words, and shares of a batch."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.nn import functional

from tests.training.polymers.vae.test_networks import MASK, SHAPE, VALUES
from training.polymers.batches import Batch
from training.polymers.smiles_tokenizer import BOS, EOS, PAD
from training.polymers.smiles_tokenizer import MASK as MASK_TOKEN
from training.polymers.vae import PolyVAE
from training.polymers.vae.losses import LossOptions, drop_words, kl_by_dimension, polyvae_losses

NOISE = torch.randn(4, 6, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def model() -> PolyVAE:
    torch.manual_seed(0)
    model = PolyVAE(SHAPE)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    return model


@pytest.fixture
def batch() -> Batch:
    tokens = torch.randint(5, 30, (4, 9), generator=torch.Generator().manual_seed(1))
    tokens[:, 0] = BOS
    for row, length in enumerate((9, 5, 7, 3)):
        tokens[row, length - 1], tokens[row, length:] = EOS, PAD
    lengths = (tokens != PAD).sum(dim=1)
    return Batch(tokens, lengths, VALUES, MASK, VALUES, MASK, conditional=True)


def options(batch: Batch, **more) -> LossOptions:
    return LossOptions(**{"weight": 0.5, "free_nats": 0.0, "molecules": len(batch.tokens), "tokens": batch.denominators().tokens, **more})


def test_the_divergence_is_that_of_normal_distributions():
    mean, log_variance = torch.randn(5, 6), torch.randn(5, 6)
    expected = kl_divergence(Normal(mean, (0.5 * log_variance).exp()), Normal(torch.zeros(()), torch.ones(())))
    torch.testing.assert_close(kl_by_dimension(mean, log_variance), expected)


def test_both_terms_are_sums_over_a_molecule_and_means_over_molecules(model, batch):
    losses = polyvae_losses(model, batch, NOISE, batch.tokens, options(batch))
    cross_entropy = kl = torch.zeros(())
    for row in range(4):
        ids = batch.tokens[row : row + 1, : batch.lengths[row]]
        mean, log_variance = model.posterior(ids, VALUES[row : row + 1], MASK[row : row + 1])
        latent = mean + NOISE[row] * (0.5 * log_variance).exp()
        logits = model.decode(ids[:, :-1], latent, VALUES[row : row + 1], MASK[row : row + 1])
        cross_entropy = cross_entropy + functional.cross_entropy(logits[0], ids[0, 1:], reduction="sum").detach()
        kl = kl + kl_by_dimension(mean, log_variance).sum().detach()
    for found, expected in ((losses.cross_entropy, cross_entropy), (losses.kl, kl), (losses.total, cross_entropy + 0.5 * kl)):
        torch.testing.assert_close(found.detach(), expected / 4, rtol=1e-4, atol=1e-4)


def encoder_gradient(model: PolyVAE) -> torch.Tensor:
    return model.encoder.mean.bias.grad.clone()


@pytest.mark.parametrize("free_nats", [0.0, 0.7])
def test_shares_of_a_batch_add_up_to_the_whole(model, batch, free_nats):
    whole = polyvae_losses(model, batch, NOISE, batch.tokens, options(batch, free_nats=free_nats))
    whole.total.backward()
    expected = encoder_gradient(model)
    model.zero_grad()
    # What two processes add up: known beforehand here, each asks for it in its turn.
    kl = kl_by_dimension(*model.posterior(batch.tokens, VALUES, MASK)).mean(dim=0).detach()
    total = 0.0
    for rank in range(2):
        losses = polyvae_losses(
            model, batch.share(rank, 2), NOISE[rank::2], batch.tokens[rank::2], options(batch, free_nats=free_nats, summed=lambda _: kl)
        )
        losses.total.backward()
        total += float(losses.total.detach())
    assert total == pytest.approx(float(whole.total.detach()), rel=1e-4)
    torch.testing.assert_close(encoder_gradient(model), expected, atol=1e-5, rtol=1e-4)


def test_a_process_without_molecules_counts_for_nothing(model, batch):
    idle = batch.share(7, 8)
    losses = polyvae_losses(model, idle, NOISE[:1], idle.tokens, options(batch))
    assert float(losses.total.detach()) == 0 == float(losses.kl.detach())


def test_below_the_free_nats_nothing_pulls_to_the_prior(model, batch):
    losses = polyvae_losses(model, batch, NOISE, batch.tokens, options(batch, free_nats=1e6, weight=1.0))
    assert float((losses.total - losses.cross_entropy).detach()) == pytest.approx(6e6)
    losses.total.backward()
    pulled = encoder_gradient(model)
    model.zero_grad()
    polyvae_losses(model, batch, NOISE, batch.tokens, options(batch, weight=0.0)).total.backward()
    torch.testing.assert_close(pulled, encoder_gradient(model), atol=1e-5, rtol=1e-4)


def test_words_are_dropped_as_often_as_asked_and_never_the_ends_of_the_line():
    tokens = torch.full((200, 50), 7)
    tokens[:, 0], tokens[:, 40:] = BOS, PAD
    dropped = drop_words(tokens, torch.rand(tokens.shape, generator=torch.Generator().manual_seed(0)), 0.3)
    assert (dropped[:, 0] == BOS).all() and (dropped[:, 40:] == PAD).all()
    share = float((dropped[:, 1:40] == MASK_TOKEN).double().mean())
    assert math.isclose(share, 0.3, abs_tol=0.02)
    assert torch.equal(drop_words(tokens, torch.zeros(tokens.shape), 0.0), tokens)
