"""The distance of text lines: found where it was put, between pixels too, whatever margins do; none where nothing repeats."""

import numpy
import pytest

from training.metrics.images.line_period import line_period, row_correlation
from training.metrics.images.sources import ArrayImages


def pages(period: float, count: int = 24, side: int = 64, seed: int = 0, noise: float = 20.0) -> ArrayImages:
    """Dark lines `period` px apart on light paper with margins, each page beginning elsewhere."""
    random = numpy.random.default_rng(seed)
    rows = numpy.arange(side)
    found = []
    for _ in range(count):
        wave = 0.5 + 0.5 * numpy.cos(2 * numpy.pi * (rows - random.uniform(0, period)) / period)
        page = 240 - 120 * wave[:, None] * (random.random((side, side)) > 0.3)
        page[: side // 8], page[-side // 8 :] = 250, 250
        found.append(page + noise * random.standard_normal((side, side)))
    return ArrayImages(numpy.clip(found, 0, 255).astype(numpy.uint8)[:, None])


@pytest.mark.parametrize("period", [3.0, 5.0, 6.5, 8.0, 12.0])
def test_lines_are_as_far_apart_as_they_were_drawn(period: float):
    found = line_period(pages(period))
    assert found.period_px == pytest.approx(period, abs=0.4) and found.images == 24
    assert found.correlation[0] == pytest.approx(1.0) and len(found.correlation) == 32


def test_colours_count_as_the_grey_they_are():
    grey = pages(6.0)
    assert line_period(ArrayImages(grey.array.repeat(3, axis=1))).period_px == pytest.approx(line_period(grey).period_px)


def test_noise_repeats_nowhere():
    for seed in range(5):
        noise = numpy.random.default_rng(seed).integers(0, 256, (40, 1, 32, 32), dtype=numpy.uint8)
        assert line_period(ArrayImages(noise)).period_px is None


def test_every_other_pixel_is_no_line():
    rows = 128 + 60 * (-1) ** numpy.arange(32)[:, None] + 10 * numpy.random.default_rng(1).standard_normal((20, 1, 32, 32))
    found = line_period(ArrayImages(numpy.clip(rows, 0, 255).astype(numpy.uint8)))
    assert found.correlation[2] > 0.9 and found.period_px is None


def test_a_page_that_only_darkens_has_no_lines():
    random = numpy.random.default_rng(2)
    ramp = numpy.linspace(250, 100, 48)[:, None] + 10 * random.standard_normal((20, 1, 48, 48))
    assert line_period(ArrayImages(numpy.clip(ramp, 0, 255).astype(numpy.uint8))).period_px is None


def test_blank_pages_are_not_counted_and_nothing_but_blank_pages_have_no_period():
    blank = numpy.full((5, 1, 64, 64), 255, numpy.uint8)
    found = line_period(ArrayImages(numpy.concatenate([pages(6.0).array, blank])))
    assert found.images == 24 and found.period_px == pytest.approx(6.0, abs=0.3)
    assert line_period(ArrayImages(blank)).period_px is None


def test_one_page_alone_is_no_evidence():
    assert line_period(pages(6.0, count=1)).period_px is None


def test_the_correlation_is_the_sum_of_products_written_out():
    images = numpy.random.default_rng(3).integers(0, 256, (3, 3, 9, 5), dtype=numpy.uint8)
    steps = numpy.diff(images.astype(float).mean(axis=(1, 3)), axis=1)
    steps -= steps.mean(axis=1, keepdims=True)
    expected = [[numpy.mean([row[i] * row[i + lag] for i in range(8 - lag)]) / numpy.mean(row**2) for lag in range(4)] for row in steps]
    assert numpy.allclose(row_correlation(images), expected)
