"""Sliced Wasserstein distance between the 7 × 7 patches of two sets of images, level by level of a Laplacian pyramid; needs no weights.

Source: Karras et al. 2018, arXiv:1710.10196, section 5; the pyramid is that of Burt and Adelson 1983, IEEE Trans. Commun. 31:532, a = 0.375.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

import numpy
import torch
from torch import Tensor
from torch.nn import functional as F

from stages.derived_seed import derive_seed
from training.metrics.images.sources import ImageSource, batches

PATCH_PX, PATCHES_PER_IMAGE = 7, 128
REPEATS, DIRECTIONS = 4, 128
LOWEST_SIDE_PX = 16
_KERNEL = (1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16)
_BATCH_IMAGES = 64
# Projections of the reals are kept for the next fakes when a level has at most so many numbers (256 MiB of float32).
_MOST_KEPT_NUMBERS = 64_000_000


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
    """Compares sets of images with the same reals; what is done to the reals is done once and kept, unless it is large.

    With a seed, patches and directions are always the same. Images are read level by level, so that one level is in memory at a time.
    """

    reals: ImageSource
    seed: int = 0
    _kept: dict[int, list[numpy.ndarray]] = field(default_factory=dict, repr=False)

    def __call__(self, fakes: ImageSource) -> SlicedWasserstein:
        """fakes: as many square ones as there are reals, of their size."""
        shapes = [(len(source), *source.images([0]).shape[1:]) if len(source) else (0,) for source in (fakes, self.reals)]
        if shapes[0] != shapes[1] or not len(fakes) or shapes[0][2] != shapes[0][3]:
            raise ValueError(f"the sliced distance needs as many square fakes as reals, found {shapes[0]} and {shapes[1]}")
        sides = level_sides(shapes[0][2])
        return SlicedWasserstein({side: 1e3 * self._distance(fakes, place, side) for place, side in enumerate(sides)}, len(fakes))

    def _distance(self, fakes: ImageSource, place: int, side: int) -> float:
        patches = self._patches(fakes, place, side, "fakes")
        directions = self._directions(side, patches.shape[1])
        # In one dimension the Wasserstein distance of equally many points is the mean gap between the sorted ones.
        differences = []
        for some, reals in zip(directions, self._real_projections(place, side, directions), strict=True):
            projected = numpy.sort(some @ patches.T, axis=1)
            differences.append(float(numpy.abs(projected - reals).mean(dtype=numpy.float64)))
        return sum(differences) / len(differences)

    def _real_projections(self, place: int, side: int, directions: list[numpy.ndarray]) -> Iterator[numpy.ndarray]:
        """The sorted projections [DIRECTIONS, patches] of the reals, for each repeat."""
        if side in self._kept:
            yield from self._kept[side]
            return
        patches = self._patches(self.reals, place, side, "reals")
        projections: Iterable[numpy.ndarray] = (numpy.sort(some @ patches.T, axis=1) for some in directions)
        if len(patches) * REPEATS * DIRECTIONS <= _MOST_KEPT_NUMBERS:
            projections = self._kept[side] = list(projections)
        yield from projections

    def _patches(self, source: ImageSource, place: int, side: int, purpose: str) -> numpy.ndarray:
        """Normalised and flat: float32 [patches, C * 49]."""
        random = numpy.random.default_rng(derive_seed(self.seed, "patches", purpose, side))
        levels = (laplacian_level(torch.from_numpy(images), place) for _, images in batches(source, _BATCH_IMAGES))
        return normalised(numpy.concatenate([draw_patches(level.numpy(), random) for level in levels]))

    def _directions(self, side: int, dimension: int) -> list[numpy.ndarray]:
        random = numpy.random.default_rng(derive_seed(self.seed, "directions", side))
        drawn = random.standard_normal((REPEATS, DIRECTIONS, dimension)).astype(numpy.float32)
        return list(drawn / numpy.linalg.norm(drawn, axis=2, keepdims=True))


def laplacian_level(images: Tensor, place: int) -> Tensor:
    """The level of images [N, C, side, side] at `place`, 0 = finest, as float32: what a half-size version does not say; the last is that version."""
    current = images.float()
    last = len(level_sides(current.shape[2])) - 1
    for _ in range(place):
        current = _blurred(current)[:, :, ::2, ::2]
    return current - _doubled(_blurred(current)[:, :, ::2, ::2]) if place < last else current


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
    mean = patches.mean(axis=(0, 2, 3), keepdims=True, dtype=numpy.float64).astype(numpy.float32)
    centred = patches - mean
    spread = numpy.sqrt((centred**2).mean(axis=(0, 2, 3), keepdims=True, dtype=numpy.float64)).astype(numpy.float32)
    centred /= numpy.where(spread > 0, spread, numpy.float32(1))
    return centred.reshape(len(patches), -1)


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
