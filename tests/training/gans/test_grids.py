"""Pictures side by side."""

import numpy
import pytest
import torch

from training.gans.grids import default_grid, load_picture, save_picture, tile, to_uint8


def test_pictures_stand_row_by_row_and_what_is_left_is_white():
    images = numpy.arange(5, dtype=numpy.uint8)[:, None, None, None].repeat(2, 2).repeat(3, 3).repeat(3, 1)
    picture = tile(images, 3)
    assert picture.shape == (4, 9, 3)
    assert picture[0, ::3, 0].tolist() == [0, 1, 2] and picture[2, ::3, 0].tolist() == [3, 4, 255]


def test_grey_pictures_become_rgb():
    assert tile(numpy.zeros((1, 1, 4, 4), numpy.uint8), 1).shape == (4, 4, 3)


def test_minus_one_to_one_becomes_the_whole_range():
    assert to_uint8(torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0])).tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize(("resolution", "grid"), [(32, (32, 32)), (256, (30, 16)), (512, (15, 8)), (1024, (7, 4))])
def test_a_snapshot_has_the_usual_number_of_pictures(resolution, grid):
    assert default_grid(resolution) == grid


def test_a_picture_is_read_back(tmp_path):
    picture = numpy.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=numpy.uint8)
    save_picture(tmp_path / "a/b.png", picture)
    assert (load_picture(tmp_path / "a/b.png") == picture).all()
