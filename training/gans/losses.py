"""What the two players minimise. Logits are [B, 1] (or [B]); every loss is [B], one number a picture, so that the caller chooses how to average.

Of a discriminator that judges patches, logits are [B, 1, h, w] and a loss has one number a patch: [B·h·w].
"""

import torch
from torch import Tensor
from torch.nn import functional

# The slope of a root at 0 is infinite; a critic that is flat everywhere should not turn that into NaN.
_NORM_EPSILON = 1e-12


def non_saturating_g(fake_logits: Tensor) -> Tensor:
    """-log(sigmoid(D(fake))). Source: Goodfellow et al. 2014, section 3."""
    return functional.softplus(-fake_logits).flatten()


def non_saturating_d(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """-log(sigmoid(D(real))) - log(1 - sigmoid(D(fake))). Source: Goodfellow et al. 2014, equation 1."""
    return (functional.softplus(-real_logits) + functional.softplus(fake_logits)).flatten()


def least_squares_g(fake_scores: Tensor) -> Tensor:
    """(D(fake) - 1)². Source: Mao et al. 2017, "Least Squares Generative Adversarial Networks", equation 2 with b = c = 1 and a = 0, twice it."""
    return (fake_scores - 1).square().flatten()


def least_squares_d(real_scores: Tensor, fake_scores: Tensor) -> Tensor:
    """(D(real) - 1)² + D(fake)²: reals are to score 1 and fakes 0. Source: as `least_squares_g`."""
    return ((real_scores - 1).square() + fake_scores.square()).flatten()


def relativistic_g(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """softplus(D(real) - D(fake)): fakes should look more real than the reals they are paired with.

    The real logits carry no gradient to G, but are part of the loss. Source: Jolicoeur-Martineau 2019 (RpGAN); Huang et al. 2024 (R3GAN), section 2.
    """
    return functional.softplus(real_logits - fake_logits).flatten()


def relativistic_d(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """softplus(D(fake) - D(real)). Source: as `relativistic_g`."""
    return functional.softplus(fake_logits - real_logits).flatten()


def wasserstein_g(fake_logits: Tensor) -> Tensor:
    """-D(fake). Source: Arjovsky et al. 2017 (WGAN), algorithm 1."""
    return -fake_logits.flatten()


def wasserstein_d(real_logits: Tensor, fake_logits: Tensor) -> Tensor:
    """D(fake) - D(real). Source: as `wasserstein_g`."""
    return (fake_logits - real_logits).flatten()


def drift_penalty(real_logits: Tensor) -> Tensor:
    """D(real)², which keeps a critic that only differences matter to near 0. Unscaled. Source: Karras et al. 2018 (PGGAN), appendix A.1."""
    return real_logits.square().flatten()


def between(real: Tensor, fake: Tensor, share: Tensor) -> Tensor:
    """Pictures on the straight line from fakes (share 0) to reals (share 1), requiring grad. share: [B]. Source: as `gradient_penalty`."""
    return torch.lerp(fake.detach(), real, share[:, None, None, None]).requires_grad_()


def gradient_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """(|gradient of D| - 1)². Unscaled. logits: [B, 1], computed from `images`, those of `between`.

    Source: Gulrajani et al. 2017 (WGAN-GP), equation 3.
    """
    return ((_squared_gradient_norm(logits, images) + _NORM_EPSILON).sqrt() - 1).square()


def r1_penalty(logits: Tensor, real: Tensor) -> Tensor:
    """Squared gradient norm of the critic on real pictures, one a picture.

    logits: [B, 1], computed from `real`. real: [B, C, H, W] in [-1, 1], requires grad. Returns [B]; unscaled, the caller multiplies by gamma / 2.
    Source: Mescheder et al. 2018, "Which Training Methods for GANs do actually Converge?", equation 9.
    """
    return _squared_gradient_norm(logits, real)


def r2_penalty(logits: Tensor, fake: Tensor) -> Tensor:
    """The same on fakes, detached from G and requiring grad. Source: Mescheder et al. 2018, equation 10; beside R1: Huang et al. 2024 (R3GAN)."""
    return _squared_gradient_norm(logits, fake)


def _squared_gradient_norm(logits: Tensor, images: Tensor) -> Tensor:
    # The sum over the batch gives each picture its own gradient: logits of one do not depend on another (or little, through batch statistics).
    (gradient,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradient.square().sum(dim=(1, 2, 3))
