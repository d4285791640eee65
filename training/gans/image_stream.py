"""The images and latent vectors of a training as pure functions of (seed, purpose, place): nothing is drawn in sequence, a resume replays nothing."""

from dataclasses import dataclass
from pathlib import Path

import numpy
import torch
from torch import Tensor

from formats.image_shards import ImageSetError, ImageShards
from stages.derived_seed import derive_seed
from stages.reporting import Reporter
from training.loop.devices import Devices
from training.loop.seeding import generator

# More of a GPU's memory than this is left to the networks; larger sets stay in the computer's own.
_SHARE_OF_GPU_MEMORY = 0.3


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
        room = torch.cuda.get_device_properties(devices.device).total_memory * _SHARE_OF_GPU_MEMORY
        return TrainingImages(self.images.to(devices.device), self.labels) if self.images.nbytes <= room else self


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


def batch_of(data: TrainingImages, order: ImageOrder, start: int, count: int, device: torch.device, *, salt: int = 0) -> tuple[Tensor, Tensor | None]:
    """Images float32 [count, C, R, R] in [-1, 1], with their labels, for the places from `start` on."""
    indices, mirrored = order.take(start, count, salt=salt)
    images = data.images[indices.to(data.images.device)].to(device, non_blocking=True).float() / 127.5 - 1
    if mirrored.any():
        images = torch.where(mirrored.to(device)[:, None, None, None], images.flip(3), images)
    labels = None if data.labels is None else data.labels[indices.to(data.labels.device)].to(device)
    return images, labels


def random_latents(z_dim: int, count: int, labels: Tensor | None, *parts: int | str, device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Z [count, z_dim] from the generator that `parts` name, and as many labels of the set, drawn at random; None without labels."""
    random = generator(*parts)
    z = torch.randn(count, z_dim, generator=random).to(device)
    if labels is None:
        return z, None
    chosen = torch.randint(len(labels), (count,), generator=random)
    return z, labels[chosen.to(labels.device)].to(device)


def device_generator(device: torch.device, *parts: int | str) -> torch.Generator:
    """A generator on `device` seeded by `derive_seed(*parts)`, for what draws on the device itself."""
    return torch.Generator(device).manual_seed(derive_seed(*parts))


def uint8_images(data: TrainingImages, count: int, seed: int) -> numpy.ndarray:
    """`count` different images of the set (all of a smaller one), the same for the same seed: uint8 [N, C, R, R]."""
    chosen = torch.randperm(len(data), generator=generator(seed, "shown"))[:count]
    return data.images[chosen.to(data.images.device)].cpu().numpy()
