"""The same numbers on an accelerator as on the CPU, and low precision that stays close to them."""

import copy
from dataclasses import replace

import pytest
import torch

from training.gans.augment import PRESETS, Augment
from training.gans.losses import r1_penalty
from training.stylegan3.equivariance import measure_equivariance

from .tiny import TINIEST, TINIEST_R, TINY, make_discriminator, make_generator

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _whole_float32(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)


@pytest.mark.parametrize("block", [128, 16])
@pytest.mark.parametrize("config", [TINY, TINIEST_R])
def test_pictures_and_gradients_are_those_of_the_cpu(config, block, monkeypatch):
    monkeypatch.setattr("training.gans.banded._BLOCK", block)
    generator = make_generator(replace(config, precision="float32"))
    there = copy.deepcopy(generator).cuda()
    z = torch.randn(4, config.z_dim)
    expected, images = generator(z), there(z.cuda())
    torch.testing.assert_close(images.cpu(), expected, rtol=1e-3, atol=1e-4)
    expected.square().sum().backward()
    images.square().sum().backward()
    for parameter, other in zip(generator.parameters(), there.parameters(), strict=True):
        torch.testing.assert_close(other.grad.cpu(), parameter.grad, rtol=2e-2, atol=2e-3 * parameter.grad.abs().max().item())


@pytest.mark.parametrize(("precision", "tolerance"), [("float16", 0.02), ("bfloat16", 0.15)])
def test_low_precision_stays_close(precision, tolerance):
    generator = make_generator(replace(TINY, precision=precision)).cuda()
    exact = make_generator(replace(TINY, precision="float32")).cuda()
    z = torch.randn(4, TINY.z_dim, device="cuda")
    images, expected = generator(z), exact(z)
    assert images.dtype is torch.float32
    assert 0 < (images - expected).abs().max() < tolerance * expected.std() + 0.01
    images.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in generator.parameters())


@pytest.mark.parametrize(("precision", "least_db"), [("float32", 45), ("float16", 40), ("bfloat16", 25)])
def test_translations_are_followed_in_every_precision(precision, least_db):
    generator = make_generator(replace(TINIEST, precision=precision)).cuda().eval()
    assert measure_equivariance(generator, ["eqt"], pictures=8)["eqt_db"].value > least_db


def test_the_gradient_penalty_works_in_low_precision():
    discriminator = make_discriminator(TINY).cuda()
    images = torch.randn(8, 3, 32, 32, device="cuda", requires_grad=True)
    exact = make_discriminator(replace(TINY, precision="float32")).cuda()
    penalty, expected = r1_penalty(discriminator(images), images), r1_penalty(exact(images), images)
    torch.testing.assert_close(penalty, expected, rtol=0.05, atol=0)
    penalty.sum().backward()
    assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in discriminator.parameters())


def test_augmentation_draws_the_same_changes_from_a_generator_on_the_cpu():
    images = torch.rand(8, 3, 32, 32) * 2 - 1
    augment = Augment(PRESETS["bgc"], p=0.7)
    expected = augment(images, torch.Generator().manual_seed(0))
    changed = copy.deepcopy(augment).cuda()(images.cuda(), torch.Generator().manual_seed(0))
    torch.testing.assert_close(changed.cpu(), expected, rtol=1e-2, atol=1e-2)
    on_device = copy.deepcopy(augment).cuda()(images.cuda(), torch.Generator("cuda").manual_seed(0))
    assert on_device.isfinite().all()
