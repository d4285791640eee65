"""What both players minimise at the resolution of the moment, and the real pictures they are shown."""

import pytest
import torch

from formats.image_shards import box_downsample
from tests.training.progressive.tiny import TINY, images, networks
from training.gans.losses import wasserstein_d
from training.gans.players import Moment
from training.loop.devices import Devices
from training.progressive.layers import larger
from training.progressive.losses import ProgressiveLosses, Pyramid
from training.progressive.options import ProgressiveOptions

CPU = Devices(torch.device("cpu"))
# 4 px for 20 pictures, then 20 for each fade and each stable phase.
OPTIONS = {"batch": 8, "batch_by_px": {}, "mbstd_group": 2, "z_dim": 8, "stable_kimg": 0.02, "fade_kimg": 0.02}


def losses(**settings) -> ProgressiveLosses:
    generator, discriminator = networks(TINY)
    return ProgressiveLosses(generator, discriminator, images(), ProgressiveOptions(**{**OPTIONS, **settings}), CPU)


def at(of: ProgressiveLosses, samples: int, rollback: int = 0) -> Moment:
    growth = of.schedule.at(samples)
    of.generator.grow(growth.px, growth.alpha)
    of.discriminator.grow(growth.px, growth.alpha)
    return Moment(samples, samples, rollback)


def test_a_level_of_the_pyramid_is_what_the_dataset_reads_at_that_size():
    data = images(300, channels=3)
    pyramid = Pyramid(data, CPU)
    for px in (4, 8, 4, 16):
        level = pyramid.at(px)
        expected = torch.stack([torch.from_numpy(box_downsample(image.permute(1, 2, 0).numpy(), px)).permute(2, 0, 1) for image in data.images])
        assert torch.equal(level.images, expected)
    assert pyramid.at(16) is data


def test_one_level_is_kept_and_made_once(monkeypatch):
    made = []
    monkeypatch.setattr("training.progressive.losses._boxes", lambda part, px: made.append(px) or part[..., :px, :px])
    pyramid = Pyramid(images(), CPU)
    for px in (4, 4, 8, 8, 16, 16):
        pyramid.at(px)
    assert made == [4, 8]


@pytest.mark.parametrize("samples", [24, 30])
def test_during_a_fade_the_discriminator_is_given_the_blended_reals(samples, monkeypatch):
    """Defect 2 of DeepZine: the blended reals were computed, and the unblended ones fed."""
    of = losses()
    now, given = at(of, samples), []
    monkeypatch.setattr(of, "_logits", lambda pictures, sets: given.append(pictures[:8]) or torch.zeros(len(pictures), 1, requires_grad=True))
    next(of.discriminator_losses(now))
    indices, _ = of.order.take(samples, 8)
    sharp = of.pyramid.at(8).images[indices].float() / 127.5 - 1
    coarse = of.pyramid.at(4).images[indices].float() / 127.5 - 1
    alpha = (samples - 20) / 20
    # The coarse ones rounded to whole numbers: within one of 255 steps.
    torch.testing.assert_close(given[0], alpha * sharp + (1 - alpha) * larger(coarse), rtol=0, atol=1 / 127.5)
    assert (given[0] - sharp).abs().max() > 0.1


