"""Judge the images that StyleGAN3 drew at several truncations: numbers beside the real/real floor, copies, tables and pictures.

    python -m training.stylegan3.report
    python -m training.stylegan3.report --set extractor=inception:weights/inception-2015-12-05.pt    # only this gives a number called FID

Reads data/toc_fakes, data/toc_dataset@SIZE and data/stylegan3_toc (its resolution, and which model was judged).
Writes data/toc_report: metrics.json, report.md, fakes.png, nearest.png, psi_sweep.png. Features of the real images are kept under
.figment/image_features, so that they are made once for each dataset and extractor.
"""

import json
import math
import re
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from formats.image_shards import DamagedImageError, ImageSetError, ImageShards
from stages.artifact_id import content_id
from stages.markdown import escape, png_data_uri
from stages.output_folder import OutputFolder
from stages.params import load_params
from stages.program import program
from stages.reporting import Reporter
from training.loop.devices import open_devices
from training.metrics.images.comparison import Comparison, TooFewImagesError, compare_sets
from training.metrics.images.feature_cache import FeatureCache
from training.metrics.images.features import (
    FeatureExtractor,
    FeatureExtractorError,
    frechet_key,
    frechet_title,
    kernel_title,
    metric_name,
    open_extractor,
)
from training.metrics.images.scoring import METRICS, Metric, ScoreSettings
from training.metrics.images.sources import ImageSource, choose
from training.stylegan3.generator import StyleGAN3Error, read_config
from training.stylegan3.report_pictures import draw_pairs, draw_rows, draw_sweep
from training.stylegan3.scorecard import FLOOR, flat_metrics, report_markdown
from training.tracking.tracker import PromotionRule, TrackingError, attach_metrics

STAGE = "toc_report"
MODEL = "stylegan3_toc"
FAKES = "toc_fakes"
STATE_DIR = Path(".figment")

# Dagster and MLflow show Markdown from their event stores: more than this is left in the output folder and only named.
_MOST_MARKDOWN_BYTES = 200_000
_PSI_FOLDER = re.compile(r"psi(\d+(\.\d+)?(e-\d+)?)")
_PICTURES = {"fakes": "fakes.png", "psi_sweep": "psi_sweep.png", "nearest": "nearest.png"}


