"""Sets of images that metrics read piece by piece: in memory, in files, or chosen from another set."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy
from torch import Tensor

from stages.derived_seed import derive_seed


class ImageSource(Protocol):
    """Images that are read as they are needed, such as the shards of a dataset."""

    def __len__(self) -> int: ...

    def images(self, indices: Sequence[int]) -> numpy.ndarray:
        """uint8 [len(indices), C, H, W]."""
        ...


@dataclass(frozen=True)
class ArrayImages:
    """Images in memory: uint8 [N, C, H, W]."""

    array: numpy.ndarray

    def __len__(self) -> int:
        return len(self.array)

    def images(self, indices: Sequence[int]) -> numpy.ndarray:
        return self.array[list(indices)]


@dataclass(frozen=True)
class ChosenImages:
    """Some images of a source, in the order of `indices`."""

    source: ImageSource
    indices: Sequence[int]

    def __len__(self) -> int:
        return len(self.indices)

    def images(self, indices: Sequence[int]) -> numpy.ndarray:
        return self.source.images([self.indices[index] for index in indices])


@dataclass(frozen=True)
class ColourImages:
    """Images of a source in RGB: grey ones with equal channels, the others as they are."""

    source: ImageSource

    def __len__(self) -> int:
        return len(self.source)

    def images(self, indices: Sequence[int]) -> numpy.ndarray:
        found = self.source.images(indices)
        return found.repeat(3, axis=1) if found.shape[1] == 1 else found


def as_source(images: numpy.ndarray | Tensor | ImageSource) -> ImageSource:
    """An array or a tensor as a source; a source as it is."""
    if isinstance(images, Tensor):
        images = images.cpu().numpy()
    return ArrayImages(images) if isinstance(images, numpy.ndarray) else images


def choose(source: ImageSource, count: int, *purpose: int | str) -> ImageSource:
    """`count` images of the source, chosen by `purpose` alone and kept in their order; the source itself when it has no more."""
    if count >= len(source):
        return source
    random = numpy.random.default_rng(derive_seed("chosen images", *purpose))
    return ChosenImages(source, tuple(int(index) for index in numpy.sort(random.choice(len(source), count, replace=False))))


def batches(source: ImageSource, batch_images: int) -> Iterator[tuple[int, numpy.ndarray]]:
    """(index of the first, images) of the whole source in order."""
    for start in range(0, len(source), batch_images):
        yield start, source.images(range(start, min(start + batch_images, len(source))))
