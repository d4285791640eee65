"""Small sets of pictures that a small generator can learn: coloured discs on white, written as the stage `toc_dataset` writes them."""

from pathlib import Path

import numpy

from formats.image_shards import shard_name, write_shard
from formats.png import encode_png


def disc_images(number: int, side: int = 32, seed: int = 0) -> numpy.ndarray:
    """uint8 [N, 3, side, side]: one disc of one of three colours, somewhere near the middle of white paper."""
    random = numpy.random.default_rng(seed)
    images = numpy.full((number, 3, side, side), 255, numpy.uint8)
    y, x = numpy.mgrid[:side, :side]
    for image in images:
        centre, radius = random.uniform(0.35, 0.65, 2) * side, random.uniform(0.15, 0.3) * side
        inside = (x - centre[0]) ** 2 + (y - centre[1]) ** 2 < radius**2
        colour = [(200, 30, 30), (30, 120, 200), (20, 20, 20)][random.integers(3)]
        image[:, inside] = numpy.array(colour, numpy.uint8)[:, None]
    return images


def write_toy_dataset(data: Path, *, number: int = 48, side: int = 32, classes: int = 0, seed: int = 0) -> Path:
    """data/toc_dataset@SIDE with `number` pictures in shards of 32; with `classes`, the picture's number modulo that is its label."""
    folder = data / f"toc_dataset@{side}"
    folder.mkdir(parents=True)
    images = disc_images(number, side, seed)
    for shard, first in enumerate(range(0, number, 32)):
        serials = range(first, min(first + 32, number))
        members = ((serial, encode_png(numpy.ascontiguousarray(images[serial].transpose(1, 2, 0)))) for serial in serials)
        write_shard(folder / shard_name(shard), members, {serial: serial % classes for serial in serials} if classes else None)
    return folder
