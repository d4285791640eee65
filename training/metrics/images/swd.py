"""Sliced Wasserstein distance between the 7 × 7 patches of two sets of images, level by level of a Laplacian pyramid; needs no weights.

Source: Karras et al. 2018, arXiv:1710.10196, section 5; the pyramid is that of Burt and Adelson 1983, IEEE Trans. Commun. 31:532, a = 0.375.
"""

from dataclasses import dataclass, field

import numpy
import torch
from torch import Tensor
from torch.nn import functional as F

from training.common.derived_seed import derive_seed

PATCH_PX, PATCHES_PER_IMAGE = 7, 128
REPEATS, DIRECTIONS = 4, 128
LOWEST_SIDE_PX = 16
_KERNEL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
_BATCH_IMAGES = 64


@dataclass(frozen=True)
class SlicedWasserstein:
    """By level (the side of the images there, in pixels, falling): the distance × 10³. images: on each side."""

    levels: dict[int, float]
    images: int

    @property
    def mean(self) -> float:
        """The mean over the levels."""
        return sum(self.levels.values()) / len(self.levels)


def level_sides(side_px: int) -> list[int]:
    """The sides of the pyramid's levels, falling from `side_px` by halves while they are even, down to 16 px."""
    if side_px < LOWEST_SIDE_PX:
        raise ValueError(f"the pyramid ends at {LOWEST_SIDE_PX} px; images of {side_px} px are too small")
    sides = [side_px]
    while sides[-1] % 2 == 0 and sides[-1] // 2 >= LOWEST_SIDE_PX:
        sides.append(sides[-1] // 2)
    return sides


@dataclass
class PatchDistance:
    """Compares sets of images with the same reals: what has to be done to the reals is done once and kept.

    reals: uint8 [N, C, side, side]. With a seed, patches and directions are always the same.
    """

    reals: numpy.ndarray
    seed: int = 0
    _projected: dict[int, list[numpy.ndarray]] = field(default_factory=dict, repr=False)

    def __call__(self, fakes: numpy.ndarray) -> SlicedWasserstein:
        """fakes: uint8, of the shape of the reals."""
        if fakes.shape != self.reals.shape or fakes.shape[2] != fakes.shape[3]:
            raise ValueError(f"the sliced distance needs as many square fakes as reals, found {fakes.shape} and {self.reals.shape}")
        sides = level_sides(fakes.shape[2])
        projected = self._project(fakes, sides, "fakes")
        if not self._projected:
            self._projected = self._project(self.reals, sides, "reals")
        levels = {
            side: 1e3 * float(numpy.mean([numpy.abs(a - b).mean() for a, b in zip(projected[side], self._projected[side], strict=True)]))
            for side in sides
        }
        return SlicedWasserstein(levels, len(fakes))

    def _project(self, images: numpy.ndarray, sides: list[int], purpose: str) -> dict[int, list[numpy.ndarray]]:
        """By level, the sorted projections [DIRECTIONS, patches] of each repeat."""
        random = {side: numpy.random.default_rng(derive_seed(self.seed, "patches", purpose, side)) for side in sides}
        patches: dict[int, list[numpy.ndarray]] = {side: [] for side in sides}
        for start in range(0, len(images), _BATCH_IMAGES):
            for side, level in zip(sides, laplacian_pyramid(torch.from_numpy(images[start : start + _BATCH_IMAGES])), strict=True):
                patches[side].append(draw_patches(level.numpy(), random[side]))
        projected = {}
        for side in sides:
            flat = normalised(numpy.concatenate(patches.pop(side)))
            projected[side] = [numpy.sort(directions @ flat.T, axis=1) for directions in self._directions(side, flat.shape[1])]
        return projected

    def _directions(self, side: int, dimension: int) -> list[numpy.ndarray]:
        random = numpy.random.default_rng(derive_seed(self.seed, "directions", side))
        drawn = random.standard_normal((REPEATS, DIRECTIONS, dimension)).astype(numpy.float32)
        return list(drawn / numpy.linalg.norm(drawn, axis=2, keepdims=True))


def laplacian_pyramid(images: Tensor) -> list[Tensor]:
    """Float32 levels of falling side of images [N, C, side, side]: each what a half-size version does not say, the last that version."""
    levels, current = [], images.float()
    for _ in level_sides(current.shape[2])[1:]:
        smaller = _blurred(current)[:, :, ::2, ::2]
        levels.append(current - _doubled(smaller))
        current = smaller
    return [*levels, current]


def draw_patches(level: numpy.ndarray, random: numpy.random.Generator) -> numpy.ndarray:
    """PATCHES_PER_IMAGE patches of each image of level [N, C, H, W], wherever they fit: [N * PATCHES_PER_IMAGE, C, 7, 7]."""
    windows = numpy.lib.stride_tricks.sliding_window_view(level, (PATCH_PX, PATCH_PX), axis=(2, 3))
    images = numpy.repeat(numpy.arange(len(level)), PATCHES_PER_IMAGE)
    rows, columns = (random.integers(0, windows.shape[axis], size=len(images)) for axis in (2, 3))
    return windows[images, :, rows, columns]


def normalised(patches: numpy.ndarray) -> numpy.ndarray:
    """The patches [P, C, 7, 7] with mean 0 and standard deviation 1 of each channel over all of them, flat: float32 [P, C * 49].

    A channel without any spread is only centred.
    """
    mean = patches.mean(axis=(0, 2, 3), keepdims=True, dtype=numpy.float64)
    spread = patches.std(axis=(0, 2, 3), keepdims=True, dtype=numpy.float64)
    return ((patches - mean) / numpy.where(spread > 0, spread, 1)).astype(numpy.float32).reshape(len(patches), -1)


def _blurred(images: Tensor, gain: float = 1.0) -> Tensor:
    """Each channel convolved with the separable 5-tap kernel, mirrored at the borders."""
    channels = images.shape[1]
    kernel = torch.tensor(_KERNEL, dtype=images.dtype, device=images.device) * gain**0.5
    padded = F.pad(images, (2, 2, 2, 2), mode="reflect")
    across = F.conv2d(padded, kernel.view(1, 1, 1, 5).expand(channels, 1, 1, 5), groups=channels)
    return F.conv2d(across, kernel.view(1, 1, 5, 1).expand(channels, 1, 5, 1), groups=channels)


def _doubled(images: Tensor) -> Tensor:
    """Twice the side: zeros in between, then the same kernel with four times the weight."""
    N, C, H, W = images.shape
    spread = images.new_zeros(N, C, 2 * H, 2 * W)
    spread[:, :, ::2, ::2] = images
    return _blurred(spread, gain=4.0)
