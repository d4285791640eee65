"""The Frechet distance between two sets of features, seen as Gaussians: features to statistics to a number, each testable alone.

What made the features (ChemNet, Inception, our own encoder) is not known here: the metric that uses this carries it in its name.
"""

import numpy


class TooFewSamplesError(ValueError):
    """A covariance needs at least two samples on each side."""


def frechet_distance(one: numpy.ndarray, other: numpy.ndarray) -> float:
    """|m1 - m2|^2 + Tr(C1 + C2 - 2 (C1 C2)^(1/2)) for features one [N, D] and other [M, D], covariances over N - 1 and M - 1.

    In float64. With few samples the trace of the root is the nuclear norm of X1 X2^T, which needs no covariance and no matrix root; with many,
    the eigenvalues of C1^(1/2) C2 C1^(1/2). Both are exact. Source: Dowson and Landau 1982, J. Multivar. Anal. 12:450.
    """
    if len(one) < 2 or len(other) < 2:
        raise TooFewSamplesError(f"the Frechet distance needs at least 2 samples on each side, found {len(one)} and {len(other)}")
    one, other = one.astype(numpy.float64), other.astype(numpy.float64)
    mean_difference = one.mean(axis=0) - other.mean(axis=0)
    centred_one = (one - one.mean(axis=0)) / numpy.sqrt(len(one) - 1)
    centred_other = (other - other.mean(axis=0)) / numpy.sqrt(len(other) - 1)
    traces = float((centred_one**2).sum() + (centred_other**2).sum())
    trace_of_root = _trace_of_root_from_samples if min(len(one), len(other)) <= one.shape[1] else _trace_of_root_from_covariances
    return float(mean_difference @ mean_difference) + traces - 2 * trace_of_root(centred_one, centred_other)


def _trace_of_root_from_samples(one: numpy.ndarray, other: numpy.ndarray) -> float:
    """Tr((C1 C2)^(1/2)) as the nuclear norm of X1 X2^T, with C = X^T X."""
    return float(numpy.linalg.svd(one @ other.T, compute_uv=False).sum())


def _trace_of_root_from_covariances(one: numpy.ndarray, other: numpy.ndarray) -> float:
    """Tr((C1 C2)^(1/2)) as the sum of the roots of the eigenvalues of C1^(1/2) C2 C1^(1/2)."""
    values, vectors = numpy.linalg.eigh(one.T @ one)
    root = (vectors * numpy.sqrt(numpy.clip(values, 0, None))) @ vectors.T
    inner = numpy.linalg.eigvalsh(root @ (other.T @ other) @ root)
    return float(numpy.sqrt(numpy.clip(inner, 0, None)).sum())
