"""Low-pass filters, and filtering along one axis of a picture as one matrix.

Changing the sampling rate of an axis (insert zeros, pad or crop, filter, keep every n-th sample) is linear, so it is a matrix of shape
[length out, length in] with a narrow band. An accelerator multiplies such matrices faster than it convolves every channel with its own short filter,
and derivatives of any order come for free. Filters and matrices are float64 numpy arrays.
"""

from typing import NamedTuple

import numpy as np

# A block of a banded matrix spans about this many places of its longer side: wide enough to keep an accelerator busy, narrow enough to skip zeros.
_BLOCK = 128
# Splitting a matrix into blocks is worth it when it saves this part of the work.
_WORTHWHILE = 1 / 3
# Lengths inside a layer are rounded up to this many rows of zeros: tensor cores want aligned rows, and zeros change nothing.
_ALIGNMENT = 8


class Block(NamedTuple):
    """Rows of a banded matrix, and the columns outside of which they are zero; both as first and end."""

    rows: tuple[int, int]
    columns: tuple[int, int]


class FilteringMatrices(NamedTuple):
    """A layer's filters as matrices, for square pictures: up * x * up^T, then (vertical, horizontal) down.

    up: [middle, in]. down_vertical: [out * rank, middle], rows ordered by place, then term. down_horizontal: [out, rank * middle], columns by term,
    then place. A filter that is no outer product is the sum of `rank` of them; the second factor adds the terms up.
    """

    up: np.ndarray
    down_vertical: np.ndarray
    down_horizontal: np.ndarray


def kaiser_sinc(taps: int, *, cutoff: float, width: float, rate: float) -> np.ndarray:
    """Low-pass filter [taps] with gain 1 at frequency 0: a sinc times a Kaiser window.

    cutoff, width (of the transition band) and rate (sampling rate) share one unit. One tap is the identity.
    Source: Karras et al. 2021, appendix C; the same as `scipy.signal.firwin(taps, cutoff, width=width, fs=rate)`.
    """
    if taps == 1:
        return np.ones(1)
    _check_cutoff(cutoff, rate)
    time = (np.arange(taps) - (taps - 1) / 2) / rate
    kernel = np.sinc(2 * cutoff * time) * np.kaiser(taps, kaiser_beta(taps, width=width, rate=rate))
    return kernel / kernel.sum()


def radial_kaiser_jinc(taps: int, *, cutoff: float, width: float, rate: float) -> np.ndarray:
    """The rotationally symmetric counterpart of `kaiser_sinc`, [taps, taps] with sum 1: a jinc times a separable Kaiser window.

    Source: Karras et al. 2021, section 3.2 (configuration R) and appendix C.
    """
    from scipy.special import j1

    _check_cutoff(cutoff, rate)
    if taps % 2:
        raise ValueError(f"a radial filter needs an even number of taps (no sample at its centre), found {taps}")
    time = (np.arange(taps) - (taps - 1) / 2) / rate
    radius = np.hypot(time[:, None], time[None, :])
    window = np.kaiser(taps, kaiser_beta(taps, width=width, rate=rate))
    kernel = j1(2 * np.pi * cutoff * radius) / radius * np.outer(window, window)
    return kernel / kernel.sum()


def kaiser_beta(taps: int, *, width: float, rate: float) -> float:
    """Shape of the Kaiser window that reaches the stopband within `width`. Source: Kaiser 1974, by way of appendix C."""
    attenuation_db = 2.285 * (taps - 1) * np.pi * width / (rate / 2) + 7.95
    if attenuation_db > 50:
        return 0.1102 * (attenuation_db - 8.7)
    if attenuation_db > 21:
        return 0.5842 * (attenuation_db - 21) ** 0.4 + 0.07886 * (attenuation_db - 21)
    return 0.0


def upsample_matrix(kernel: np.ndarray, *, length: int, up: int, padding: tuple[int, int]) -> np.ndarray:
    """Insert up - 1 zeros behind every sample, pad (negative: crop), convolve where the filter fits, multiply by `up`.

    kernel: [taps]. Returns [length * up + padding - taps + 1, length].
    """
    taps = len(kernel)
    rows = length * up + sum(padding) - taps + 1
    if rows < 1:
        raise ValueError(f"nothing is left: {length} samples x {up} with padding {padding} are shorter than {taps} taps")
    # Output j takes tap t of the padded sample j + taps - 1 - t, and input i lies at i * up + padding[0].
    tap = np.arange(rows)[:, None] + taps - 1 - padding[0] - np.arange(length)[None, :] * up
    # Cropped inputs and inserted zeros have no tap: their places index outside the filter.
    return np.where((tap >= 0) & (tap < taps), up * kernel[np.clip(tap, 0, taps - 1)], 0.0)