def test_the_penalty_is_taken_at_the_resolution_and_alpha_of_the_moment_between_the_same_pictures(monkeypatch):
    of = losses()
    now, given = at(of, 30), []
    seen = of.discriminator.forward
    monkeypatch.setattr(
        of.discriminator, "forward", lambda pictures, sets=1: given.append((pictures, of.discriminator.config)) or seen(pictures, sets)
    )
    (_, shown), (penalty, told) = list(of.discriminator_losses(now))
    (both, _), (between, config) = given
    reals, fakes = both.chunk(2)
    assert (config.grown_px, config.alpha) == (8, 0.5)
    # On the line between each real and its fake.
    share = (between - fakes).flatten(1).norm(dim=1) / (reals - fakes).flatten(1).norm(dim=1)
    torch.testing.assert_close(between, torch.lerp(fakes, reals, share.view(-1, 1, 1, 1)).detach(), rtol=0, atol=1e-4)
    (gradient,) = torch.autograd.grad(of.discriminator(points := between.detach().requires_grad_()).sum(), points)
    expected = (gradient.flatten(1).norm(dim=1) - 1).square().mean()
    torch.testing.assert_close(told["gradient_penalty"], expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(penalty.detach(), 10 * expected, rtol=1e-4, atol=1e-6)
    assert set(shown) == {"real_logit", "fake_logit"}


def test_the_losses_are_those_of_the_paper_with_drift():
    of = losses(drift=0.5)
    now = at(of, 0)
    loss, shown = next(of.discriminator_losses(now))
    with torch.no_grad():
        real = of.discriminator(of.reals(now, 8))
        fake = of.discriminator(of.generator.draw(of.generator.latents(of._latents("D", now, 8))))
        on_g = of.discriminator(of.generator.draw(of.generator.latents(of._latents("G", now, 8))))
    torch.testing.assert_close(loss.detach(), (wasserstein_d(real, fake) + 0.5 * real.flatten().square()).mean())
    torch.testing.assert_close(shown["real_logit"], real.mean())
    torch.testing.assert_close(next(of.generator_losses(now))[0].detach(), -on_g.mean())


def test_the_other_loss_has_signs_for_the_guard_and_its_own_penalty():
    of = losses(loss="non-saturating", gamma=4.0)
    (_, shown), (penalty, told) = list(of.discriminator_losses(at(of, 8)))
    assert {"r_t", "fake_sign"} <= set(shown) and set(told) == {"r1_penalty"}
    torch.testing.assert_close(penalty.detach(), 2 * told["r1_penalty"])
    # Twice as strict for each roll-back; without weight there is none.
    (_, _), (stricter, told) = list(of.discriminator_losses(at(of, 8, rollback=2)))
    torch.testing.assert_close(stricter.detach(), 8 * told["r1_penalty"])
    without = losses(loss="non-saturating", gamma=0.0)
    assert len(list(without.discriminator_losses(at(without, 0)))) == 1


@pytest.mark.parametrize("loss", ["wgan-gp", "non-saturating"])
def test_a_batch_in_parts_teaches_what_the_whole_does(loss):
    gradients = []
    for batch_gpu in (None, 2):
        of = losses(loss=loss, batch_gpu=batch_gpu, mbstd_group=1)
        of.discriminator.blocks[0].mbstd_group = 1
        for part, _ in [*of.discriminator_losses(at(of, 28)), *of.generator_losses(at(of, 28))]:
            part.backward()
        gradients.append([parameter.grad for network in (of.generator, of.discriminator) for parameter in network.parameters()])
    for whole, parts in zip(*gradients, strict=True):
        assert (whole is None) == (parts is None)
        if whole is not None:
            torch.testing.assert_close(whole, parts, rtol=1e-3, atol=1e-5)


def test_bfloat16_stays_close_and_its_penalty_has_gradients():
    values = {}
    for precision in ("float32", "bfloat16"):
        of = losses(precision=precision, batch=16)
        parts = list(of.discriminator_losses(at(of, 28)))
        parts[1][0].backward()
        values[precision] = torch.stack([part.detach() for part, _ in parts])
        assert all(parameter.grad is None or parameter.grad.isfinite().all() for parameter in of.discriminator.parameters())
        assert of._fakes(of._latents("D", at(of, 28), 4)).dtype is torch.float32
    assert 0 < (values["bfloat16"] - values["float32"]).abs().max() < 0.05 * values["float32"].abs().max() + 0.02


def test_the_last_batch_of_a_phase_is_no_larger_than_what_is_left_of_it():
    of = losses()
    assert [of.batch_at(images) for images in (0, 8, 16, 20, 36, 40, 92, 1000)] == [8, 8, 4, 8, 4, 8, 8, 8]
    of = losses(batch=16, batch_by_px={8: 4})
    assert [of.batch_at(images) for images in (0, 16, 20, 24)] == [16, 4, 4, 4]


def test_moments_and_roll_backs_draw_other_pictures_and_the_same_ones_again():
    of = losses()
    first, again, other = of.reals(at(of, 0), 8), of.reals(at(of, 0), 8), of.reals(at(of, 0, rollback=1), 8)
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert not torch.equal(of._latents("D", Moment(0, 0, 0), 8), of._latents("G", Moment(0, 0, 0), 8))
