"""The sliced Wasserstein distance: against a second implementation with scipy, and the numbers that noise of ±20 must give."""

import numpy
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra: model)")

from training.metrics.images import swd
from training.metrics.images.sources import ArrayImages
from training.metrics.images.swd import PatchDistance, draw_patches, laplacian_level, level_sides, normalised

from .drawn_images import discs, noise


def laplacian_pyramid(images):
    return [laplacian_level(images, place) for place in range(len(level_sides(images.shape[2])))]


def distance_between(reals, fakes):
    return PatchDistance(ArrayImages(reals))(ArrayImages(fakes))


def pyramid_by_scipy(image):
    """Burt and Adelson's pyramid of image [H, W] in float64, down to 16 px."""
    ndimage = pytest.importorskip("scipy.ndimage", reason="scipy is not installed (extra: gan)")
    kernel = numpy.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256
    levels, current = [], image.astype(float)
    while len(current) > 16:
        smaller = ndimage.convolve(current, kernel, mode="mirror")[::2, ::2]
        spread = numpy.zeros_like(current)
        spread[::2, ::2] = smaller
        levels.append(current - ndimage.convolve(spread, 4 * kernel, mode="mirror"))
        current = smaller
    return [*levels, current]


def test_the_pyramid_is_that_of_an_independent_implementation():
    images = noise(2, side=64)
    levels = laplacian_pyramid(torch.from_numpy(images))
    assert [level.shape[2] for level in levels] == [64, 32, 16]
    for index in range(2):
        for channel in range(3):
            for ours, theirs in zip(levels, pyramid_by_scipy(images[index, channel]), strict=True):
                assert numpy.allclose(ours[index, channel].numpy(), theirs, atol=1e-3)


def test_the_pyramid_adds_up_to_the_image_again():
    images = torch.from_numpy(discs(2, side=64))
    *levels, current = laplacian_pyramid(images)
    for level in reversed(levels):
        current = level + swd._doubled(current)
    assert torch.allclose(current, images.float(), atol=1e-3)


@pytest.mark.parametrize(("side", "expected"), [(16, [16]), (32, [32, 16]), (48, [48, 24]), (100, [100, 50, 25]), (256, [256, 128, 64, 32, 16])])
def test_levels_halve_down_to_sixteen_pixels(side, expected):
    assert level_sides(side) == expected


def test_images_below_sixteen_pixels_are_refused():
    with pytest.raises(ValueError, match="images of 15 px are too small"):
        level_sides(15)


