"""Features of real images, kept between runs under the dataset's id, the extractor and how it resizes, so that reals are looked at once.

A file is an npz without pickles, whose parts carry checksums; one that cannot be read, or speaks of something else, is made again, and said so.
"""

import hashlib
import json
import time
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy

from stages.files import replacing
from training.metrics.frechet import GaussianStatistics, gaussian_statistics
from training.metrics.images.features import FeatureExtractor

_FORMAT = 1
# Of datasets and extractors long gone: the least recently used are removed beyond so many files, and what a killed run left after so long.
_MOST_FILES = 16
_LEFTOVER_AGE_S = 24 * 3600


@dataclass(frozen=True)
class ImageFeatures:
    """values: float32 [N, D]. statistics: their mean and covariance for the Frechet distance; None for fewer than two images."""

    values: numpy.ndarray
    statistics: GaussianStatistics | None

    @classmethod
    def of(cls, values: numpy.ndarray) -> "ImageFeatures":
        return cls(values, gaussian_statistics(values) if len(values) > 1 else None)


@dataclass(frozen=True)
class FeatureCache:
    """The features of the images of one dataset in files under `folder`.

    dataset: its content id. images: which of its images, when not all. note: is told when a file is damaged.
    """

    folder: Path
    dataset: str
    images: str = "all"
    note: Callable[[str], None] = field(default=print)

    def get(self, extractor: FeatureExtractor, count: int, compute: Callable[[], numpy.ndarray]) -> ImageFeatures:
        """Those kept for `extractor`, or what `compute` gives, which is kept then. count: of images, which a kept file must have too."""
        key = self._key(extractor)
        path = self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.npz"
        if path.is_file():
            found = self._read(path, key, (count, extractor.dim))
            if found is not None:
                path.touch()
                return found
        features = ImageFeatures.of(compute())
        self._write(path, key, features)
        self._prune()
        return features

    def _key(self, extractor: FeatureExtractor) -> str:
        seen = {"side_px": extractor.input.side_px, "range": list(extractor.input.value_range), "resize": extractor.input.resize}
        who = {"name": extractor.name, "version": extractor.version, "sha256": extractor.sha256, "input": seen}
        return json.dumps({"format": _FORMAT, "dataset": self.dataset, "images": self.images, "extractor": who}, sort_keys=True)

    def _read(self, path: Path, key: str, shape: tuple[int, int]) -> ImageFeatures | None:
        try:
            with path.open("rb") as stream, numpy.load(stream, allow_pickle=False) as parts:
                found = {name: parts[name] for name in parts.files}
            values, written = found["features"], found["key"].tobytes().decode()
            _refuse_others(values, written, shape, key)
            if "covariance" in found:
                return ImageFeatures(values, GaussianStatistics(len(values), found["mean"], covariance=found["covariance"]))
            return ImageFeatures.of(values)
        except (OSError, ValueError, KeyError, EOFError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
            self.note(f"{path}: the kept features of real images cannot be used ({error}); computing them again")
            return None

    def _write(self, path: Path, key: str, features: ImageFeatures) -> None:
        parts = {"key": numpy.frombuffer(key.encode(), dtype=numpy.uint8), "features": features.values}
        if features.statistics is not None and features.statistics.covariance is not None:
            parts |= {"mean": features.statistics.mean, "covariance": features.statistics.covariance}
        with replacing(path, many_writers=True) as temporary, temporary.open("wb") as stream:
            numpy.savez(stream, **parts)  # type: ignore[arg-type]

    def _prune(self) -> None:
        ages = sorted((path.stat().st_mtime, path) for path in self.folder.glob("*.npz"))
        leftovers = [path for path in self.folder.glob(".tmp-*.npz") if time.time() - path.stat().st_mtime > _LEFTOVER_AGE_S]
        for path in [*(path for _, path in ages[:-_MOST_FILES]), *leftovers]:
            path.unlink(missing_ok=True)


def _refuse_others(values: numpy.ndarray, written: str, shape: tuple[int, int], key: str) -> None:
    if written != key or values.shape != shape or values.dtype != numpy.float32:
        raise ValueError(f"it holds {values.dtype} {values.shape} for {written}, expected float32 {shape} for {key}")
