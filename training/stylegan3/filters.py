"""Low-pass filters, and a layer's filters as matrices for `training.gans.banded`. Both are float64 numpy arrays."""

from typing import NamedTuple

import numpy as np

from training.gans.banded import ALIGNMENT, downsample_matrix, upsample_matrix


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
    # jinc(r) = J₁(2π f_c r) / r is the Fourier transform of a disc, as sinc is that of an interval; constant factors go with the sum.
    radius = np.hypot(time[:, None], time[None, :])
    window = np.kaiser(taps, kaiser_beta(taps, width=width, rate=rate))
    kernel = j1(2 * np.pi * cutoff * radius) / radius * np.outer(window, window)
    return kernel / kernel.sum()


def kaiser_beta(taps: int, *, width: float, rate: float) -> float:
    """Shape of the Kaiser window that reaches the stopband within `width`. Source: Kaiser 1974, by way of appendix C."""
    # A = 2.285 (n - 1) Δω + 7.95 dB, then Kaiser's fit of β to A.
    attenuation_db = 2.285 * (taps - 1) * np.pi * width / (rate / 2) + 7.95
    if attenuation_db > 50:
        return 0.1102 * (attenuation_db - 8.7)
    if attenuation_db > 21:
        return 0.5842 * (attenuation_db - 21) ** 0.4 + 0.07886 * (attenuation_db - 21)
    return 0.0


def filtering_matrices(
    up_kernel: np.ndarray, down_kernel: np.ndarray, *, in_size: int, up: int, down: int, padding: tuple[int, int], tolerance: float = 1e-7
) -> FilteringMatrices:
    """Matrices that resample a picture of in_size x in_size up and, after the nonlinearity, down again.

    up_kernel: [taps]. down_kernel: [taps], or [taps, taps] for a filter that is no outer product; terms of it below `tolerance` are left out.
    """
    # Each separable term is a pair of matrices; the vertical ones interleaved, the horizontal ones side by side, so that two products do all terms.
    up_matrix = upsample_matrix(up_kernel, length=in_size, up=up, padding=padding)
    middle = len(up_matrix)
    extra = -middle % ALIGNMENT
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
    # The best sum of `rank` outer products is the truncated singular value decomposition (Eckart and Young 1936).
    left, values, right = np.linalg.svd(kernel)
    rank = int((values > values[0] * tolerance).sum())
    scale = np.sqrt(values[:rank])
    return (left[:, :rank] * scale).T, right[:rank] * scale[:, None]


def _check_cutoff(cutoff: float, rate: float) -> None:
    if not 0 < cutoff < rate / 2:
        raise ValueError(f"a cutoff must lie between 0 and half the sampling rate, found {cutoff} at rate {rate}")
