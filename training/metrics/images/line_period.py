"""How far apart lines of text are: the first strong peak of what the rows of pictures have in common with the rows below them.

A page of text is dark and light by turns from top to bottom. A generator that has learned so much repeats as its originals do, long before any word
can be read; one that paints grey does not repeat at all.
"""

from dataclasses import dataclass

import numpy

from training.metrics.images.sources import ImageSource, batches

_BATCH_NUMBERS = 16_000_000
# Nearer lines cannot be told from the every-other-pixel patterns that networks leave.
_SHORTEST_PX = 3
# A peak must be so high, and stand so many standard errors (over pictures) above zero. Pages at a size at which their lines run together stay below.
_LEAST_HEIGHT, _STANDARD_ERRORS = 0.1, 4.0
# What repeats after one line repeats after two: the nearest of peaks that are nearly as high as the highest is the line.
_NEARLY_AS_HIGH = 0.8


@dataclass(frozen=True)
class LinePeriod:
    """correlation: [H // 2], of rows with the rows so many pixels below, on average over `images` pictures; 1 at distance 0.

    period_px: where it has its peak, between pixels by a parabola; None when nothing repeats, or there are fewer than two pictures.
    """

    correlation: numpy.ndarray
    period_px: float | None
    images: int


def line_period(images: ImageSource) -> LinePeriod:
    """Of pictures uint8 [N, C, H, W]. Pictures whose rows are all alike say nothing and are not counted."""
    found = numpy.concatenate([row_correlation(some) for _, some in batches(images, max(1, _BATCH_NUMBERS // images.images([0]).size))])
    found = found[numpy.isfinite(found).all(axis=1)]
    if not len(found):
        return LinePeriod(numpy.zeros(0), None, 0)
    mean = found.mean(axis=0)
    error = found.std(axis=0, ddof=1) / numpy.sqrt(len(found)) if len(found) > 1 else numpy.full_like(mean, numpy.inf)
    return LinePeriod(mean, _peak(mean, error), len(found))


def row_correlation(images: numpy.ndarray) -> numpy.ndarray:
    """float64 [N, H // 2] of uint8 [N, C, H, W]: autocorrelation of the steps from the mean of each row to that of the next. NaN without any step.

    Steps and not the rows themselves: margins, and a page that darkens towards its foot, are far larger than lines, and have no period.
    """
    steps = numpy.diff(images.mean(axis=(1, 3), dtype=numpy.float64), axis=1)
    steps -= steps.mean(axis=1, keepdims=True)
    H = images.shape[2]
    # The circular product of a signal filled up with as many zeros is the plain one (Wiener-Khinchin).
    power = numpy.square(numpy.abs(numpy.fft.rfft(steps, n=2 * H, axis=1)))
    products = numpy.fft.irfft(power, n=2 * H, axis=1)[:, : H // 2]
    with numpy.errstate(invalid="ignore", divide="ignore"):
        # Each divided by how many it is the sum of: else the fall towards far rows pulls peaks nearer.
        means = products / (H - 1 - numpy.arange(H // 2))
        return numpy.where(products[:, :1] > 0, means / means[:, :1], numpy.nan)


def _peak(mean: numpy.ndarray, error: numpy.ndarray) -> float | None:
    """The place of the first high local maximum, unless that is too near."""
    inner = numpy.arange(2, len(mean) - 1)
    is_high = mean[inner] > numpy.maximum(_LEAST_HEIGHT, _STANDARD_ERRORS * error[inner])
    peaks = inner[is_high & (mean[inner] > mean[inner - 1]) & (mean[inner] >= mean[inner + 1])]
    place = int(peaks[mean[peaks] >= _NEARLY_AS_HIGH * mean[peaks].max()][0]) if len(peaks) else 0
    if place < _SHORTEST_PX:
        return None
    before, at, after = mean[place - 1 : place + 2]
    return float(place + 0.5 * (before - after) / (before - 2 * at + after))