def test_patches_are_pieces_of_their_image_at_any_place_that_fits():
    level = numpy.arange(2 * 10 * 9, dtype=numpy.float32).reshape(2, 1, 10, 9)
    patches = draw_patches(level, numpy.random.default_rng(0))
    assert patches.shape == (2 * 128, 1, 7, 7)
    corners = patches[:, 0, 0, 0].astype(int)
    assert {(corner % 90) // 9 for corner in corners} == {0, 1, 2, 3}
    assert {corner % 9 for corner in corners} == {0, 1, 2}
    assert (corners[:128] < 90).all() and (corners[128:] >= 90).all()
    row, column = divmod(int(corners[5]), 9)
    assert numpy.array_equal(patches[5, 0], level[0, 0, row : row + 7, column : column + 7])


def test_each_channel_is_normalised_over_the_whole_set():
    flat = normalised(numpy.random.default_rng(0).normal(5, 3, (40, 3, 7, 7)).astype(numpy.float32))
    channels = flat.reshape(40, 3, 49).transpose(1, 0, 2).reshape(3, -1)
    assert channels.mean(axis=1) == pytest.approx([0, 0, 0], abs=1e-5)
    assert channels.std(axis=1) == pytest.approx([1, 1, 1], abs=1e-5)


def test_the_distance_along_a_direction_is_that_of_scipy():
    stats = pytest.importorskip("scipy.stats", reason="scipy is not installed (extra: gan)")
    fakes, reals = discs(12, seed=1), discs(12, seed=2)
    distance = PatchDistance(ArrayImages(reals))
    found = distance(ArrayImages(fakes)).levels
    for side in (32, 16):
        index = level_sides(32).index(side)
        sets = []
        for images, purpose in ((fakes, "fakes"), (reals, "reals")):
            random = numpy.random.default_rng(swd.derive_seed(0, "patches", purpose, side))
            sets.append(normalised(draw_patches(laplacian_pyramid(torch.from_numpy(images))[index].numpy(), random)).astype(float))
        directions = numpy.concatenate(distance._directions(side, sets[0].shape[1])).astype(float)
        each = [stats.wasserstein_distance(sets[0] @ direction, sets[1] @ direction) for direction in directions]
        assert found[side] == pytest.approx(1e3 * numpy.mean(each), rel=1e-4)


def test_directions_are_of_unit_length_and_512():
    directions = PatchDistance(ArrayImages(noise(2)))._directions(32, 147)
    assert sum(len(repeat) for repeat in directions) == 512
    assert numpy.linalg.norm(numpy.concatenate(directions), axis=1) == pytest.approx(numpy.ones(512), rel=1e-5)


def test_noise_of_twenty_on_noisy_images_gives_the_published_check_numbers():
    """The check's known answer is 19.76 / 21.53 / 21.60, mean 20.97, at three levels. How many images is not told; what chance leaves says 64."""
    reals = noise(64, side=64)
    shaken = reals + numpy.random.default_rng(1).uniform(-20, 20, reals.shape)
    found = distance_between(reals, numpy.clip(shaken, 0, 255).astype(numpy.uint8))
    assert list(found.levels.values()) == pytest.approx([19.76, 21.53, 21.60], rel=0.12)
    assert found.mean == pytest.approx(20.97, rel=0.06)


def test_what_chance_leaves_falls_with_the_root_of_the_number_of_images():
    few, many = (distance_between(noise(count, seed=0), noise(count, seed=1)).levels[32] for count in (16, 144))
    assert few / many == pytest.approx(3, rel=0.25)


def test_other_images_are_farther_than_chance():
    reals = discs(48, seed=0)
    chance, other = distance_between(reals, discs(48, seed=1)).mean, distance_between(reals, noise(48)).mean
    assert other > 3 * chance


def test_blurred_images_differ_most_where_detail_lives():
    reals = noise(32)
    blurred = laplacian_pyramid(torch.from_numpy(discs(32)))[1]
    smooth = torch.nn.functional.interpolate(blurred, scale_factor=2, mode="bilinear").clamp(0, 255).byte().numpy()
    levels = distance_between(reals, smooth).levels
    assert levels[32] > 100


def test_the_reals_are_read_once_unless_that_fills_the_memory_and_the_numbers_stay_the_same(monkeypatch):
    class CountedImages(ArrayImages):
        read = 0

        def images(self, indices):
            type(self).read += len(indices)
            return super().images(indices)

    fakes, expected = ArrayImages(discs(8, seed=1)), distance_between(discs(8, seed=0), discs(8, seed=1))
    for kept, reads in ((swd._MOST_KEPT_NUMBERS, 2 * 8), (0, 2 * 2 * 8)):
        monkeypatch.setattr(swd, "_MOST_KEPT_NUMBERS", kept)
        CountedImages.read, distance = 0, PatchDistance(CountedImages(discs(8, seed=0)))
        assert distance(fakes) == distance(fakes) == expected
        # Both calls look at one image for its size; each of the two levels reads all eight.
        assert CountedImages.read == 2 + reads


def test_a_set_that_is_one_flat_colour_is_no_division_by_zero():
    flat = numpy.full((4, 3, 32, 32), 255, dtype=numpy.uint8)
    assert distance_between(flat, flat).mean == 0
    assert numpy.isfinite(distance_between(discs(4), flat).mean)


def test_unequal_numbers_are_refused():
    with pytest.raises(ValueError, match="as many square fakes as reals"):
        distance_between(discs(4), discs(5))
