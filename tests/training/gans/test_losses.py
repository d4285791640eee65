import math

import torch

from tests.training.stylegan3.tiny import TINIEST, make_discriminator
from training.gans.losses import (
    between,
    drift_penalty,
    gradient_penalty,
    non_saturating_d,
    non_saturating_g,
    r1_penalty,
    r2_penalty,
    relativistic_d,
    relativistic_g,
    wasserstein_d,
    wasserstein_g,
)


def softplus(x):
    return math.log1p(math.exp(x))


def test_losses_equal_their_formulas():
    real, fake = torch.tensor([[0.5], [-1.0]]), torch.tensor([[2.0], [0.25]])
    torch.testing.assert_close(non_saturating_g(fake), torch.tensor([softplus(-2.0), softplus(-0.25)]))
    torch.testing.assert_close(non_saturating_d(real, fake), torch.tensor([softplus(-0.5) + softplus(2.0), softplus(1.0) + softplus(0.25)]))
    torch.testing.assert_close(relativistic_g(real, fake), torch.tensor([softplus(0.5 - 2.0), softplus(-1.0 - 0.25)]))
    torch.testing.assert_close(relativistic_d(real, fake), torch.tensor([softplus(2.0 - 0.5), softplus(0.25 + 1.0)]))


def test_the_wasserstein_losses_are_differences_of_means_and_drift_keeps_reals_near_zero():
    real, fake = torch.tensor([[0.5], [-1.0]]), torch.tensor([[2.0], [0.25]])
    assert wasserstein_g(fake).tolist() == [-2.0, -0.25] and wasserstein_d(real, fake).tolist() == [1.5, 1.25]
    assert drift_penalty(real).tolist() == [0.25, 1.0]


def test_the_gradient_penalty_of_a_linear_critic_is_that_of_its_norm():
    direction = torch.randn(3, 4, 4)
    images = between(torch.randn(5, 3, 4, 4), torch.randn(5, 3, 4, 4), torch.rand(5))
    penalty = gradient_penalty((images * direction).sum(dim=(1, 2, 3))[:, None], images)
    torch.testing.assert_close(penalty, (direction.norm() - 1).square().expand(5))


def test_a_critic_that_is_flat_is_pushed_and_gives_no_nan():
    images = between(torch.randn(2, 1, 4, 4), torch.randn(2, 1, 4, 4), torch.rand(2))
    slope = torch.zeros(1, requires_grad=True)
    penalty = gradient_penalty((images * slope).sum(dim=(1, 2, 3))[:, None], images)
    penalty.sum().backward()
    torch.testing.assert_close(penalty.detach(), torch.ones(2), rtol=0, atol=1e-5)
    assert slope.grad.isfinite().all()


def test_pictures_between_reals_and_fakes_lie_on_the_line():
    real, fake = torch.randn(3, 1, 2, 2), torch.randn(3, 1, 2, 2, requires_grad=True)
    images = between(real, fake, torch.tensor([0.0, 0.25, 1.0]))
    assert images.is_leaf and images.requires_grad
    torch.testing.assert_close(images.detach(), torch.stack([fake[0], 0.75 * fake[1] + 0.25 * real[1], real[2]]).detach())


def test_the_relativistic_loss_only_sees_differences():
    real, fake = torch.randn(5, 1), torch.randn(5, 1)
    torch.testing.assert_close(relativistic_d(real + 100, fake + 100), relativistic_d(real, fake), rtol=1e-4, atol=1e-4)


def test_losses_stay_finite_for_extreme_logits():
    extreme = torch.tensor([[1e4], [-1e4]])
    for loss in (
        non_saturating_g(extreme),
        non_saturating_d(extreme, -extreme),
        relativistic_g(extreme, -extreme),
        relativistic_d(-extreme, extreme),
    ):
        assert loss.isfinite().all()


def test_the_penalty_of_a_linear_critic_is_its_squared_norm():
    direction = torch.randn(3, 4, 4)
    images = torch.randn(5, 3, 4, 4, requires_grad=True)
    logits = (images * direction).sum(dim=(1, 2, 3))[:, None]
    torch.testing.assert_close(r1_penalty(logits, images), direction.square().sum().expand(5))


def test_the_gradient_of_r1_is_that_of_finite_differences():
    discriminator = make_discriminator(TINIEST).double()
    images = torch.randn(2, 3, 16, 16, dtype=torch.float64, requires_grad=True)
    random = torch.Generator().manual_seed(1)

    def penalty():
        return r1_penalty(discriminator(images), images).sum()

    def slope(parameter, direction, step=1e-6):
        values = []
        with torch.no_grad():
            for sign in (1, -2):
                parameter.add_(direction, alpha=sign * step)
                with torch.enable_grad():
                    values.append(penalty().detach())
            parameter.add_(direction, alpha=step)
        return (values[0] - values[1]) / (2 * step)

    penalty().backward()
    for name, parameter in discriminator.named_parameters():
        direction = torch.randn(parameter.shape, generator=random, dtype=torch.float64)
        # A constant added to the logits has no part in their gradient.
        analytic = torch.zeros(()).double() if parameter.grad is None else (parameter.grad * direction).sum()
        torch.testing.assert_close(analytic, slope(parameter, direction), rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")


def test_r2_is_the_same_penalty_on_fakes():
    discriminator = make_discriminator(TINIEST)
    fakes = torch.randn(2, 3, 16, 16, requires_grad=True)
    torch.testing.assert_close(r2_penalty(discriminator(fakes), fakes), r1_penalty(discriminator(fakes), fakes))
