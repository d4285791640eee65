"""Pictures of any size through a generator: the size stays, tiles leave no trace of a convolution, and memory is that of a row of tiles."""

import contextlib
import itertools

import numpy
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from training.cyclegan.tiles import Tiling, as_channels, cut, statistics_of, translate, translate_picture, weights

from .tiny import CPU, plain, tiny

SMALL = Tiling(32, 16)


def noise(height, width, channels=3, seed=0):
    return numpy.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=numpy.uint8)


def convolution(radius, channels_in=3, channels_out=3):
    torch.manual_seed(1)
    network = nn.Conv2d(channels_in, channels_out, 2 * radius + 1, padding=radius, padding_mode="zeros").requires_grad_(False)
    network.weight.mul_(0.8)
    return network


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90))
def test_a_picture_of_any_size_keeps_its_size(height, width):
    made = translate_picture(tiny().a_to_b, noise(height, width), Tiling(32, 8), CPU)
    assert made.shape == (height, width, 3) and made.dtype == numpy.uint8


@pytest.mark.parametrize("net_g", ["resnet_2blocks", "unet_16"])
@pytest.mark.parametrize("size", [(1, 1), (1, 40), (3, 2), (17, 100), (16, 16)])
def test_each_kind_of_generator_takes_every_size(net_g, size):
    assert translate_picture(tiny(net_g=net_g).b_to_a, noise(*size), SMALL, CPU).shape == (*size, 3)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 500), st.integers(1, 16), st.integers(0, 8))
def test_the_parts_of_a_side_cover_it_are_no_larger_than_a_tile_and_overlap_as_asked(side, tile, overlap):
    tiling = Tiling(8 * tile + 2 * overlap, overlap)
    part, starts = cut(side, tiny().a_to_b, tiling)
    assert starts[0] == 0 and side <= starts[-1] + part < side + 4 * (len(starts) + 2)
    assert all(0 < there - here <= part - overlap for here, there in itertools.pairwise(starts))
    assert part <= max(8, -(-tiling.tile // 4) * 4)
    assert all(place % 4 == 0 for place in (part, *starts))


def test_a_part_counts_for_next_to_nothing_where_it_saw_padding_instead_of_its_neighbour():
    share = weights(32, 16)
    assert float(share[:4].max()) == float(share[-4:].max()) <= 1e-6
    assert share[12:20].tolist() == [1.0] * 8
    assert weights(8, 0).tolist() == [1.0] * 8


@pytest.mark.parametrize("size", [(100, 100), (33, 150), (200, 20)])
def test_tiles_of_a_convolution_are_the_whole_picture_exactly(size):
    # A reach of 4 px is no more than the quarter of the overlap in which a tile counts for nothing.
    generator, pixels = plain(convolution(4)), noise(*size)
    whole = translate_picture(generator, pixels, Tiling(256, 0), CPU)
    tiled = translate_picture(generator, pixels, Tiling(32, 16), CPU)
    # At the lower and the right border the whole was padded otherwise; elsewhere only sums are rounded otherwise.
    difference = numpy.abs(whole.astype(int) - tiled)[: size[0] - 4, : size[1] - 4]
    assert difference.max() <= 1
    assert (difference > 0).mean() < 0.001


def test_an_identity_gives_back_every_pixel_tiled_or_not():
    pixels = noise(70, 45)
    for tiling in (Tiling(256, 0), Tiling(32, 16), Tiling(16, 0)):
        assert (translate_picture(plain(nn.Identity()), pixels, tiling, CPU) == pixels).all()


def test_one_wall_has_one_colour_as_it_has_not_where_each_tile_is_normalised_by_itself(monkeypatch):
    pixels = numpy.full((64, 320, 3), 140, numpy.uint8)
    pixels[:, :120] = noise(64, 120)

    def spread():
        wall = translate_picture(tiny().a_to_b, pixels, Tiling(64, 32), CPU)[32, 144:288:4].astype(int)
        return (wall.max(axis=0) - wall.min(axis=0)).max()

    assert spread() <= 2
    monkeypatch.setattr("training.cyclegan.tiles.statistics_of", lambda *arguments: contextlib.nullcontext())
    assert spread() > 30


def test_statistics_of_another_picture_hold_inside_and_leave_nothing_behind():
    generator, images = tiny().a_to_b, noise(32, 32)[None].transpose(0, 3, 1, 2)
    before, other = translate(generator, images, CPU), translate(generator, images // 2, CPU)
    with statistics_of(generator, images, CPU):
        assert translate(generator, images, CPU).numpy() == pytest.approx(before.numpy(), abs=1e-4)
        assert (translate(generator, images // 2, CPU) - other).abs().max() > 0.01
    assert torch.equal(translate(generator, images, CPU), before)
    with pytest.raises(ZeroDivisionError), statistics_of(generator, images, CPU):
        _ = 1 / 0
    assert torch.equal(translate(generator, images // 2, CPU), other)


def test_a_grey_domain_is_given_grey_and_gives_grey():
    both = tiny(channels_a=1, channels_b=3)
    assert translate_picture(both.a_to_b, noise(20, 50), SMALL, CPU).shape == (20, 50, 3)
    assert translate_picture(both.a_to_b, noise(20, 50, 1), SMALL, CPU).shape == (20, 50, 3)
    assert translate_picture(both.b_to_a, noise(20, 50, 1), SMALL, CPU).shape == (20, 50, 1)


def test_grey_is_pillows_grey():
    from PIL import Image

    pixels = noise(40, 30)
    ours = as_channels(pixels.transpose(2, 0, 1)[None], 1)[0, 0]
    assert numpy.abs(ours.astype(int) - numpy.asarray(Image.fromarray(pixels).convert("L"))).max() <= 1
    assert (as_channels(ours[None, None], 3)[0] == ours).all()


def test_only_one_row_of_tiles_is_held(monkeypatch):
    sides = []

    class Watching(nn.Module):
        def forward(self, x):
            sides.append(x.shape[2:])
            return x

    translate_picture(plain(Watching()), noise(300, 64), Tiling(32, 8), CPU)
    assert max(max(side) for side in sides) <= 32
    assert len(sides) >= 300 // 32 * 2  # tiles


@pytest.mark.parametrize(("tile", "overlap"), [(0, 0), (16, 9), (16, -1)])
def test_an_impossible_tiling_is_refused(tile, overlap):
    with pytest.raises(ValueError, match="tile must be at least|overlap must be at least"):
        Tiling(tile, overlap)