def downsample_matrix(kernel: np.ndarray, *, length: int, down: int) -> np.ndarray:
    """Convolve where the filter fits, then keep every `down`-th sample. kernel: [taps]. Returns [(length - taps) // down + 1, length]."""
    taps = len(kernel)
    rows = (length - taps) // down + 1
    if rows < 1:
        raise ValueError(f"nothing is left: {length} samples are shorter than {taps} taps")
    tap = np.arange(rows)[:, None] * down + taps - 1 - np.arange(length)[None, :]
    return np.where((tap >= 0) & (tap < taps), kernel[np.clip(tap, 0, taps - 1)], 0.0)


def filtering_matrices(
    up_kernel: np.ndarray, down_kernel: np.ndarray, *, in_size: int, up: int, down: int, padding: tuple[int, int], tolerance: float = 1e-7
) -> FilteringMatrices:
    """Matrices that resample a picture of in_size x in_size up and, after the nonlinearity, down again.

    up_kernel: [taps]. down_kernel: [taps], or [taps, taps] for a filter that is no outer product; terms of it below `tolerance` are left out.
    """
    up_matrix = upsample_matrix(up_kernel, length=in_size, up=up, padding=padding)
    middle = len(up_matrix)
    extra = -middle % _ALIGNMENT
    vertical, horizontal = separable_terms(down_kernel, tolerance=tolerance)
    rank = len(vertical)
    down_vertical = np.stack([downsample_matrix(kernel, length=middle, down=down) for kernel in vertical], axis=1)
    down_horizontal = np.stack([downsample_matrix(kernel, length=middle, down=down) for kernel in horizontal], axis=1)
    down_vertical, down_horizontal = (np.pad(matrix, ((0, 0), (0, 0), (0, extra))) for matrix in (down_vertical, down_horizontal))
    out = len(down_vertical)
    return FilteringMatrices(
        np.pad(up_matrix, ((0, extra), (0, 0))), down_vertical.reshape(out * rank, -1), down_horizontal.reshape(out, rank * (middle + extra))
    )


def separable_terms(kernel: np.ndarray, *, tolerance: float) -> tuple[np.ndarray, np.ndarray]:
    """A filter [taps, taps] as a sum of outer products: (vertical [rank, taps], horizontal [rank, taps]). [taps] is one of a filter with itself.

    Terms whose weight is below `tolerance` of the largest are left out: below the rounding of float32, they would be noise.
    """
    if kernel.ndim == 1:
        return kernel[None], kernel[None]
    left, values, right = np.linalg.svd(kernel)
    rank = int((values > values[0] * tolerance).sum())
    scale = np.sqrt(values[:rank])
    return (left[:, :rank] * scale).T, right[:rank] * scale[:, None]


def band_blocks(matrix: np.ndarray) -> tuple[Block, ...]:
    """The matrix as blocks of rows that leave out most of its zeros; a single one where that would save little."""
    rows, columns = matrix.shape
    height = max(_BLOCK * rows // max(rows, columns) // _ALIGNMENT, 1) * _ALIGNMENT
    blocks = []
    for first in range(0, rows, height):
        touched = np.flatnonzero(matrix[first : first + height].any(axis=0))
        low, high = (touched[0], touched[-1] + 1) if len(touched) else (0, 1)
        # Aligned at both ends, as far as the matrix goes.
        columns_of_block = (int(low) // _ALIGNMENT * _ALIGNMENT, min(-(-int(high) // _ALIGNMENT) * _ALIGNMENT, columns))
        blocks.append(Block((first, min(first + height, rows)), columns_of_block))
    work = sum((block.rows[1] - block.rows[0]) * (block.columns[1] - block.columns[0]) for block in blocks)
    return tuple(blocks) if work < (1 - _WORTHWHILE) * rows * columns else (Block((0, rows), (0, columns)),)


def _check_cutoff(cutoff: float, rate: float) -> None:
    if not 0 < cutoff < rate / 2:
        raise ValueError(f"a cutoff must lie between 0 and half the sampling rate, found {cutoff} at rate {rate}")
