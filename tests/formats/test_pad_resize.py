"""Whatever the shape of the picture, the result is Pillow's resize of the whole white canvas, pixel for pixel."""

import pytest

pytest.importorskip("PIL", reason="pillow is not installed (extra: images)")

import hypothesis.strategies as st
import numpy
from hypothesis import example, given, settings
from PIL import Image

from formats.pad_resize import canvas_side, enlarged, fit_and_resize, pad_and_resize


def noise(width, height, seed=0, kind="noise"):
    draw = numpy.random.default_rng(seed)
    pixels = draw.integers(0, 256, (height, width, 3), dtype=numpy.uint8)
    if kind == "extremes":  # where filters overshoot most and 8-bit rounding between the passes matters
        pixels = numpy.where(pixels < 128, 0, 255).astype(numpy.uint8)
    return Image.fromarray(pixels)


def the_plain_way(image, size, canvas_px):
    side = max(canvas_px, *image.size)
    canvas = Image.new("RGB", (side, side), "white")
    canvas.paste(image, ((side - image.width) // 2, (side - image.height) // 2))
    return numpy.asarray(canvas.resize((size, size), Image.Resampling.LANCZOS))


_SIDES = st.one_of(st.integers(1, 12), st.integers(1, 520), st.sampled_from([1, 2, 511, 512, 513, 700, 1021]))


@settings(max_examples=120)
@given(
    width=_SIDES, height=_SIDES, seed=st.integers(0, 99), kind=st.sampled_from(["noise", "extremes"]), size=st.sampled_from([512, 256, 128, 64, 16])
)
@example(width=1, height=512, seed=0, kind="noise", size=256)
@example(width=161, height=512, seed=0, kind="noise", size=128)
@example(width=512, height=1, seed=0, kind="noise", size=256)
@example(width=512, height=512, seed=0, kind="extremes", size=128)
@example(width=701, height=40, seed=0, kind="extremes", size=256)
@example(width=90, height=2999, seed=0, kind="noise", size=512)
def test_every_shape_gives_the_pixels_of_pad_then_resize(width, height, seed, kind, size):
    image = noise(width, height, seed, kind)
    assert numpy.array_equal(pad_and_resize(image, [size])[size], the_plain_way(image, size, 512))


@settings(max_examples=60)
@given(width=st.integers(1, 80), height=st.integers(1, 80), seed=st.integers(0, 99), canvas_px=st.integers(16, 70))
def test_so_does_every_canvas(width, height, seed, canvas_px):
    image = noise(width, height, seed)
    for size, pixels in pad_and_resize(image, [16, 8, 2], canvas_px=canvas_px).items():
        assert numpy.array_equal(pixels, the_plain_way(image, size, canvas_px))


@settings(max_examples=60)
@given(width=st.integers(0, 300), height=st.integers(0, 300), left=st.integers(0, 200), top=st.integers(0, 200), seed=st.integers(0, 99))
@example(width=0, height=0, left=3, top=3, seed=0)
@example(width=1, height=1, left=0, top=0, seed=0)
def test_so_does_a_picture_with_white_edges(width, height, left, top, seed):
    image = Image.new("RGB", (left + width + 5, top + height + 2), "white")
    if width and height:
        image.paste(noise(width, height, seed), (left, top))
    for size, pixels in pad_and_resize(image, [512, 256, 128]).items():
        assert numpy.array_equal(pixels, the_plain_way(image, size, 512))


def test_the_picture_lies_in_the_middle_and_an_odd_margin_at_the_right_and_bottom():
    pixels = pad_and_resize(Image.new("RGB", (3, 2), "black"), [8], canvas_px=8)[8]
    black = numpy.argwhere((pixels == 0).all(axis=2))
    assert (black.min(axis=0).tolist(), black.max(axis=0).tolist()) == ([3, 2], [4, 4])
    assert ((pixels == 255) | (pixels == 0)).all()


def test_the_canvas_grows_with_the_longer_side():
    assert [canvas_side(*size, 512) for size in ((500, 200), (512, 512), (513, 9), (4, 900))] == [512, 512, 513, 900]


def test_a_pixel_costs_a_pixel(monkeypatch):
    resized = []
    original = Image.Image.resize

    def counted(self, *args, **kwargs):
        resized.append(self.width * self.height)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Image.Image, "resize", counted)
    pad_and_resize(noise(500, 20), [256])
    assert sum(resized) < 512 * 512 / 10


@given(width=st.integers(1, 64), height=st.integers(1, 64), size=st.sampled_from([32, 16]))
def test_the_box_mode_is_the_mean_of_the_area(width, height, size):
    image = noise(width, height)
    canvas = numpy.full((64, 64, 3), 255.0)
    top, left = (64 - height) // 2, (64 - width) // 2
    canvas[top : top + height, left : left + width] = numpy.asarray(image)
    exact = canvas.reshape(size, 64 // size, size, 64 // size, 3).mean(axis=(1, 3))
    assert numpy.abs(pad_and_resize(image, [size], canvas_px=64, resample="box")[size] - exact).max() <= 0.5


def test_all_sizes_at_once_are_each_size_alone():
    image = noise(400, 333)
    together = pad_and_resize(image, [512, 256, 128])
    assert all(numpy.array_equal(pixels, pad_and_resize(image, [size])[size]) for size, pixels in together.items())


def test_what_cannot_be_resized_is_refused():
    with pytest.raises(ValueError, match="must be RGB, found L"):
        pad_and_resize(Image.new("L", (4, 4)), [16])
    for size in (0, 48, 1024):
        with pytest.raises(ValueError, match=f"found {size}"):
            pad_and_resize(Image.new("RGB", (4, 4)), [size])


@pytest.mark.parametrize(
    ("size", "expected"), [((10, 40), (16, 64)), ((40, 30), (64, 48)), ((64, 9), (64, 9)), ((80, 90), (80, 90)), ((1, 63), (1, 64))]
)
def test_a_smaller_picture_is_enlarged_by_its_longer_side_and_keeps_its_shape(size, expected):
    assert enlarged(noise(*size), 64).size == expected


def test_squash_is_the_whole_picture_as_a_square_and_nothing_else_stretches():
    picture = noise(60, 30, seed=1)
    squashed = fit_and_resize(picture, [16, 8], fit="squash", canvas_px=64)
    assert {size: pixels.shape for size, pixels in squashed.items()} == {16: (16, 16, 3), 8: (8, 8, 3)}
    assert (squashed[16] == numpy.asarray(picture.resize((16, 16), Image.Resampling.LANCZOS))).all()
    assert (fit_and_resize(picture, [64], fit="pad", canvas_px=64)[64][:17] == 255).all()
