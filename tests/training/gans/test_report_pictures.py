"""The pictures of the report: what is shown is what was drawn, at a size one can see, with the same bytes each time."""

import math

import numpy
import pytest

pytest.importorskip("torch", reason="torch is not installed (extra: model)")
pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: gan)")
Image = pytest.importorskip("PIL.Image", reason="pillow is not installed (extra: images)")

from training.gans.report_pictures import draw_curves, draw_pairs, draw_rows


def noise(count, *, side, channels=3, seed=0):
    return numpy.random.default_rng(seed).integers(0, 256, (count, channels, side, side), dtype=numpy.uint8)


def pixels(path):
    with Image.open(path) as picture:
        return numpy.asarray(picture.convert("RGB"))


def test_small_images_are_shown_in_whole_multiples(tmp_path):
    images = noise(3, side=16)
    draw_rows([images, images[:1]], tmp_path / "rows.png")
    found = pixels(tmp_path / "rows.png")
    assert found.shape == (2 * 68, 3 * 68, 3)
    assert numpy.array_equal(found[:64:4, 68:132:4], images[1].transpose(1, 2, 0))
    assert (found[68:, 68:] == 255).all()


def test_images_of_128_px_are_shown_as_they_are_and_larger_ones_smaller(tmp_path):
    images = noise(2, side=128)
    draw_rows([images], tmp_path / "same.png")
    assert numpy.array_equal(pixels(tmp_path / "same.png")[:128, :128], images[0].transpose(1, 2, 0))
    draw_rows([noise(2, side=256)], tmp_path / "smaller.png")
    assert pixels(tmp_path / "smaller.png").shape == (132, 2 * 132, 3)


@pytest.mark.parametrize("side", [32, 256])
def test_grey_images_are_shown_grey(tmp_path, side):
    draw_rows([noise(2, side=side, channels=1)], tmp_path / "grey.png")
    found = pixels(tmp_path / "grey.png")
    assert (found[..., 0] == found[..., 1]).all() and (found[..., 1] == found[..., 2]).all()


def test_pairs_stand_above_each_other_whatever_the_length_of_their_rows(tmp_path):
    upper, lower = noise(3, side=64, seed=1), noise(3, side=64, seed=2)
    draw_pairs([(upper[:2], lower[:2]), (upper, lower)], tmp_path / "pairs.png")
    found = pixels(tmp_path / "pairs.png")
    assert found.shape == (2 * (2 * 68 + 12), 3 * 68, 3)
    assert numpy.array_equal(found[:64, :64], upper[0].transpose(1, 2, 0))
    assert numpy.array_equal(found[68:132, 68:132], lower[1].transpose(1, 2, 0))
    assert numpy.array_equal(found[148 + 68 : 148 + 132, 136:200], lower[2].transpose(1, 2, 0))


def test_curves_are_the_same_bytes_each_time_and_differ_when_a_number_does(tmp_path):
    def drawn(name, value):
        curves = {"FD": {"FD": ([3.0, value], 1.0)}, "both": {"precision": ([0.1, 0.2], math.nan), "recall": ([math.nan, 0.2], 0.5)}}
        draw_curves([0.2, 0.8], "ψ", curves, tmp_path / name)
        return (tmp_path / name).read_bytes()

    assert drawn("a.png", 2.0) == drawn("b.png", 2.0) != drawn("c.png", 2.5)


def test_no_curve_at_all_is_a_picture_that_says_so(tmp_path):
    draw_curves([0.2], "ψ", {}, tmp_path / "nothing.png")
    found = pixels(tmp_path / "nothing.png")
    assert found.shape == (80, 640, 3) and 0 < (found < 128).sum() < found.size / 10
