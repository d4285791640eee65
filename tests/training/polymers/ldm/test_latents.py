"""What PolyLDM learns from: posteriors of molecules, samples of them, and batches that follow from their place alone."""

import numpy
import pytest
import torch

from stages.reporting import SilentReporter
from tests.training.polymers.ldm.conftest import LATENT
from training.polymers.batches import pad
from training.polymers.data import MoleculeData
from training.polymers.ldm.latents import LatentSet, LatentStream, encode
from training.polymers.vae import load_polyvae
from training.polymers.vae.config import PolyVAEConfig


@pytest.fixture(scope="module")
def read(prepared):
    vae, tokenizer = load_polyvae(prepared / "data/polyvae")
    options = PolyVAEConfig(properties=vae.shape.properties, maximum_tokens=vae.shape.maximum_tokens)
    scale = numpy.array(vae.shape.property_mean), numpy.array(vae.shape.property_std)
    data = MoleculeData("polyldm", prepared / "data", options, SilentReporter(), tokenizer, *scale, vae.shape.property_units)
    return vae, data.learnt(["molecules"], "learn from")


@torch.no_grad()
def test_a_molecules_posterior_is_the_one_it_has_alone(read):
    vae, data = read
    encoded = encode(vae, data, torch.device("cpu"))
    assert len(encoded) == len(data) == 108
    for row in (0, 17, 107):
        given = torch.from_numpy(data.properties[row : row + 1])
        alone = vae.posterior(pad(data, data.first_spelling[[row]])[0], given, ~given.isnan())
        assert torch.allclose(encoded.mean[row], alone[0][0], atol=1e-5) and torch.allclose(encoded.log_variance[row], alone[1][0], atol=1e-5)


@pytest.fixture
def latents() -> LatentSet:
    random = torch.Generator().manual_seed(0)
    mean, log_variance = torch.randn(2, 50, LATENT, generator=random) * torch.tensor([2.0, 0.5]).view(2, 1, 1)
    properties = torch.randn(50, 2, generator=random)
    properties[::5, 1] = float("nan")
    return LatentSet(mean + 1, log_variance, properties)


def test_statistics_are_those_of_many_samples(latents):
    rows = torch.arange(50).repeat(2000)
    drawn = latents.samples(rows, torch.randn(len(rows), LATENT, generator=torch.Generator().manual_seed(1)))
    mean, std = latents.statistics()
    assert torch.allclose(mean, drawn.mean(dim=0), atol=0.03) and torch.allclose(std, drawn.std(dim=0), rtol=0.02)


def test_an_epoch_has_every_molecule_once_and_each_draws_other_noise(latents):
    stream, seen, batches = LatentStream(latents, 16, (0, "a"), 100), 0, []
    while seen < 100:
        batches.append(stream.after(seen, at_most=1000))
        seen += len(batches[-1].rows)
    rows = torch.cat([batch.rows for batch in batches])
    assert [len(batch.rows) for batch in batches] == [16, 16, 16, 2] * 2
    assert sorted(rows[:50].tolist()) == sorted(rows[50:].tolist()) == list(range(50)) and rows[:50].tolist() != rows[50:].tolist()
    assert len({float(batch.posterior_noise[0, 0]) for batch in batches} | {float(batch.noise[0, 0]) for batch in batches}) == 16


def test_a_batch_follows_from_its_place_and_the_salt_alone(latents):
    one, other = (LatentStream(latents, 16, (0, "a"), 100, 0.2) for _ in range(2))
    for seen in (0, 16):
        one.after(seen, at_most=16)
    again = zip(one.after(66, at_most=16), other.after(66, at_most=16), strict=True)
    assert all(torch.equal(a, b) for a, b in again)
    one.salt = 1
    assert not torch.equal(one.after(66, at_most=16).noise, other.after(66, at_most=16).noise)


def test_steps_lie_evenly(latents):
    t = LatentStream(latents, 50, (0, "a"), 1000).after(0, at_most=50).t
    assert (t // 20).tolist() == list(range(50))


def test_some_are_shown_without_a_wish_and_what_is_missing_is_never_asked_for(latents):
    stream = LatentStream(latents, 50, (0, "a"), 100, 0.3)
    masks = torch.stack([stream.after(50 * epoch, at_most=50).mask for epoch in range(200)])
    rows = torch.stack([stream.after(50 * epoch, at_most=50).rows for epoch in range(200)])
    missing = rows % 5 == 0
    assert not masks[..., 1][missing].any()
    # Nothing at all for a share, and for a quarter of the share that tosses coins; both for the rest and another quarter.
    whole = masks[~missing]
    assert float((~whole.any(dim=-1)).float().mean()) == pytest.approx(0.3 * 1.25, abs=0.02)
    assert float(whole.all(dim=-1).float().mean()) == pytest.approx(0.4 + 0.3 * 0.25, abs=0.02)
