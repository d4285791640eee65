"""Let a generator translate pictures of any size: padded to what it takes and cut back, and, when large, tile by tile.

Tiles overlap and fade into each other. Normalised by itself, every tile would be as bright and as rich in contrast as any other, and one wall come
out in several colours; so all are normalised as the whole picture is when it is shrunk to a tile. Source: Chen et al. 2022, "Towards Ultra-Resolution
Neural Style Transfer via Thumbnail Instance Normalization", AAAI.
"""

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy
import torch
from PIL import Image
from torch import Tensor, nn

from training.cyclegan.domains import float_pictures
from training.cyclegan.generator import Generator
from training.gans.grids import to_uint8
from training.loop.bounds import at_least
from training.loop.devices import Devices

# Shares of red, green and blue in grey, as Pillow has them. Source: ITU-R BT.601.
_GREY = numpy.array([0.299, 0.587, 0.114], dtype=numpy.float32)


@dataclass(frozen=True)
class Tiling:
    """tile: side in pixels of the largest part that is translated in one piece, which bounds memory. overlap: of neighbours, in pixels."""

    tile: int = 512
    overlap: int = 128

    def __post_init__(self) -> None:
        at_least(self, 0, "overlap")
        if self.tile < max(1, 2 * self.overlap):
            raise ValueError(f"tile must be at least twice the overlap of {self.overlap} px, found {self.tile} px")


def cut(side: int, generator: Generator, tiling: Tiling) -> tuple[int, list[int]]:
    """How a side of `side` px is translated: in parts of so many px, which begin there; the last one may end beyond it.

    One part where it is no longer than a tile, else as few equal ones as may be.
    """
    multiple = generator.config.multiple
    # Statistics of a single number have no spread, so what lies deepest in residual blocks must be two by two at least.
    least = 2 * multiple if generator.config.blocks is not None else multiple
    tile, overlap = _up_to(tiling.tile, multiple), _up_to(tiling.overlap, multiple)
    if side <= tile or overlap >= tile:
        return max(_up_to(side, multiple), least), [0]
    count = -(-(side - overlap) // (tile - overlap))
    part = _up_to(-(-(side + (count - 1) * overlap) // count), multiple)
    return part, [index * (part - overlap) for index in range(count)]


def weights(part: int, overlap: int) -> Tensor:
    """float32 [part]: how much of the result a part is, place by place, before all shares are divided by their sum.

    The outer quarter of an overlap counts for next to nothing: there a part has seen a mirrored border instead of its neighbour.
    """
    inside = torch.arange(part) + 0.5
    rise = ((torch.minimum(inside, part - inside) - overlap / 4) / max(overlap / 2, 0.5)).clamp(0, 1)
    return (rise**2 * (3 - 2 * rise)).clamp(min=1e-6)


def _up_to(number: int, multiple: int) -> int:
    return -(-number // multiple) * multiple


def translate(generator: Generator, images: numpy.ndarray, devices: Devices) -> Tensor:
    """uint8 [N, C, H, W], grey or RGB, with sides that the generator takes, as float32 [N, C, H, W] in (-1, 1) on the device."""
    return apply(generator, float_pictures(torch.from_numpy(as_channels(images, generator.channels_in)), devices.device), devices)


@torch.inference_mode()
def apply(generator: Generator, pictures: Tensor, devices: Devices) -> Tensor:
    """float32 [N, C, H, W] in [-1, 1] to float32 [N, C, H, W]; in half precision on a GPU."""
    with devices.autocast("auto"):
        return generator(pictures).float()


def translate_picture(generator: Generator, pixels: numpy.ndarray, tiling: Tiling, devices: Devices) -> numpy.ndarray:
    """uint8 [H, W, 1 or 3] of any size as uint8 [H, W, C] of the same size in the other domain."""
    H, W = pixels.shape[:2]
    (h, rows), (w, columns) = (cut(side, generator, tiling) for side in (H, W))
    # numpy reflects again and again where a picture is smaller than its padding.
    padded = numpy.pad(pixels, ((0, rows[-1] + h - H), (0, columns[-1] + w - W), (0, 0)), mode="reflect").transpose(2, 0, 1)
    share = torch.outer(weights(h, tiling.overlap), weights(w, tiling.overlap))
    made = torch.zeros(generator.channels_out, *padded.shape[1:])
    shares = torch.zeros(padded.shape[1:])
    is_tiled = len(rows) * len(columns) > 1
    with statistics_of(generator, _shrunk(pixels, generator, tiling), devices) if is_tiled else contextlib.nullcontext():
        for y, x in itertools.product(rows, columns):
            here = numpy.s_[..., y : y + h, x : x + w]
            made[here] += translate(generator, numpy.ascontiguousarray(padded[None][here]), devices)[0].cpu() * share
            shares[here] += share
    # Band by band, or what is made on the way would take several times the memory of the result.
    bands = zip(made[:, :H, :W].split(h, dim=1), shares[:H, :W].split(h), strict=True)
    return numpy.concatenate([to_uint8(band / total).permute(1, 2, 0).numpy() for band, total in bands])


def _shrunk(pixels: numpy.ndarray, generator: Generator, tiling: Tiling) -> numpy.ndarray:
    """uint8 [1, C, h, w]: the whole picture in one tile, its sides stretched to what the generator takes."""
    scale = tiling.tile / max(pixels.shape[:2])
    height, width = (cut(max(1, round(side * scale)), generator, tiling)[0] for side in pixels.shape[:2])
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).resize((width, height), Image.Resampling.LANCZOS)
    return numpy.asarray(image).reshape(1, height, width, -1).transpose(0, 3, 1, 2).copy()


@contextlib.contextmanager
def statistics_of(generator: Generator, images: numpy.ndarray, devices: Devices) -> Iterator[None]:
    """Inside, the generator normalises everything by the means and variances that it finds in `images`, uint8 [1, C, H, W], and not by their own."""
    moments: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def hook(module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        x = inputs[0].float()
        if module not in moments:
            moments[module] = torch.var_mean(x, dim=(2, 3), correction=0, keepdim=True)
        variance, mean = moments[module]
        return ((x - mean) * (variance + module.eps).rsqrt()).to(output.dtype)

    handles = [module.register_forward_hook(hook) for module in generator.modules() if isinstance(module, nn.InstanceNorm2d)]
    try:
        translate(generator, images, devices)
        yield
    finally:
        for handle in handles:
            handle.remove()


def as_channels(images: numpy.ndarray, channels: int) -> numpy.ndarray:
    """uint8 [N, C, H, W] with one channel (grey) or three (RGB), whichever it has now."""
    if images.shape[1] == channels:
        return images
    if channels == 3:
        return numpy.repeat(images, 3, axis=1)
    return numpy.rint(numpy.tensordot(images.astype(numpy.float32), _GREY, axes=(1, 0)))[:, None].astype(numpy.uint8)
