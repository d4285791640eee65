"""Judge sets of drawn images beside real ones, whatever network drew them: numbers with the real/real floor, copies, tables and pictures.

A model's report says which sets there are and what they differ by, and has the rest from `judge_images`.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from formats.image_shards import DamagedImageError, ImageSetError, ImageShards
from stages.artifact_id import content_id
from stages.markdown import escape
from stages.reporting import Reporter
from training.gans.report_pictures import draw_curves, draw_pairs, draw_rows
from training.gans.scorecard import curves_beside_floor, image_headline, image_numbers, report_markdown
from training.loop.devices import open_devices
from training.metrics.images.comparison import Comparison, TooFewImagesError, compare_sets
from training.metrics.images.feature_cache import FeatureCache
from training.metrics.images.features import FeatureExtractor, FeatureExtractorError, open_extractor
from training.metrics.images.scoring import METRICS, Metric, ScoreSettings
from training.metrics.images.sources import ColourImages, ImageSource, choose
from training.metrics.images.spectrum import Spectrum, average_spectra, picture_panels, slice_panels
from training.reports.numbers import Numbers
from training.reports.pictures import draw_panels
from training.reports.report import STATE_DIR, Check, Picture, Report
from training.tracking.tracker import PromotionRule, TrackingError

_SPECTRA = (
    "Power by frequency, on average over images and channels, whitened by the real images' mean and deviation, under a Kaiser window with β = 8 "
    "(Karras et al. 2021, figure 13). Points and crosses that real images lack are patterns of the network's own."
)
_PSI_FOLDER = re.compile(r"psi\d+(\.\d+)?(e-\d+)?")
_AT_LEAST_ONE = ("kid_subsets", "kid_subset_size", "swd_images", "ms_ssim_pairs", "batch_images", "spectrum_images", "drawn_images", "nearest_pairs")


@dataclass(frozen=True)
class ImageReportConfig(ScoreSettings):
    """How images are judged and shown; the keys of a report's section that are not about where they lie. See ScoreSettings for the numbers.

    extractor: what sees images, see `open_extractor`. most_reals: at most so many, chosen by the seed; null = all.
    spectrum_images: at most so many of each set in its spectrum. drawn_images: of each set in the picture.
    nearest_pairs: of each set beside what they are nearest to.
    authentic_floor: the check `not_memorised` warns below it. promote: when this model becomes the champion; null = never.
    """

    extractor: str = "random"
    metrics: tuple[Metric, ...] = METRICS
    most_reals: int | None = None
    spectrum_images: int = 2000
    drawn_images: int = 12
    nearest_pairs: int = 12
    authentic_floor: float = 0.2
    promote: PromotionRule | None = None

    def __post_init__(self) -> None:
        for name in _AT_LEAST_ONE:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        if not self.metrics:
            raise ValueError(f"metrics is empty; name some of {', '.join(METRICS)}")
        if not 0 <= self.authentic_floor <= 1:
            raise ValueError(f"authentic_floor must lie in [0, 1], found {self.authentic_floor}")
        if self.most_reals is not None and self.most_reals < 4:
            raise ValueError(f"most_reals must be at least 4, found {self.most_reals}; null compares with all")


@dataclass(frozen=True)
class Sweep:
    """What sets differ by, when it is one number: such as truncation, written ψ. values: by name of the set, rising. name: of the picture."""

    name: str
    noun: str
    letter: str
    values: Mapping[str, float]


class FakesError(Exception):
    """There is no set of fakes to judge, or it does not fit the model."""


# What may be wrong with what a report on images reads, each with a message that says all there is to say.
EXPECTED = (FakesError, ImageSetError, DamagedImageError, FeatureExtractorError, TooFewImagesError, TrackingError)


def judge_images(
    config: ImageReportConfig,
    sets: Mapping[str, ImageSource],
    dataset: Path,
    reporter: Reporter,
    *,
    stage: str,
    model: str,
    title: str,
    sweep: Sweep | None = None,
    state_dir: Path = STATE_DIR,
) -> Report:
    """The report `stage` on the sets that `model` drew, by name, against the real images in the folder `dataset`, seen at the fakes' resolution.

    Grey reals are seen in colour where the fakes are coloured.
    sweep: what the sets differ by, for whose numbers the report draws curves. state_dir: features of the real images are kept there, so that
    they are made once for each dataset and extractor.
    """
    # Reals are shown to the extractor at the fakes' resolution: detail that no fake can have would only measure that.
    _, channels, resolution, _ = next(iter(sets.values())).images([0]).shape
    stored = ImageShards(dataset, resolution=resolution)
    everything: ImageSource = ColourImages(stored) if channels > stored.channels else stored
    reals: ImageSource = choose(everything, config.most_reals or len(everything), config.seed, "reals of the report")
    which = "all" if reals is everything else f"{len(reals)} chosen with seed {config.seed}"
    # What decides the reals' features is in the cache's key: which images, at which size; the extractor adds itself.
    cache = FeatureCache(state_dir / "image_features", f"{content_id(dataset)} at {resolution} px", which, reporter.log)
    with open_devices() as devices:
        comparison = compare_sets(
            sets,
            reals,
            metrics=config.metrics,
            extractor=open_extractor(config.extractor, seed=config.seed, device=devices.device),
            settings=config,
            cache=cache,
            told=lambda name: reporter.log(f"{stage}: judging {name}"),
        )
    # From here on nothing is computed: numbers become names, sentences, pictures and a check.
    numbers = image_numbers(comparison)
    titles = {name: f"{sweep.letter} = {sweep.values[name]:g}" if sweep else escape(name) for name in sets}
    facts = [f"Images of {resolution} px, compared with {len(reals):,} of the {len(everything):,} in {escape(dataset.name)}."]
    return Report(
        stage,
        model,
        numbers,
        report_markdown(title, comparison, titles, facts),
        pictures=_pictures(config, comparison, numbers, sets, reals, sweep),
        checks=[_not_memorised(comparison, config.authentic_floor)],
        headline=image_headline(headline_set(list(sets), config.promote), comparison.floor.extractor),
        promote=config.promote,
    )


def judge_truncations(
    config: ImageReportConfig,
    fakes: Path,
    dataset: Path,
    reporter: Reporter,
    *,
    resolution: int,
    stage: str,
    model: str,
    title: str,
    state_dir: Path = STATE_DIR,
) -> Report:
    """The same on the sets of fakes by truncation psi in the folder `fakes`, as training/gans/sample.py writes them; `resolution` is the model's."""
    sets = read_truncations(fakes, resolution, model)
    sweep = Sweep("psi", "truncation", "ψ", {name: _psi(name) for name in sets})
    return judge_images(config, sets, dataset, reporter, stage=stage, model=model, title=title, sweep=sweep, state_dir=state_dir)


