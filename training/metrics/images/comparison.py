"""Several sets of fakes against the same reals, beside what real images reach against each other: the floor that no generator need go below.

Distances fall as more images are compared, so each set is judged twice: with all there are, and with as many as the floor has on each side.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy

from training.metrics.images.feature_cache import FeatureCache, ImageFeatures
from training.metrics.images.features import FeatureExtractor
from training.metrics.images.memorisation import Memorisation, memorisation
from training.metrics.images.scoring import (
    ImageScores,
    Metric,
    ScoreSettings,
    add_pixel_scores,
    compare_features,
    compute_features,
    patch_distance,
    real_halves,
    real_image_features,
)
from training.metrics.images.sources import ChosenImages, ImageSource

_FEWEST_REALS = 4


class TooFewImagesError(ValueError):
    """There are not enough images to compare."""


@dataclass(frozen=True)
class SetScores:
    """A set of fakes. whole: against all reals, without patches. same_n: as many fakes as the floor, against the same half of the reals."""

    name: str
    whole: ImageScores
    same_n: ImageScores
    memorisation: Memorisation


@dataclass(frozen=True)
class Comparison:
    """floor: one half of the reals judged as if it were fakes, against the other half; of it, ms_ssim says how alike real images are."""

    sets: tuple[SetScores, ...]
    floor: ImageScores


def compare_sets(
    sets: Mapping[str, ImageSource],
    reals: ImageSource,
    *,
    metrics: Sequence[Metric],
    extractor: FeatureExtractor,
    settings: ScoreSettings,
    cache: FeatureCache | None = None,
    told: Callable[[str], None] = lambda name: None,
) -> Comparison:
    """told: hears the name of each set before it is judged. Raises TooFewImagesError for fewer than two fakes in a set or four reals."""
    for name, fakes in sets.items():
        if len(fakes) < 2:
            raise TooFewImagesError(f"{name}: {len(fakes)} images; a comparison needs two")
    if not sets or len(reals) < _FEWEST_REALS:
        raise TooFewImagesError(f"{len(sets)} sets of fakes and {len(reals)} reals; a comparison needs one set and {_FEWEST_REALS} reals")
    real_features = real_image_features(reals, extractor, settings, cache)
    # Two disjoint parts of the reals, each as large as the smallest set of fakes: one is the judge of all, the other plays the fakes for the floor.
    # Distances depend on how many are compared, so only equal numbers may stand beside each other.
    one, other = real_halves(len(reals), min(len(fakes) for fakes in sets.values()), settings.seed)
    count, judge = len(one), real_features.values[other]
    half = ImageFeatures.of(judge)
    first, second = (ChosenImages(reals, tuple(int(index) for index in chosen)) for chosen in (one, other))
    distance = patch_distance(second, count, settings) if "swd" in metrics else None

    def same_n(fakes: ImageSource, features: numpy.ndarray) -> ImageScores:
        scores = compare_features(ImageFeatures.of(features[:count]), half, metrics, extractor, settings)
        return add_pixel_scores(scores, ChosenImages(fakes, range(count)), distance, metrics, settings)

    # The same features serve the table with all images, the one beside the floor, and the search for copies.
    judged = []
    for name, fakes in sets.items():
        told(name)
        features = compute_features(fakes, extractor, settings.batch_images)
        whole = compare_features(ImageFeatures.of(features), real_features, metrics, extractor, settings)
        judged.append(SetScores(name, whole, same_n(fakes, features), memorisation(features, real_features.values)))
    return Comparison(tuple(judged), same_n(first, real_features.values[one]))
