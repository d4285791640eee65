"""Image datasets of coloured discs on disk, for the tests of reports."""

import io
from pathlib import Path

import numpy
from PIL import Image

from formats.image_shards import write_shard


def discs(count, *, side, seed, spread=1.0):
    """Coloured discs on white; with a small spread they are all much the same: uint8 [count, side, side, 3]."""
    random = numpy.random.default_rng(seed)
    y, x = numpy.mgrid[:side, :side]
    centres = side / 2 + spread * random.uniform(-side / 4, side / 4, (count, 2))
    radii = side / 5 * (1 + spread * random.uniform(-0.4, 0.4, count))
    colours = 100 + spread * random.uniform(-100, 100, (count, 3))
    is_inside = (x - centres[:, 0, None, None]) ** 2 + (y - centres[:, 1, None, None]) ** 2 < radii[:, None, None] ** 2
    return numpy.where(is_inside[..., None], colours[:, None, None, :], 255).astype(numpy.uint8)


def write_images(folder: Path, images):
    """A dataset of one shard in the new folder `folder`."""

    def png(image):
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, format="PNG")
        return stream.getvalue()

    folder.mkdir(parents=True)
    write_shard(folder / "shard-00000.zip", [(serial, png(image)) for serial, image in enumerate(images)])
    return folder
