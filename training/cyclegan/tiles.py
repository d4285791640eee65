"""Let a generator translate pictures of any size: padded to what it takes and cut back, and, when large, tile by tile.

Tiles overlap and fade into each other. A generator's instance normalisation sees one tile at a time, so that one wall comes out in several colours;
unless told otherwise, all tiles are therefore normalised as the whole picture was when it was shrunk to a tile. Source: Chen et al. 2022, "Towards
Ultra-Resolution Neural Style Transfer via Thumbnail Instance Normalization", AAAI.
"""

import contextlib
from collections.abc import Callable, Iterator
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
    """tile: side in pixels of the largest part that is translated in one piece, which bounds memory. overlap: of neighbours, in pixels.

    whole_statistics: normalise every tile as the whole picture, shrunk, would be; else each as if there were nothing else.
    """

    tile: int = 512
    overlap: int = 128
    whole_statistics: bool = True

    def __post_init__(self) -> None:
        at_least(self, 0, "overlap")
        if self.tile < max(1, 2 * self.overlap):
            raise ValueError(f"tile must be at least twice the overlap of {self.overlap} px, found {self.tile} px")


@dataclass(frozen=True)
class Axis:
    """How one side of a picture is cut: `count` parts of `part` px, each beginning `step` px behind the one before."""

    part: int
    count: int
    step: int

    @property
    def length(self) -> int:
        """Of the padded side, in pixels."""
        return self.part + (self.count - 1) * self.step

    def share(self, index: int) -> Tensor:
        """float32 [part]: how much of the result this part is, place by place; of all parts together always one.

        Where two overlap, the outer quarter is the other's alone: there a part has seen padding instead of its neighbour.
        """
        overlap = self.part - self.step
        place = (2 * (torch.arange(overlap) + 0.5) / max(overlap, 1) - 0.5).clamp(0, 1)
        rise, share = place**2 * (3 - 2 * place), torch.ones(self.part)
        if index > 0:
            share[:overlap] = rise
        if index < self.count - 1:
            share[self.step :] = rise.flip(0)
        return share


def plan_axis(side: int, generator: Generator, tiling: Tiling) -> Axis:
    """For a picture's side of `side` px: one part where it is no longer than a tile, else as few equal ones as may be."""
    multiple = generator.config.multiple
    # Statistics of a single number have no spread, so what lies deepest in residual blocks must be two by two at least.
    least = 2 * multiple if generator.config.blocks is not None else multiple
    if side <= tiling.tile:
        return Axis(max(_up_to(side, multiple), least), 1, 0)
    tile, overlap = _up_to(tiling.tile, multiple), _up_to(tiling.overlap, multiple)
    if overlap >= tile:
        return Axis(_up_to(side, multiple), 1, 0)
    count = -(-(side - overlap) // (tile - overlap))
    part = _up_to(-(-(side + (count - 1) * overlap) // count), multiple)
    return Axis(part, count, part - overlap)


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
    height, width = pixels.shape[:2]
    rows, columns = (plan_axis(side, generator, tiling) for side in (height, width))
    # numpy reflects again and again where a picture is smaller than its padding.
    padded = numpy.pad(pixels, ((0, rows.length - height), (0, columns.length - width), (0, 0)), mode="reflect").transpose(2, 0, 1)

    def part(row: int, column: int) -> Tensor:
        y, x = row * rows.step, column * columns.step
        return translate(generator, numpy.ascontiguousarray(padded[None, :, y : y + rows.part, x : x + columns.part]), devices)[0]

    is_tiled = rows.count * columns.count > 1
    seen = _shrunk(pixels, generator, tiling) if is_tiled and tiling.whole_statistics else None
    with statistics_of(generator, seen, devices) if seen is not None else contextlib.nullcontext():
        bands = [to_uint8(band).permute(1, 2, 0).cpu().numpy() for band in _bands(part, rows, columns)]
    return numpy.concatenate(bands)[:height, :width]


def _shrunk(pixels: numpy.ndarray, generator: Generator, tiling: Tiling) -> numpy.ndarray:
    """uint8 [1, C, h, w]: the whole picture in one tile, its sides stretched to what the generator takes."""
    scale = tiling.tile / max(pixels.shape[:2])
    height, width = (plan_axis(max(1, min(tiling.tile, round(side * scale))), generator, tiling).part for side in pixels.shape[:2])
    image = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels).resize((width, height), Image.Resampling.LANCZOS)
    return numpy.asarray(image).reshape(1, height, width, -1).transpose(0, 3, 1, 2).copy()


def _bands(part: Callable[[int, int], Tensor], rows: Axis, columns: Axis) -> Iterator[Tensor]:
    """Bands [C, h, W] of the whole result from top to bottom; no more than one row of tiles is held."""
    above: Tensor | None = None
    for row in range(rows.count):
        band: Tensor | None = None
        for column in range(columns.count):
            drawn = part(row, column)
            if band is None:
                band = drawn.new_zeros(drawn.shape[0], rows.part, columns.length)
            x = column * columns.step
            band[:, :, x : x + columns.part] += drawn * columns.share(column).to(drawn.device)
        assert band is not None, "an axis has one part at least"
        band *= rows.share(row).to(band.device)[:, None]
        if above is not None:
            band[:, : above.shape[1]] += above
        finished = rows.step if row < rows.count - 1 else rows.part
        above = band[:, finished:]
        yield band[:, :finished]


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
