"""The images and latent vectors of a training as pure functions of (seed, purpose, place): nothing is drawn in sequence, a resume replays nothing."""

import functools
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from formats.image_shards import ImageSetError, ImageShards
from stages.reporting import Reporter
from training.loop.devices import Devices, moved
from training.loop.seeding import generator

# Of a GPU's memory that is free, at most so much is taken by pictures; larger sets stay in the computer's own.
_SHARE_OF_FREE_MEMORY = 0.25


@dataclass(frozen=True)
class TrainingImages:
    """images: uint8 [N, C, R, R]. labels: float32 [N, L], or None without labels."""

    images: Tensor
    labels: Tensor | None = None

    @property
    def resolution(self) -> int:
        return self.images.shape[-1]

    @property
    def channels(self) -> int:
        return self.images.shape[1]

    @property
    def label_dim(self) -> int:
        return 0 if self.labels is None else self.labels.shape[1]

    def __len__(self) -> int:
        return len(self.images)

    def near(self, devices: Devices) -> "TrainingImages":
        """The same with the images on the GPU, where there is one and they leave it room."""
        if devices.device.type != "cuda":
            return self
        free, _ = torch.cuda.mem_get_info(devices.device)
        fits = self.images.nbytes <= free * _SHARE_OF_FREE_MEMORY
        return TrainingImages(self.images.to(devices.device), self.labels) if fits else self


def read_images(folder: Path, *, resolution: int | None, with_labels: bool, stage: str, reporter: Reporter) -> TrainingImages:
    """The image dataset in `folder`, with its pictures made smaller to `resolution` (None: as they are) by means of boxes. Raises ImageSetError."""
    shards = ImageShards(folder, resolution=resolution)
    if with_labels and shards.labels is None:
        raise ImageSetError(f"{folder}: cond is true, but the set has no labels; make it with labels, or set cond: false")
    labels = torch.from_numpy(shards.labels) if with_labels and shards.labels is not None else None
    pixels = numpy.stack(list(reporter.progress(shards, total=len(shards), what=f"{stage}: pictures read")))
    reporter.log(f"{stage}: {len(pixels):,} pictures of {shards.resolution} px from {folder}")
    return TrainingImages(torch.from_numpy(pixels), labels)


class ImageOrder:
    """An endless order of `number` images: each epoch shows every image once, shuffled anew. It has no state: a place and a salt name an image.

    mirror: the set counts double, once as it is and once mirrored.
    """

    def __init__(self, number: int, seed: int, *, mirror: bool = False, purpose: str = "order") -> None:
        self.number, self.seed, self.mirror, self.purpose = number, seed, mirror, purpose
        self._cached: tuple[tuple[int, int], Tensor] | None = None
        self.ahead = Ahead()

    @property
    def epoch_images(self) -> int:
        return self.number * (2 if self.mirror else 1)

    def take(self, start: int, count: int, *, salt: int = 0) -> tuple[Tensor, Tensor]:
        """Indices [count] and whether to mirror [count], for the places from `start` on. salt: gives another order, such as after a roll-back."""
        parts, place = [], start
        while place < start + count:
            epoch, offset = divmod(place, self.epoch_images)
            part = self._epoch(salt, epoch)[offset : offset + start + count - place]
            parts.append(part)
            place += len(part)
        places = torch.cat(parts) if parts else torch.empty(0, dtype=torch.int64)
        return places % self.number, places >= self.number

    def _epoch(self, salt: int, epoch: int) -> Tensor:
        key = (salt, epoch)
        if self._cached is None or self._cached[0] != key:
            self._cached = key, torch.randperm(self.epoch_images, generator=generator(self.seed, self.purpose, salt, epoch))
        return self._cached[1]


class Ahead:
    """Batches of pictures on their way to a GPU that has no room for all: the next one is copied while this one is learned from.

    copy: how a batch gets there, and what waits until it is there.
    """

    def __init__(self, copy: Callable[[Tensor, torch.device], tuple[Tensor, Callable[[], None]]] | None = None) -> None:
        self._copy = copy or _copied_beside
        self._under_way: dict[Hashable, tuple[Tensor, Callable[[], None]]] = {}

    def take(self, now: Hashable, after: Hashable, gather: Callable[[Any], Tensor], device: torch.device) -> Tensor:
        """The batch `now`, sending for `after`. gather: a batch in the computer's memory."""
        self._under_way = {key: self._under_way.get(key) or self._copy(gather(key), device) for key in (now, after)}
        pictures, wait = self._under_way[now]
        wait()
        return pictures


def _copied_beside(pictures: Tensor, device: torch.device) -> tuple[Tensor, Callable[[], None]]:
    stream, arrived = _copy_stream(device), torch.cuda.Event()
    with torch.cuda.stream(stream):
        there = moved(pictures, device)
        arrived.record(stream)

    def wait() -> None:
        # The computer does not wait: the GPU's other work does.
        torch.cuda.current_stream(device).wait_event(arrived)
        there.record_stream(torch.cuda.current_stream(device))

    return there, wait


@functools.cache
def _copy_stream(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


def batch_of(data: TrainingImages, order: ImageOrder, start: int, count: int, device: torch.device, *, salt: int = 0) -> tuple[Tensor, Tensor | None]:
    """Images float32 [count, C, R, R] in [-1, 1], with their labels, for the places from `start` on."""
    indices, mirrored = order.take(start, count, salt=salt)
    if device.type == "cuda" and data.images.device.type == "cpu":
        now, after = ((place, count, salt, data.resolution) for place in (start, start + count))
        pictures = order.ahead.take(now, after, lambda key: data.images[order.take(key[0], key[1], salt=key[2])[0]], device)
    else:
        pictures = data.images[moved(indices, data.images.device)]
    images = pictures.float() / 127.5 - 1
    if order.mirror:
        images = torch.where(moved(mirrored, device)[:, None, None, None], images.flip(3), images)
    labels = None if data.labels is None else moved(data.labels[indices.to(data.labels.device)], device)
    return images, labels


def random_latents(z_dim: int, count: int, labels: Tensor | None, *parts: int | str, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Z [count, z_dim] from the generator that `parts` name, and as many labels of the set, drawn at random; None without labels."""
    random = generator(*parts)
    z = moved(torch.randn(count, z_dim, generator=random), device)
    if labels is None:
        return z, None
    chosen = torch.randint(len(labels), (count,), generator=random)
    return z, moved(labels[chosen.to(labels.device)], device)


def uint8_images(data: TrainingImages, count: int, seed: int) -> numpy.ndarray:
    """`count` different images of the set (all of a smaller one), the same for the same seed: uint8 [N, C, R, R]."""
    chosen = torch.randperm(len(data), generator=generator(seed, "shown"))[:count]
    return data.images[chosen.to(data.images.device)].cpu().numpy()