def read_truncations(folder: Path, resolution: int, model: str) -> dict[str, ImageShards]:
    """The sets of fakes in `folder`, such as psi0.8, by rising truncation. Raises FakesError."""
    found = [path for path in folder.glob("psi*") if _PSI_FOLDER.fullmatch(path.name) and path.is_dir()]
    if not found:
        raise FakesError(f"{folder}: no set of fakes such as psi0.8 in it; sample them: figment materialize {folder.name}")
    return {path.name: open_fakes(path, resolution, model) for path in sorted(found, key=lambda path: _psi(path.name))}


def _psi(name: str) -> float:
    return float(name.removeprefix("psi"))


def headline_set(names: Sequence[str], rule: PromotionRule | None) -> str:
    """The set that speaks for the model: the one that promotion looks at, else the last."""
    return next((name for name in names if rule is not None and rule.metric.startswith(f"{name}_")), names[-1])


def open_fakes(folder: Path, resolution: int, model: str) -> ImageShards:
    """The set of fakes in `folder`; FakesError when its images are not of the resolution that `model` draws."""
    images = ImageShards(folder)
    if images.resolution != resolution:
        raise FakesError(
            f"{folder}: images of {images.resolution} px, but the model in {model} draws {resolution} px; sample again: "
            f"figment materialize {folder.parent.name}"
        )
    return images


def _pictures(
    config: ImageReportConfig, comparison: Comparison, numbers: Numbers, sets: Mapping[str, ImageSource], reals: ImageSource, sweep: Sweep | None
) -> list[Picture]:
    def draw_fakes(path: Path) -> None:
        drawn = choose(reals, config.drawn_images, config.seed, "drawn")
        rows = [images.images(range(min(config.drawn_images, len(images)))) for images in sets.values()]
        draw_rows([*rows, drawn.images(range(len(drawn)))], path)

    def draw_nearest(path: Path) -> None:
        pairs = []
        for images, judged in zip(sets.values(), comparison.sets, strict=True):
            closest = judged.memorisation.closest(config.nearest_pairs)
            pairs.append((images.images(closest), reals.images([int(judged.memorisation.nearest[index]) for index in closest])))
        draw_pairs(pairs, path)

    @cache
    def spectra() -> dict[str, Spectrum]:
        most = config.spectrum_images
        return average_spectra(choose(reals, most, config.seed, "spectra"), {name: choose(images, most, "spectra") for name, images in sets.items()})

    each = f"each {sweep.noun}" if sweep else "each set"
    order = f", by rising {sweep.letter}" if sweep else ""
    nearest = f"For {each}, the images nearest to a training image (above), nearest first, and that image (below)."
    return [
        Picture("Images", "fakes", "fakes.png", draw_fakes, f"One row for {each}{order}; the last row is real."),
        *([_sweep_picture(sweep, numbers, comparison.floor.extractor)] if sweep else []),
        Picture("Nearest training images", "nearest", "nearest.png", draw_nearest, nearest),
        Picture("Averaged spectra", "spectra", "spectra.png", lambda path: draw_panels(picture_panels(spectra()), path, nothing=""), _SPECTRA),
        Picture("Along the axis and the diagonal", "slices", "slices.png", lambda path: draw_panels(slice_panels(spectra()), path, nothing="")),
    ]


def _sweep_picture(sweep: Sweep, numbers: Numbers, extractor: FeatureExtractor) -> Picture:
    def draw(path: Path) -> None:
        draw_curves(list(sweep.values.values()), sweep.letter, curves_beside_floor(list(sweep.values), numbers, extractor), path)

    name = f"{sweep.name}_sweep"
    return Picture(f"By {sweep.noun}", name, f"{name}.png", draw, "With as many images as the floor has, which is dashed.")


def _not_memorised(comparison: Comparison, floor: float) -> Check:
    """The set that keeps most to its training images decides."""
    least = min(comparison.sets, key=lambda judged: judged.memorisation.authentic.value)
    authentic = least.memorisation.authentic
    facts = {"images": least.name, "authentic": authentic.successes, "judged": authentic.trials, "floor": floor}
    return Check("not_memorised", authentic.value >= floor, facts)
