"""Ways from one latent vector to the next, as points; who draws them is another matter.

Latents are the last dimension; those before it walk side by side. A segment from a to b has the points at t = i / n, i = 0 … n - 1, without b itself:
b is where the next segment begins, and no frame is shown twice.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Literal

import numpy
import torch
from torch import Tensor

Path = Callable[[Tensor, Tensor, float], Tensor]

# Below this sine two directions are the same or opposite ones, and the plane of their arc is anybody's guess.
_LEAST_SINE = 1e-6


def linear(a: Tensor, b: Tensor, t: float) -> Tensor:
    """The straight line."""
    return a + t * (b - a)


def spherical(a: Tensor, b: Tensor, t: float) -> Tensor:
    """[sin((1 - t)Ω)·a + sin(tΩ)·b] / sin Ω, Ω being the angle between a and b: an arc that leaves and arrives at their own lengths.

    Where sin Ω is about 0, the straight line. Source: Shoemake 1985, "Animating Rotation with Quaternion Curves", SIGGRAPH.
    """
    x, y = a.double(), b.double()
    cosine = (torch.nn.functional.normalize(x, dim=-1) * torch.nn.functional.normalize(y, dim=-1)).sum(dim=-1, keepdim=True)
    angle = torch.arccos(cosine.clamp(-1, 1))
    sine = torch.sin(angle)
    arc = (torch.sin((1 - t) * angle) * x + torch.sin(t * angle) * y) / sine.clamp(min=_LEAST_SINE)
    return torch.where(sine > _LEAST_SINE, arc, linear(x, y, t)).to(a.dtype)


def origin(a: Tensor, b: Tensor, t: float) -> Tensor:
    """A to 0 in the first half, 0 to b in the second. For networks that take latents of any length."""
    return (1 - 2 * t) * a if t < 0.5 else (2 * t - 1) * b


PATHS: Mapping[Literal["linear", "spherical", "origin"], Path] = {"linear": linear, "spherical": spherical, "origin": origin}


def segments(keys: Tensor, frames: int, path: Path, *, loop: bool) -> Iterator[Tensor]:
    """Points [...] of the way through keys [K, ...], `frames` from each key to the next. loop: and from the last back to the first."""
    ends = [*keys[1:], *([keys[0]] if loop else [])]
    for a, b in zip(keys, ends, strict=False):
        for frame in range(frames):
            yield path(a, b, frame / frames)


def smooth_noise(frames: int, places: int, z_dim: int, *, sigma_frames: float, seed: int) -> Tensor:
    """[frames, places, z_dim] float32: a loop through normal latents without keys.

    White noise, smoothed in time around the seam, then scaled to a mean square of 1. Source: the videos of "Progressive Growing of GANs" (Karras
    et al. 2018), as described.
    """
    from scipy.ndimage import gaussian_filter1d

    noise = numpy.random.RandomState(seed).randn(frames, places, z_dim)
    smoothed = gaussian_filter1d(noise, sigma_frames, axis=0, mode="wrap")
    return torch.from_numpy(smoothed / numpy.sqrt(numpy.square(smoothed).mean())).float()
