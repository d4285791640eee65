"""Denoisers and what is built of them: sizes, wishes, and clear refusals of what does not fit."""

from dataclasses import replace

import pytest
import torch

from tests.training.polymers.ldm.conftest import LATENT
from training.polymers.conditions import MoleculeModelError
from training.polymers.ldm.denoisers import DENOISERS, UNet, step_embedding
from training.polymers.ldm.networks import PolyLDM, PolyLDMShape
from training.polymers.vae import load_polyvae


@pytest.fixture
def vae(prepared):
    return load_polyvae(prepared / "data/polyvae")[0]


@pytest.fixture
def shape(vae) -> PolyLDMShape:
    sizes = {"hidden_width": 16, "step_width": 8, "diffusion_steps": 100}
    return PolyLDMShape(**sizes, latent=LATENT, vocabulary_size=vae.shape.vocabulary_size, properties=vae.shape.properties)


def drawing(seed: int = 0, rows: int = 4):
    random = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(rows, LATENT, generator=random)


WANTED = torch.tensor([[1.0, -1.0], [0.5, 2.0], [-2.0, 0.0], [1.0, 1.0]])
ASKED = torch.ones(4, 2, dtype=torch.bool)


@pytest.mark.parametrize("name", ["mlp", "unet"])
def test_a_denoiser_keeps_the_latents_width_and_learns_everywhere(name):
    torch.manual_seed(0)
    network = DENOISERS[name](20, 256, 32)
    told = network(torch.randn(5, 20))
    assert told.shape == (5, 32)
    told.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in network.parameters())


def test_the_u_net_has_the_seeds_sizes():
    network = UNet(20, 256, 32)
    assert (network.narrow[0].out_features, network.leave.in_features, network.leave.out_features) == (64, 512, 32)


def test_steps_have_embeddings_of_their_own():
    embedded = step_embedding(torch.arange(1000), 64)
    assert embedded.shape == (1000, 64) and embedded.abs().max() <= 1
    assert torch.cdist(embedded, embedded).add(10 * torch.eye(1000)).min() > 0.1


def test_the_embedding_begins_as_the_polyvaes_and_leaves_it_alone(shape, vae):
    model = PolyLDM(shape, vae)
    assert torch.equal(model.diffuser.embed(WANTED, ASKED), vae.property_encoder(WANTED, ASKED))
    with torch.no_grad():
        next(model.diffuser.property_encoder.parameters()).add_(1.0)
    assert not torch.equal(model.diffuser.embed(WANTED, ASKED), vae.property_encoder(WANTED, ASKED))


@torch.no_grad()
def test_latents_come_back_in_the_scale_of_the_polyvae(shape, vae):
    model = PolyLDM(shape, vae).eval()
    plain = model.latents(WANTED, ASKED, drawing(), steps=10)
    model.diffuser.latent_mean, model.diffuser.latent_std = torch.full((LATENT,), 3.0), torch.full((LATENT,), 0.5)
    assert torch.allclose(model.latents(WANTED, ASKED, drawing(), steps=10), 3.0 + 0.5 * plain, atol=1e-5)


@torch.no_grad()
def test_guidance_zero_forgets_the_wish_and_more_exaggerates_it(shape, vae):
    model = PolyLDM(shape, vae).eval()
    free = model.latents(WANTED, torch.zeros_like(ASKED), drawing(), steps=10)
    assert torch.allclose(model.latents(WANTED, ASKED, drawing(), steps=10, guidance=0.0), free, atol=1e-5)
    asked, more = (model.latents(WANTED, ASKED, drawing(), steps=10, guidance=weight) for weight in (1.0, 3.0))
    assert (asked - free).norm() > 1e-3 and (more - free).norm() > 1.5 * (asked - free).norm()


def test_guidance_without_condition_dropout_is_refused(shape, vae):
    model = PolyLDM(replace(shape, condition_dropout=0.0), vae)
    with pytest.raises(MoleculeModelError, match="guidance 2, but this PolyLDM was trained without condition dropout"):
        model.latents(WANTED, ASKED, drawing(), guidance=2.0)


def test_more_steps_than_it_was_taught_are_refused(shape, vae):
    with pytest.raises(MoleculeModelError, match="101 steps, expected 1 to 100"):
        PolyLDM(shape, vae).latents(WANTED, ASKED, drawing(), steps=101)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"latent": 32}, "latent width"), ({"vocabulary_size": 99}, "vocabulary of"), ({"properties": ("length",)}, "properties of the PolyVAE")],
)
def test_another_polyvae_is_refused(shape, vae, change, message):
    with pytest.raises(MoleculeModelError, match=message):
        PolyLDM(replace(shape, **change), vae)
