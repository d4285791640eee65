"""Move and turn images as the continuous signals that they are samples of, and say for which pixels the result is right.

Images are float [C, S, S]; places count from the middle of the first pixel, right and down. Every function gives (image [C, S, S], valid [S, S]):
where a filter would have had to look beyond the border, valid is False and the pixel means nothing.
Source: Karras et al. 2021, arXiv:2106.12423, appendix E.
"""

import math

import numpy
import torch
from torch import Tensor
from torch.nn import functional as F

# a of the Lanczos windows, and the upsampling before a rotated image is read by bilinear look-ups: E.2 and E.3.
LANCZOS_A = 3
_UP = 4
# Filters of a rotation are laid out on a grid of eighths of a pixel, as far as they can reach: a (1 + √2) = 7.2 px.
_REACH_PX, _FINE = 8, 8


def shift_by_pixels(image: Tensor, right: int, down: int) -> tuple[Tensor, Tensor]:
    """T_x of equation 23: moved by whole pixels."""
    _, S, _ = image.shape
    moved = torch.roll(image, (down, right), dims=(1, 2))
    return moved, _rectangle(max(down, 0), S - 1 + min(down, 0), max(right, 0), S - 1 + min(right, 0), image)


def shift(image: Tensor, right: float, down: float) -> tuple[Tensor, Tensor]:
    """T_x of EQ-T_frac: moved by any part of a pixel, with a Lanczos filter whose taps add up to 1. The valid region is that of equation 25."""
    _, S, _ = image.shape
    across, along = (torch.from_numpy(_lanczos_matrix(S, by)).to(image) for by in (right, down))
    (top, bottom), (left, right_end) = ((math.ceil(max(by + LANCZOS_A, 0)), math.floor(S + min(by - LANCZOS_A, -1))) for by in (down, right))
    return along @ image @ across.T, _rectangle(top, bottom, left, right_end, image)


def turn(image: Tensor, angle: float) -> tuple[Tensor, Tensor]:
    """R of equations 29 to 32: turned about the middle by `angle` in radians, clockwise as seen, without what has no place at the new angle.

    # Differs from paper: each of the 16 phases of the filter adds up to 1, so that a flat image stays flat; the paper does not say.
    """
    C, S, _ = image.shape
    # h_R as an upsampling filter, phase by phase: sample 4i + r is made from pixel i - j by the tap at j + r/4.
    kernel = _rotation_filter(-angle, _UP)
    taps = numpy.arange(-_REACH_PX + 1, _REACH_PX + 1)
    places = _UP * (_REACH_PX - taps)[None, :] + numpy.arange(_UP)[:, None]
    phases = kernel[places[:, None, :, None], places[None, :, None, :]]
    phases /= phases.sum(axis=(2, 3), keepdims=True)
    weight = torch.from_numpy(phases.reshape(_UP**2, 1, len(taps), len(taps))).to(image)
    padded = F.pad(image[:, None], (_REACH_PX - 1, _REACH_PX, _REACH_PX - 1, _REACH_PX))
    fine = F.pixel_shuffle(F.conv2d(padded, weight), _UP)
    # r_α, read backwards: where in the unturned image each pixel's content is.
    source_x, source_y = _turned_places(S, -angle)
    grid = torch.from_numpy(numpy.stack([source_x, source_y], axis=-1) * (2 * _UP / (_UP * S - 1)) - 1).to(image)
    turned = F.grid_sample(fine, grid.expand(C, -1, -1, -1), align_corners=True, padding_mode="zeros")[:, 0]
    reach = _reach(angle) + 1 / _UP
    valid = _is_inside(source_x, S, reach) & _is_inside(source_y, S, reach)
    return turned, torch.from_numpy(valid).to(image.device)


def filter_as_if_turned(image: Tensor, angle: float) -> tuple[Tensor, Tensor]:
    """R* of equation 34: unmoved, but without the frequencies that an image turned by `angle` lacks."""
    _, S, _ = image.shape
    kernel = _rotation_filter(angle, 1)
    weight = torch.from_numpy(kernel / kernel.sum()).to(image)[None, None]
    filtered = F.conv2d(image[:, None], weight, padding=_REACH_PX)[:, 0]
    line = _is_inside(numpy.arange(S, dtype=numpy.float64), S, _reach(angle))
    return filtered, torch.from_numpy(line[:, None] & line[None, :]).to(image.device)


