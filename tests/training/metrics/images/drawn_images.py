"""Small images for the tests of image metrics, and an extractor that counts."""

import numpy


def noise(count: int, *, side: int = 32, channels: int = 3, seed: int = 0) -> numpy.ndarray:
    """uint8 [count, channels, side, side], each number as likely as the others."""
    return numpy.random.default_rng(seed).integers(0, 256, (count, channels, side, side), dtype=numpy.uint8)


def discs(count: int, *, side: int = 32, seed: int = 0) -> numpy.ndarray:
    """Coloured discs on white: uint8 [count, 3, side, side]."""
    random = numpy.random.default_rng(seed)
    y, x = numpy.mgrid[:side, :side]
    centres, radii = random.uniform(side / 4, 3 * side / 4, (count, 2)), random.uniform(side / 8, side / 4, count)
    colours = random.integers(0, 200, (count, 3))
    is_inside = (x - centres[:, 0, None, None]) ** 2 + (y - centres[:, 1, None, None]) ** 2 < radii[:, None, None] ** 2
    return numpy.where(is_inside[:, None], colours[:, :, None, None], 255).astype(numpy.uint8)


class CountingExtractor:
    """Passes images on to another extractor, and keeps how many it was shown."""

    def __init__(self, extractor):
        self._extractor, self.seen = extractor, 0
        self.name, self.version, self.sha256 = extractor.name, extractor.version, extractor.sha256
        self.dim, self.input = extractor.dim, extractor.input

    def __call__(self, images):
        self.seen += len(images)
        return self._extractor(images)
