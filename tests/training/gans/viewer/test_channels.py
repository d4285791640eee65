"""Activations as tiles: where each channel lies, and which colour its values have."""

import numpy

from training.gans.viewer.channels import COLUMNS, channel_sheet


def test_each_channel_has_its_place_and_the_colour_of_its_sign():
    activations = numpy.ones((10, 6, 6), numpy.float32)
    activations[9] *= -1
    activations[3] = 0
    sheet = channel_sheet(activations)
    assert sheet.shape == (2 * 8, COLUMNS * 8, 3) and sheet.dtype == numpy.uint8
    orange, dark, blue = sheet[0, 0].astype(int), sheet[0, 3 * 8].astype(int), sheet[8, 8].astype(int)
    assert orange[0] > orange[2] and blue[2] > blue[0] and dark.max() < 30
    # The places left over are as dark as zero.
    assert (sheet[8:, 2 * 8 :] == dark).all()


def test_a_channel_keeps_its_colours_whatever_its_scale():
    random = numpy.random.default_rng(0).normal(size=(1, 20, 20)).astype(numpy.float32)
    assert (channel_sheet(random) == channel_sheet(random * 1e4)).all()
    assert channel_sheet(random).shape == (20, 20, 3)


def test_large_channels_are_made_smaller_by_areas():
    activations = numpy.zeros((2, 276, 276), numpy.float32)
    activations[:, ::3] = 3.0
    sheet = channel_sheet(activations)
    assert sheet.shape == (92 + 2, COLUMNS * (92 + 2), 3)
    # Each area of 3 x 3 holds one row of threes: all means are equal.
    assert (sheet[:92, :92] == sheet[0, 0]).all()