def _rectangle(top: int, bottom: int, left: int, right: int, like: Tensor) -> Tensor:
    """True in these rows and columns, both ends included."""
    valid = torch.zeros(like.shape[1:], dtype=torch.bool, device=like.device)
    valid[top : max(bottom + 1, top), left : max(right + 1, left)] = True
    return valid


def _lanczos_matrix(side: int, by: float) -> numpy.ndarray:
    """[side, side]: row p has the taps that give the signal at p - by. Source: equation 15, along one axis."""
    place = numpy.arange(side)
    taps = _lanczos_window(place[:, None] - by - place[None, :]) * numpy.sinc(place[:, None] - by - place[None, :])
    sums = taps.sum(axis=1, keepdims=True)
    return taps / numpy.where(numpy.abs(sums) > 0.5, sums, 1)


def _lanczos_window(x: numpy.ndarray) -> numpy.ndarray:
    return numpy.where(numpy.abs(x) < LANCZOS_A, numpy.sinc(x / LANCZOS_A), 0)


def _rotation_filter(angle: float, per_pixel: int) -> numpy.ndarray:
    """(ψ * r[ψ]) ⊙ (w * r[w]) of equations 32 and 34, r turning by `angle`, at `per_pixel` places a pixel and axis: [2 · 8 · per_pixel + 1] squared.

    Not yet normalised. Both factors are symmetric about the middle.
    """
    from scipy.signal import fftconvolve

    # The window turned and convolved with itself, on the fine grid; nothing of it lies beyond the grid.
    fine = numpy.arange(-_REACH_PX * _FINE, _REACH_PX * _FINE + 1) / _FINE
    x, y = numpy.meshgrid(fine, fine)
    cos, sin = math.cos(angle), math.sin(angle)
    still = _lanczos_window(x) * _lanczos_window(y)
    turned = _lanczos_window(cos * x + sin * y) * _lanczos_window(cos * y - sin * x)
    step = _FINE // per_pixel
    window = fftconvolve(still, turned, mode="same")[::step, ::step]
    return window * _octagon_transform(x[::step, ::step], y[::step, ::step], angle)


def _octagon_transform(x: numpy.ndarray, y: numpy.ndarray, angle: float) -> numpy.ndarray:
    """The ideal filter ψ * r[ψ]: the Fourier transform of the square of side 1 cut with itself turned by `angle`, at the places (x, y) in pixels.

    By the divergence theorem an integral of exp(2πi q·f) over a polygon is a sum over its edges; that over an edge is a sinc.
    """
    # All sides touch the circle of radius 1/2; neighbours at angles a and b meet at angle (a + b)/2, at the distance 1/2 / cos((b - a)/2).
    quarter = math.pi / 2
    normals = numpy.sort([index * quarter + turned for index in range(4) for turned in (0.0, angle % quarter)])
    following = numpy.append(normals[1:], normals[0] + 2 * math.pi)
    middle, half = (normals + following) / 2, (following - normals) / 2
    corners = numpy.stack([numpy.cos(middle), numpy.sin(middle)], axis=1) / (2 * numpy.cos(half))[:, None]
    squared = x**2 + y**2
    total = numpy.zeros_like(squared)
    area = 0.0
    for number, normal in enumerate(normals):
        edge, centre = corners[number] - corners[number - 1], (corners[number] + corners[number - 1]) / 2
        length = math.hypot(*edge)
        across = x * math.cos(normal) + y * math.sin(normal)
        total += across * length * numpy.sin(2 * math.pi * (x * centre[0] + y * centre[1])) * numpy.sinc(x * edge[0] + y * edge[1])
        area += length / 4
    is_middle = squared < 1e-12
    return numpy.where(is_middle, area, total / (2 * math.pi * numpy.where(is_middle, 1, squared)))


def _turned_places(side: int, angle: float) -> tuple[numpy.ndarray, numpy.ndarray]:
    """(x, y), each [side, side]: where the pixels of an image come to lie when it is turned clockwise by `angle` about its middle."""
    place = numpy.arange(side) - (side - 1) / 2
    x, y = numpy.meshgrid(place, place)
    cos, sin = math.cos(angle), math.sin(angle)
    return cos * x - sin * y + (side - 1) / 2, sin * x + cos * y + (side - 1) / 2


def _reach(angle: float) -> float:
    """How far a rotation's filter looks along each axis, in pixels."""
    return LANCZOS_A * (1 + abs(math.cos(angle)) + abs(math.sin(angle)))


def _is_inside(place: numpy.ndarray, side: int, reach: float) -> numpy.ndarray:
    """Whether all pixels nearer than `reach` are there."""
    return (place - reach > -1) & (place + reach < side)