@dataclass(frozen=True)
class ToCReportConfig(ScoreSettings):
    """The section `toc_report` of params.yaml; see ScoreSettings for how the numbers are made.

    dataset_size: reads data/toc_dataset@SIZE, the one the model was trained on; images are compared at the model's resolution.
    extractor: what sees images, see `open_extractor`. most_reals: at most so many, chosen by the seed; null = all.
    drawn_images: of each truncation in the picture. nearest_pairs: of each truncation beside what they are nearest to.
    authentic_floor: the check `not_memorised` warns below it. promote: when this model becomes the champion; null = never.
    """

    dataset_size: int = 256
    extractor: str = "random"
    metrics: tuple[Metric, ...] = METRICS
    most_reals: int | None = None
    drawn_images: int = 12
    nearest_pairs: int = 12
    authentic_floor: float = 0.2
    promote: PromotionRule | None = None

    def __post_init__(self) -> None:
        for name in (
            "kid_subsets",
            "kid_subset_size",
            "swd_images",
            "ms_ssim_pairs",
            "batch_images",
            "drawn_images",
            "nearest_pairs",
            "dataset_size",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, found {getattr(self, name)}")
        if not self.metrics:
            raise ValueError(f"metrics is empty; name some of {', '.join(METRICS)}")
        if not 0 <= self.authentic_floor <= 1:
            raise ValueError(f"authentic_floor must lie in [0, 1], found {self.authentic_floor}")
        if self.most_reals is not None and self.most_reals < 4:
            raise ValueError(f"most_reals must be at least 4, found {self.most_reals}; null compares with all")


class FakesError(Exception):
    """There is no set of fakes to judge, or it does not fit the model."""


def make_report(config: ToCReportConfig, data: Path, reporter: Reporter, *, state_dir: Path = STATE_DIR) -> dict[str, float]:
    """Write data/toc_report and return its numbers."""
    resolution = read_config(data / MODEL).resolution
    fakes = read_fakes(data / FAKES, resolution)
    dataset = data / f"toc_dataset@{config.dataset_size}"
    everything = ImageShards(dataset, resolution=resolution)
    reals: ImageSource = choose(everything, config.most_reals or len(everything), config.seed, "reals of the report")
    which = "all" if reals is everything else f"{len(reals)} chosen with seed {config.seed}"
    cache = FeatureCache(state_dir / "image_features", f"{content_id(dataset)} at {resolution} px", which, reporter.log)
    with open_devices() as devices:
        extractor = open_extractor(config.extractor, seed=config.seed, device=devices.device)
        comparison = compare_sets(
            {psi_name(psi): images for psi, images in fakes.items()},
            reals,
            metrics=config.metrics,
            extractor=extractor,
            settings=config,
            cache=cache,
            told=lambda name: reporter.log(f"{STAGE}: judging {name}"),
        )
    metrics = flat_metrics(comparison)
    titles = {psi_name(psi): f"ψ = {psi:g}" for psi in fakes}
    facts = [f"Images of {resolution} px, compared with {len(reals):,} of the {len(everything):,} in {escape(dataset.name)}."]
    text = report_markdown("StyleGAN3: table-of-contents images", comparison, titles, facts)
    with OutputFolder(data / STAGE) as output:
        _write(output.folder, text, metrics, comparison, fakes, reals, config)
    _tell(data / STAGE, text, metrics, comparison, config, reporter)
    return metrics


def psi_name(psi: float) -> str:
    """As the folders of fakes and the metrics are named: psi0.8."""
    return f"psi{psi:g}"


def read_fakes(folder: Path, resolution: int) -> dict[float, ImageShards]:
    """The sets of fakes by rising truncation psi."""
    found = {}
    for path in folder.glob("psi*") if folder.is_dir() else ():
        match = _PSI_FOLDER.fullmatch(path.name)
        if match and path.is_dir():
            found[float(match[1])] = ImageShards(path)
    if not found:
        raise FakesError(f"{folder}: no set of fakes such as psi0.8 in it; sample them: figment materialize {FAKES}")
    for psi, images in found.items():
        if images.resolution != resolution:
            raise FakesError(
                f"{folder / psi_name(psi)}: images of {images.resolution} px, but the model in {MODEL} draws {resolution} px; sample again: "
                f"figment materialize {FAKES}"
            )
    return dict(sorted(found.items()))


def _write(
    folder: Path,
    text: str,
    metrics: Mapping[str, float],
    comparison: Comparison,
    fakes: Mapping[float, ImageShards],
    reals: ImageSource,
    config: ToCReportConfig,
) -> None:
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
    drawn = choose(reals, config.drawn_images, config.seed, "drawn")
    rows = [images.images(range(min(config.drawn_images, len(images)))) for images in fakes.values()]
    draw_rows([*rows, drawn.images(range(len(drawn)))], folder / _PICTURES["fakes"])
    pairs = []
    for images, judged in zip(fakes.values(), comparison.sets, strict=True):
        closest = judged.memorisation.closest(config.nearest_pairs)
        pairs.append((images.images(closest), reals.images([int(judged.memorisation.nearest[index]) for index in closest])))
    draw_pairs(pairs, folder / _PICTURES["nearest"])
    draw_sweep(list(fakes), _curves(list(fakes), metrics, comparison.floor.extractor), folder / _PICTURES["psi_sweep"])
    (folder / "report.md").write_text(_with_pictures(text, _PICTURES), encoding="utf-8")


def _curves(
    truncations: Sequence[float], metrics: Mapping[str, float], extractor: FeatureExtractor
) -> dict[str, dict[str, tuple[list[float], float]]]:
    """What the chart shows: only what compares with the floor, each line with it."""
    who = metric_name(extractor)
    panels = {
        frechet_title(extractor): {frechet_title(extractor): f"{frechet_key(extractor)}_same_n"},
        f"{kernel_title(extractor)} × 10³": {kernel_title(extractor): f"kid_{who}_x1000_same_n"},
        "SWD × 10³": {"SWD": "swd_x1000"},
        "precision and recall": {"precision": f"precision_{who}_same_n", "recall": f"recall_{who}_same_n"},
        "density and coverage": {"density": f"density_{who}_same_n", "coverage": f"coverage_{who}_same_n"},
        "MS-SSIM of pairs": {"MS-SSIM": "ms_ssim"},
    }

    def line(key: str) -> tuple[list[float], float]:
        values = [metrics.get(f"{psi_name(psi)}_{key}", math.nan) for psi in truncations]
        return values, metrics.get(f"{FLOOR}_{key.removesuffix('_same_n')}", math.nan)

    drawn = {title: {name: line(key) for name, key in lines.items()} for title, lines in panels.items()}
    return {title: lines for title, lines in drawn.items() if any(math.isfinite(value) for values, _ in lines.values() for value in values)}


def _with_pictures(text: str, pictures: Mapping[str, str]) -> str:
    sections = [
        ("Images", "One row for each truncation, by rising ψ; the last row is real.", "fakes"),
        ("By truncation", "With as many images as the floor has, which is dashed.", "psi_sweep"),
        (
            "Nearest training images",
            "For each truncation, the images nearest to a training image (above), nearest first, and that image (below).",
            "nearest",
        ),
    ]
    return text + "".join(f"\n## {title}\n\n{words}\n\n![{name}]({pictures[name]})\n" for title, words, name in sections)


def _tell(folder: Path, text: str, metrics: Mapping[str, float], comparison: Comparison, config: ToCReportConfig, reporter: Reporter) -> None:
    reporter.metadata(**{name: value for name, value in metrics.items() if not name.endswith(("_low", "_high", "_sd"))})
    illustrated = _with_pictures(text, {name: png_data_uri(folder / file) for name, file in _PICTURES.items()})
    reporter.markdown("report", illustrated if len(illustrated.encode()) <= _MOST_MARKDOWN_BYTES else text)
    least = min(comparison.sets, key=lambda judged: judged.memorisation.authentic.value)
    authentic = least.memorisation.authentic
    reporter.check(
        "not_memorised",
        authentic.value >= config.authentic_floor,
        severity="WARN",
        images=least.name,
        authentic=authentic.successes,
        judged=authentic.trials,
        floor=config.authentic_floor,
    )


def _attach(metrics: Mapping[str, float], config: ToCReportConfig, data: Path, reporter: Reporter) -> None:
    """Add the report to the model's run and version, and let the promotion rule judge."""
    model = data / MODEL
    rule = config.promote
    if rule is not None and rule.metric not in metrics:
        reporter.log(f"{STAGE}: no promotion, because there is no number {rule.metric} in the report")
        rule = None
    artifacts = sorted((data / STAGE).iterdir())
    attach_metrics(MODEL, output_id=content_id(model), metrics=metrics, artifacts=artifacts, promote=rule, reporter=reporter)


def _body(arguments: Namespace, reporter: Reporter) -> None:
    config = load_params(arguments.params, STAGE, ToCReportConfig, overrides=arguments.overrides)
    metrics = make_report(config, arguments.data, reporter)
    _attach(metrics, config, arguments.data, reporter)


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `toc_report`; see stages/program.py for flags and exit codes."""
    expected: tuple[type[Exception], ...] = (
        FakesError,
        StyleGAN3Error,
        ImageSetError,
        DamagedImageError,
        FeatureExtractorError,
        TooFewImagesError,
        TrackingError,
    )
    return program(__doc__, _body, argv, expected=expected)


if __name__ == "__main__":
    sys.exit(main())
