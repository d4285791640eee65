"""Judge generated images against real ones: images to features to every number asked for, each under a name that says what made it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

import numpy
import torch
from torch import Tensor

from stages.derived_seed import derive_seed
from training.metrics import frechet
from training.metrics.images import kid
from training.metrics.images.feature_cache import FeatureCache, ImageFeatures
from training.metrics.images.features import FeatureExtractor, FeatureExtractorError, frechet_key, metric_name, mifid_key
from training.metrics.images.kid import KernelDistance, kernel_distance
from training.metrics.images.mifid import memorisation_informed
from training.metrics.images.ms_ssim import mean_pair_similarity
from training.metrics.images.prdc import DEFAULT_K, Prdc, prdc
from training.metrics.images.sources import ChosenImages, ImageSource, as_source, batches, choose
from training.metrics.images.swd import PatchDistance, SlicedWasserstein
from training.metrics.intervals import Estimate, Number, Spread, value_of

Metric = Literal["fd", "fd_infinity", "mifid", "kid", "prdc", "swd", "ms_ssim"]
METRICS: tuple[Metric, ...] = get_args(Metric)

# k of the precision and recall of Kynkaanniemi et al.; those of Naeem et al. come without k in their names.
_KYNKAANNIEMI_K = 3


@dataclass(frozen=True)
class ImageScores:
    """What was asked for and can be known; the rest is None. prdc: by k. ms_ssim: among the fakes."""

    extractor: FeatureExtractor
    fakes: int
    reals: int
    frechet: float | None = None
    frechet_infinity: float | None = None
    mifid: float | None = None
    kid: KernelDistance | None = None
    prdc: dict[int, Prdc] | None = None
    swd: SlicedWasserstein | None = None
    ms_ssim: Estimate | None = None

    def named(self) -> dict[str, Number]:
        """By names such as fd_rand0, kid_rand0_x1000, precision_rand0, precision_k3_rand0, swd_x1000, swd_x1000_32px, ms_ssim."""
        who = metric_name(self.extractor)
        numbers: dict[str, Number | None] = {
            frechet_key(self.extractor): self.frechet,
            frechet_key(self.extractor, "_infinity"): self.frechet_infinity,
            mifid_key(self.extractor): self.mifid,
            "ms_ssim": self.ms_ssim,
        }
        if self.kid is not None:
            numbers[f"kid_{who}_x1000"] = Spread(1e3 * self.kid.value, 1e3 * self.kid.spread)
        for k, scores in (self.prdc or {}).items():
            infix = f"_k{_KYNKAANNIEMI_K}" if k == _KYNKAANNIEMI_K else ""
            numbers |= {f"precision{infix}_{who}": scores.precision, f"recall{infix}_{who}": scores.recall}
            if not infix:
                numbers |= {f"density_{who}": scores.density, f"coverage_{who}": scores.coverage}
        if self.swd is not None:
            numbers |= {"swd_x1000": self.swd.mean, **{f"swd_x1000_{side}px": distance for side, distance in self.swd.levels.items()}}
        return {name: number for name, number in numbers.items() if number is not None}


@dataclass(frozen=True)
class ScoreSettings:
    """How the numbers are made. The published ones: kid_subsets 100, kid_subset_size 1000, swd_images 16384, ms_ssim_pairs 10000.

    swd_images: at most so many on each side, and as many on both. batch_images: that an extractor sees at once.
    """

    kid_subsets: int = kid.SUBSETS
    kid_subset_size: int = kid.SUBSET_SIZE
    swd_images: int = 2048
    ms_ssim_pairs: int = 1000
    batch_images: int = 64
    seed: int = 0


def score_images(
    fakes: numpy.ndarray | Tensor | ImageSource,
    reals: numpy.ndarray | Tensor | ImageSource,
    *,
    metrics: Sequence[Metric],
    extractor: FeatureExtractor,
    cache_dir: Path | None = None,
    reals_id: str | None = None,
    settings: ScoreSettings | None = None,
    most_reals: int | None = None,
    note: Callable[[str], None] = print,
) -> dict[str, float]:
    """The numbers asked for, by names that carry the extractor; see ImageScores.named.

    fakes, reals: uint8 [N, C, H, W] or a source of them. reals_id: the content id of the dataset; with it and `cache_dir`, the features of the
    reals are made once. most_reals: a seeded choice of so many reals is enough.
    """
    if unknown := sorted(set(metrics) - set(METRICS)):
        raise ValueError(f"unknown metrics {', '.join(unknown)}; expected some of {', '.join(METRICS)}")
    settings = settings or ScoreSettings()
    fakes, reals = as_source(fakes), as_source(reals)
    images = "all"
    if most_reals is not None and most_reals < len(reals):
        reals = choose(reals, most_reals, settings.seed)
        images = f"{most_reals} chosen with seed {settings.seed}"
    # Without the dataset's id nobody could tell whose features a kept file holds.
    cache = FeatureCache(cache_dir, reals_id, images, note) if cache_dir is not None and reals_id is not None else None
    scores = ImageScores(extractor, len(fakes), len(reals))
    # The extractor is by far the dearest: it runs only where a number needs it, once over each side.
    if set(metrics) & {"fd", "fd_infinity", "mifid", "kid", "prdc"}:
        fake_features = ImageFeatures.of(compute_features(fakes, extractor, settings.batch_images))
        scores = compare_features(fake_features, real_image_features(reals, extractor, settings, cache), metrics, extractor, settings)
    distance = patch_distance(reals, min(len(fakes), len(reals)), settings) if "swd" in metrics else None
    scores = add_pixel_scores(scores, fakes, distance, metrics, settings)
    return {name: value_of(number) for name, number in scores.named().items()}


def compute_features(source: ImageSource, extractor: FeatureExtractor, batch_images: int = 64) -> numpy.ndarray:
    """float32 [N, dim]; FeatureExtractorError for features that are not what the extractor promised or not finite."""
    features = numpy.empty((len(source), extractor.dim), dtype=numpy.float32)
    for start, images in batches(source, batch_images):
        found = extractor(torch.from_numpy(images)).cpu()
        if found.shape != (len(images), extractor.dim) or found.dtype != torch.float32:
            raise FeatureExtractorError(
                f"extractor {extractor.name} gave {found.dtype} {tuple(found.shape)}, expected float32 {(len(images), extractor.dim)}"
            )
        features[start : start + len(images)] = found.numpy()
    if not numpy.isfinite(features).all():
        bad = int((~numpy.isfinite(features).all(axis=1)).sum())
        raise FeatureExtractorError(f"extractor {extractor.name} gave features that are not finite for {bad} of {len(features)} images")
    return features


def real_image_features(reals: ImageSource, extractor: FeatureExtractor, settings: ScoreSettings, cache: FeatureCache | None = None) -> ImageFeatures:
    """The features of the reals: from the cache, or computed (and kept there, if there is one)."""

    def compute() -> numpy.ndarray:
        return compute_features(reals, extractor, settings.batch_images)

    return cache.get(extractor, len(reals), compute) if cache is not None else ImageFeatures.of(compute())


def compare_features(
    fakes: ImageFeatures, reals: ImageFeatures, metrics: Sequence[Metric], extractor: FeatureExtractor, settings: ScoreSettings
) -> ImageScores:
    """The numbers made from features. What needs more images than there are is left out.

    fd, mifid and kid need two on each side, prdc more than five, fd_infinity 10,000 fakes.
    """
    fewest, seed = min(len(fakes.values), len(reals.values)), settings.seed
    distance = infinity = informed = kernel = neighbours = None
    # Frechet distance of two Gaussians: Heusel et al. 2017, arXiv:1706.08500, eq. 6.
    if {"fd", "mifid"} & set(metrics) and fakes.statistics is not None and reals.statistics is not None:
        distance = frechet.frechet_distance_of(fakes.statistics, reals.statistics)
        informed = memorisation_informed(distance, fakes.values, reals.values) if "mifid" in metrics else None
        distance = distance if "fd" in metrics else None
    # The same without the bias of few fakes: Chong and Forsyth 2020, arXiv:1911.07023.
    if "fd_infinity" in metrics and len(fakes.values) >= 2 * frechet.SMALLEST_FOR_INFINITY and reals.statistics is not None:
        infinity = frechet.frechet_distance_at_infinity(
            fakes.values, reals.statistics, smallest=frechet.SMALLEST_FOR_INFINITY, seed=derive_seed(seed, "infinity")
        )
    # Each of the random choices has a seed of its own, so that leaving one metric out changes none of the others.
    if "kid" in metrics and fewest > 1:
        kernel = kernel_distance(
            fakes.values, reals.values, subsets=settings.kid_subsets, subset_size=settings.kid_subset_size, seed=derive_seed(seed, "kid")
        )
    if "prdc" in metrics and fewest > max(DEFAULT_K):
        neighbours = prdc(fakes.values, reals.values)
    return ImageScores(extractor, len(fakes.values), len(reals.values), distance, infinity, informed, kernel, neighbours)


def patch_distance(reals: ImageSource, count: int, settings: ScoreSettings) -> PatchDistance | None:
    """Ready to compare `count` fakes (at most settings.swd_images) with as many reals; None where there is none to compare."""
    count = min(count, settings.swd_images, len(reals))
    return PatchDistance(choose(reals, count, settings.seed, "swd"), settings.seed) if count else None


def add_pixel_scores(
    scores: ImageScores, fakes: ImageSource, distance: PatchDistance | None, metrics: Sequence[Metric], settings: ScoreSettings
) -> ImageScores:
    """The same scores with those that need no extractor. distance: from `patch_distance`; the first fakes are compared, as many as its reals."""
    similarity = swd = None
    if "ms_ssim" in metrics and len(fakes) > 1:
        similarity = mean_pair_similarity(fakes, pairs=settings.ms_ssim_pairs, seed=derive_seed(settings.seed, "ms_ssim"))
    if distance is not None and "swd" in metrics:
        swd = distance(ChosenImages(fakes, range(len(distance.reals))))
    return replace(scores, swd=swd, ms_ssim=similarity)


def real_halves(count: int, at_most: int, seed: int) -> tuple[numpy.ndarray, numpy.ndarray]:
    """Two disjoint choices of min(at_most, count // 2) of `count` reals, as sorted indices: one plays the fakes when the floor is measured."""
    size = min(at_most, count // 2)
    order = numpy.random.default_rng(derive_seed(seed, "real halves")).permutation(count)
    return numpy.sort(order[:size]), numpy.sort(order[size : 2 * size])
