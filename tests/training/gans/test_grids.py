"""Pictures side by side; the names of snapshots, and the index that others read."""

import json

import numpy
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from training.gans.grids import SnapshotIndex, corner, default_grid, evenly, load_picture, save_picture, snapshot_name, tile, to_uint8


def test_pictures_stand_row_by_row_and_what_is_left_is_white():
    images = numpy.arange(5, dtype=numpy.uint8)[:, None, None, None].repeat(2, 2).repeat(3, 3).repeat(3, 1)
    picture = tile(images, 3)
    assert picture.shape == (4, 9, 3)
    assert picture[0, ::3, 0].tolist() == [0, 1, 2] and picture[2, ::3, 0].tolist() == [3, 4, 255]


def test_grey_pictures_become_rgb():
    assert tile(numpy.zeros((1, 1, 4, 4), numpy.uint8), 1).shape == (4, 4, 3)


def test_minus_one_to_one_becomes_the_whole_range():
    assert to_uint8(torch.tensor([-2.0, -1.0, 0.0, 1.0, 2.0])).tolist() == [0, 0, 128, 255, 255]


@pytest.mark.parametrize(("resolution", "shape"), [(32, (64, 96)), (300, (300, 900)), (2048, (2048, 2048))])
def test_the_corner_of_a_grid_has_whole_pictures(resolution, shape):
    sheet = numpy.zeros((max(2 * resolution, 64), 96 if resolution == 32 else 4 * resolution, 3), numpy.uint8)
    assert corner(sheet, resolution).shape == (*shape, 3)


@given(st.integers(0, 40), st.integers(2, 9))
def test_a_few_rows_of_many_keep_the_order_and_both_ends(number, most):
    rows = list(range(number))
    chosen = evenly(rows, most)
    assert len(chosen) == min(number, most) and chosen == sorted(set(chosen)) and {*rows[:1], *rows[-1:]} <= set(chosen)


@pytest.mark.parametrize(("resolution", "grid"), [(32, (32, 32)), (256, (30, 16)), (512, (15, 8)), (1024, (7, 4))])
def test_a_snapshot_has_the_usual_number_of_pictures(resolution, grid):
    assert default_grid(resolution) == grid


def test_a_picture_is_read_back(tmp_path):
    picture = numpy.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=numpy.uint8)
    save_picture(tmp_path / "a/b.png", picture)
    assert (load_picture(tmp_path / "a/b.png") == picture).all()


@pytest.mark.parametrize(
    ("images", "every", "total", "name"),
    [
        (0, 40_000, 5_000_000, "fakes000000"),
        (40_000, 40_000, 5_000_000, "fakes000040"),
        # An iteration steps over the multiple; the name is that of the multiple.
        (80_016, 40_000, 5_000_000, "fakes000080"),
        (5_000_000, 40_000, 5_000_000, "fakes005000"),
        # The end between two snapshots has the budget's name.
        (50_016, 40_000, 50_000, "fakes000050"),
        (2_504, 500, 25_000, "fakes000002_500"),
    ],
)
def test_a_snapshot_has_its_kimg_in_six_digits(images, every, total, name):
    assert snapshot_name(images, every_images=every, total_images=total) == name


@given(st.integers(1, 64), st.integers(64, 5_000), st.integers(1_000, 100_000))
def test_names_rise_and_never_repeat(batch, every, total):
    names, images = ["fakes000000"], 0
    while images < total:
        before, images = images, images + batch
        if images // every != before // every or images >= total:
            names.append(snapshot_name(images, every_images=every, total_images=total))
    assert names == sorted(set(names))


def test_the_index_is_read_back(tmp_path):
    layout = {"columns": 3, "rows": 2, "psi": 1.0, "resolution": 16, "seed": 0}
    (tmp_path / "index.json").write_text(json.dumps({**layout, "snapshots": [{"images": 0, "file": "fakes000000.png", "metrics": {}}]}))
    index = SnapshotIndex.read(tmp_path / "index.json")
    assert index.columns == 3 and index.snapshots[0]["file"] == "fakes000000.png"
