"""The Frechet distance between two sets of features, seen as Gaussians: features to statistics to a number, each testable alone.

What made the features (ChemNet, Inception, our own encoder) is not known here: the metric that uses this carries it in its name.
"""

from dataclasses import dataclass

import numpy

# Chong and Forsyth 2020: fifteen subsets of 5,000 samples and more.
SMALLEST_FOR_INFINITY, POINTS_FOR_INFINITY = 5000, 15


@dataclass(frozen=True)
class GaussianStatistics:
    """Mean and covariance C over n - 1, in float64; C is held whole with more than D samples, and as the samples X with C = X^T X otherwise.

    mean: [D]. covariance: [D, D] or None. centred: [n, D], already divided by sqrt(n - 1), or None; exactly one of the two is given.
    """

    n: int
    mean: numpy.ndarray
    covariance: numpy.ndarray | None = None
    centred: numpy.ndarray | None = None

    def __post_init__(self) -> None:
        if (self.covariance is None) == (self.centred is None):
            raise ValueError("statistics hold either a covariance or centred samples, and not both")

    @property
    def trace(self) -> float:
        """Of C."""
        return float((self.centred**2).sum()) if self.centred is not None else float(numpy.trace(self.covariance))  # type: ignore[arg-type]

    def factor(self) -> numpy.ndarray:
        """F [min(n, D), D] with F^T F = C."""
        return self.centred if self.centred is not None else _root(self.covariance)  # type: ignore[arg-type]


def gaussian_statistics(features: numpy.ndarray) -> GaussianStatistics:
    """Of features [n, D]; ValueError for fewer than two."""
    n, dimension = features.shape
    if n < 2:
        raise ValueError(f"the Frechet distance needs at least 2 samples on each side, found {n}")
    features = features.astype(numpy.float64)
    mean = features.mean(axis=0)
    centred = (features - mean) / numpy.sqrt(n - 1)
    return GaussianStatistics(n, mean, centred=centred) if n <= dimension else GaussianStatistics(n, mean, covariance=centred.T @ centred)


def frechet_distance(one: numpy.ndarray, other: numpy.ndarray) -> float:
    """|m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2)) for features one [N, D] and other [M, D], covariances over N - 1 and M - 1.

    Source: Dowson and Landau 1982, J. Multivar. Anal. 12:450.
    """
    return frechet_distance_of(gaussian_statistics(one), gaussian_statistics(other))


def frechet_distance_of(one: GaussianStatistics, other: GaussianStatistics) -> float:
    """The same distance from statistics alone, without a matrix root: exact, and never below zero but for rounding."""
    difference = one.mean - other.mean
    if one.covariance is not None and other.covariance is not None:
        # C1 = F^T F makes F C2 F^T a symmetric matrix similar to C1 C2, so that the trace of the root is the sum of the roots of its eigenvalues.
        factor = one.factor()
        root = numpy.sqrt(numpy.clip(numpy.linalg.eigvalsh(factor @ other.covariance @ factor.T), 0, None)).sum()
    else:
        # With few samples F1 F2^T is small, and the roots of the eigenvalues of C1 C2 are its singular values: their sum is its nuclear norm.
        root = numpy.linalg.svd(one.factor() @ other.factor().T, compute_uv=False).sum()
    return float(difference @ difference) + one.trace + other.trace - 2 * float(root)


def frechet_distance_at_infinity(
    one: numpy.ndarray, other: GaussianStatistics, *, smallest: int = SMALLEST_FOR_INFINITY, points: int = POINTS_FOR_INFINITY, seed: int = 0
) -> float:
    """What the distance of features one [N, D] from `other` would be with infinitely many of the first: N counts no more, that of `other` still does.

    A line through the distances of random subsets of `smallest` … N over 1 / size, read at 0. ValueError for N < 2 * smallest: over a
    shorter range, and with fewer samples than features, the distances do not lie on a line.
    Source: Chong and Forsyth 2020, arXiv:1911.07023.
    """
    if len(one) < 2 * smallest:
        raise ValueError(f"reading the Frechet distance at infinity needs at least {2 * smallest} samples, found {len(one)}")
    random = numpy.random.default_rng(seed)
    sizes = numpy.linspace(smallest, len(one), points).round().astype(int)
    distances = [frechet_distance_of(gaussian_statistics(one[random.choice(len(one), size, replace=False)]), other) for size in sizes]
    return float(numpy.polynomial.polynomial.polyfit(1 / sizes, distances, 1)[0])


def _root(covariance: numpy.ndarray) -> numpy.ndarray:
    """F [D, D] with F^T F = covariance: its Cholesky factor, or from its eigenvectors where it is singular and has none."""
    try:
        return numpy.linalg.cholesky(covariance).T
    except numpy.linalg.LinAlgError:
        values, vectors = numpy.linalg.eigh(covariance)
        return (vectors * numpy.sqrt(numpy.clip(values, 0, None))).T
