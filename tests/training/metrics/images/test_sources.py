"""Sets of images that are read piece by piece."""

import numpy

from training.metrics.images.sources import ArrayImages, ColourImages


def test_grey_images_are_given_in_colour_and_coloured_ones_as_they_are():
    grey = numpy.arange(2 * 16, dtype=numpy.uint8).reshape(2, 1, 4, 4)
    seen = ColourImages(ArrayImages(grey))
    assert len(seen) == 2
    assert (seen.images([1, 0]) == grey[[1, 0]]).all() and seen.images([1]).shape == (1, 3, 4, 4)
    coloured = seen.images([0, 1])
    assert (ColourImages(ArrayImages(coloured)).images([0, 1]) == coloured).all()
