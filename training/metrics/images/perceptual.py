"""How different two images look: distances in the form of LPIPS, each with a name that every number made from it carries.

LPIPS itself needs two files that the user brings and that are recognised by checksum: VGG16 as torchvision publishes it, and LPIPS's own weights.
Without them the same sum is taken over random convolutions, and is called so. Both can be differentiated.
Source: Zhang et al. 2018, arXiv:1801.03924, section 3, equation 1.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from stages.files import sha256_of
from training.metrics.images.features import random_filters

# Named by the first digits of its checksum, as torch's own downloads are: the weights of Simonyan and Zisserman 2015, ported by torchvision.
VGG16_FILE, VGG16_SHA256 = "vgg16-397923af.pth", "397923af"
# The learned weights of version 0.1, "lin", in the packages lpips 0.1.4 and torchmetrics 1.9.0 (BSD-2-Clause).
LPIPS_FILE, LPIPS_SHA256 = "vgg.pth", "a78928a0af1e5f0fcb1f3b9e8f8c3a2a5a3de244d830ad5c1feddc79b8432868"

# As LPIPS shows images in [-1, 1] to its networks: ImageNet's mean and standard deviation there.
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
# Convolutions of VGG16 up to conv5_3 by their places in torchvision's `features`; a tap behind the last of each block, a pooling before the next.
_BLOCKS = ((0, 2), (5, 7), (10, 12, 14), (17, 19, 21), (24, 26, 28))
# Larger images are made smaller by areas, as StyleGAN's authors show them to VGG16.
_MOST_SIDE_PX = 256
_TINY = 1e-10


class PerceptualDistanceError(ValueError):
    """A distance that is unknown, or whose files are missing or are not what their names promise."""


class PerceptualDistance(Protocol):
    """name: the part of a metric's name that says who looked: `lpips_vgg16`, `rand0`."""

    name: str

    def __call__(self, one: Tensor, other: Tensor) -> Tensor:
        """[N] for float images [N, C, H, W] in about [-1, 1], C = 1 or 3, on any device."""
        ...


def open_distance(name: str, *, seed: int = 0, device: torch.device | str = "cpu") -> PerceptualDistance:
    """`random` (of `seed`) or `lpips:FOLDER`, the folder with both files. Raises PerceptualDistanceError."""
    kind, _, folder = name.partition(":")
    if name == "random":
        return RandomDistance(seed, device)
    if kind == "lpips" and folder:
        return LpipsDistance(Path(folder), device)
    raise PerceptualDistanceError(f"{name!r} is not a known distance; expected random, or lpips:FOLDER with {VGG16_FILE} and {LPIPS_FILE} in it")


class RandomDistance:
    """The sum of LPIPS over three fixed random convolutions, every filter counting alike. Compares with nothing published."""

    def __init__(self, seed: int = 0, device: torch.device | str = "cpu") -> None:
        self.name = f"rand{seed}"
        self._weights = [torch.from_numpy(weight).to(device) for weight in random_filters(seed)]

    def __call__(self, one: Tensor, other: Tensor) -> Tensor:
        heads = [torch.ones(1, len(weight), 1, 1, device=weight.device) / len(self._weights) for weight in self._weights]
        return _difference(one, other, self._features, heads)

    def _features(self, x: Tensor) -> list[Tensor]:
        features = []
        for weight in self._weights:
            x = F.leaky_relu(F.conv2d(x, weight.to(x.dtype), stride=2, padding=weight.shape[-1] // 2), 0.2)
            features.append(x)
        return features


class LpipsDistance:
    """LPIPS 0.1 with VGG16, of images of at most 256 px."""

    def __init__(self, folder: Path, device: torch.device | str = "cpu") -> None:
        self.name = "lpips_vgg16"
        self._network = {key: value.to(device) for key, value in _load(folder / VGG16_FILE, VGG16_SHA256).items() if key.startswith("features.")}
        heads = _load(folder / LPIPS_FILE, LPIPS_SHA256)
        self._heads = [heads[f"lin{index}.model.1.weight"].to(device) for index in range(len(_BLOCKS))]
        self._shift, self._scale = (torch.tensor(values, device=device).view(3, 1, 1) for values in (_SHIFT, _SCALE))

    def __call__(self, one: Tensor, other: Tensor) -> Tensor:
        return _difference(one, other, self._features, self._heads)

    def _features(self, x: Tensor) -> list[Tensor]:
        x, features = (x - self._shift) / self._scale, []
        for number, block in enumerate(_BLOCKS):
            if number:
                x = F.max_pool2d(x, 2)
            for place in block:
                x = F.relu(F.conv2d(x, self._network[f"features.{place}.weight"], self._network[f"features.{place}.bias"], padding=1))
            features.append(x)
        return features


def _difference(one: Tensor, other: Tensor, features: Callable[[Tensor], Sequence[Tensor]], heads: Sequence[Tensor]) -> Tensor:
    """Equation 1: channels of unit length at each place, squared differences weighted by channel, means over places, summed over layers."""
    total = torch.zeros(len(one), device=heads[0].device)
    seen = (features(_shown(images).to(heads[0].device)) for images in (one, other))
    for first, second, head in zip(*seen, heads, strict=True):
        difference = _unit(first) - _unit(second)
        total = total + (difference.square() * head.to(difference.dtype)).sum(dim=1).mean(dim=(1, 2))
    return total


def _shown(images: Tensor) -> Tensor:
    images = images.expand(-1, 3, -1, -1) if images.shape[1] == 1 else images
    return F.interpolate(images, (_MOST_SIDE_PX, _MOST_SIDE_PX), mode="area") if images.shape[-1] > _MOST_SIDE_PX else images


def _unit(x: Tensor) -> Tensor:
    return x / (x.square().sum(dim=1, keepdim=True).add(_TINY**2).sqrt() + _TINY)


def _load(path: Path, sha256: str) -> dict[str, Any]:
    """A state dict whose file's checksum begins with `sha256`."""
    if not path.is_file():
        raise PerceptualDistanceError(f"{path}: no such file; LPIPS needs {VGG16_FILE} and {LPIPS_FILE} in that folder (Figment ships none)")
    found = sha256_of(path)
    if not found.startswith(sha256):
        raise PerceptualDistanceError(
            f"{path}: sha256 is {found}, expected {sha256}…; a distance made with other weights must not be called LPIPS. Get that file, or "
            "use random"
        )
    return torch.load(path, map_location="cpu", weights_only=True)
