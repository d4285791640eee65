"""Write image scores down: as flat numbers for programs, as Markdown tables with intervals and the real/real floor for people."""

import math
from collections.abc import Mapping, Sequence

from stages.markdown import escape, table
from training.gans.report_pictures import Lines
from training.metrics.images.comparison import Comparison, SetScores
from training.metrics.images.features import FeatureExtractor, frechet_key, frechet_title, is_reference_inception, kernel_title, metric_name
from training.metrics.images.memorisation import PERCENTILES
from training.metrics.images.prdc import Prdc
from training.metrics.images.scoring import ImageScores
from training.metrics.intervals import Spread
from training.reports.numbers import ABSENT, Headline, Numbers, cell

_FLOOR = "real"
_SAME_N = "_same_n"

# What is judged at the floor's number of images only, so that its name needs no ending.
_ONLY_SAME_N = ("swd", "ms_ssim")


def image_numbers(comparison: Comparison) -> Numbers:
    """Every number by a flat name: `<set>_<metric>` against all reals, `<set>_<metric>_same_n` with as many images as the floor has.

    `<set>_n`, `real_n` and `same_n` are the denominators. The floor's numbers begin with `real_`.
    """
    numbers = Numbers()
    numbers.qualify(f"{_FLOOR}_n", comparison.sets[0].whole.reals)
    numbers.qualify("same_n", comparison.floor.fakes)
    for judged in comparison.sets:
        numbers.qualify(f"{judged.name}_n", judged.whole.fakes)
        _add(numbers, judged.name, judged.whole)
        _add(numbers, judged.name, judged.same_n, ending=_SAME_N)
        _add_memorisation(numbers, judged)
    _add(numbers, _FLOOR, comparison.floor)
    return numbers


def image_headline(name: str, extractor: FeatureExtractor) -> Headline:
    """What is asked for first of the set `name`, beside the floor."""
    who, distance = metric_name(extractor), frechet_key(extractor)
    judged = [distance, f"{distance}{_SAME_N}", "swd_x1000", f"precision_{who}{_SAME_N}", f"recall_{who}{_SAME_N}", "ms_ssim", f"authentic_{who}"]
    return {name: judged, _FLOOR: [distance, "swd_x1000", "ms_ssim"]}


def report_markdown(title: str, comparison: Comparison, titles: Mapping[str, str], facts: Sequence[str]) -> str:
    """The report without its pictures. titles: of the sets, by name. facts: sentences about what was compared. Both escaped already."""
    tables = [*_same_n_section(comparison, titles), *_whole_section(comparison, titles), *_memorisation_section(comparison, titles)]
    return "\n".join([f"# {title}\n", *(f"{fact}\n" for fact in facts), *tables, *_definitions(comparison.floor.extractor)])


def curves_beside_floor(sets: Sequence[str], numbers: Numbers, extractor: FeatureExtractor) -> dict[str, Lines]:
    """By panel and line, a value for each of `sets` and that of the floor: only what compares with it, and only panels with a number in them."""
    who, values = metric_name(extractor), numbers.values
    panels = {
        frechet_title(extractor): {frechet_title(extractor): f"{frechet_key(extractor)}{_SAME_N}"},
        f"{kernel_title(extractor)} × 10³": {kernel_title(extractor): f"kid_{who}_x1000{_SAME_N}"},
        "SWD × 10³": {"SWD": "swd_x1000"},
        "precision and recall": {name: f"{name}_{who}{_SAME_N}" for name in ("precision", "recall")},
        "density and coverage": {name: f"{name}_{who}{_SAME_N}" for name in ("density", "coverage")},
        "MS-SSIM of pairs": {"MS-SSIM": "ms_ssim"},
    }

    def line(key: str) -> tuple[list[float], float]:
        return [values.get(f"{name}_{key}", math.nan) for name in sets], values.get(f"{_FLOOR}_{key.removesuffix(_SAME_N)}", math.nan)

    drawn = {title: {name: line(key) for name, key in lines.items()} for title, lines in panels.items()}
    return {title: lines for title, lines in drawn.items() if any(math.isfinite(value) for values, _ in lines.values() for value in values)}


def _add(numbers: Numbers, prefix: str, scores: ImageScores, *, ending: str = "") -> None:
    for name, number in scores.named().items():
        numbers.add(f"{prefix}_{name}", number, ending="" if name.startswith(_ONLY_SAME_N) else ending, with_n=False)


def _add_memorisation(numbers: Numbers, judged: SetScores) -> None:
    who, found = metric_name(judged.whole.extractor), judged.memorisation
    numbers.add(f"{judged.name}_authentic_{who}", found.authentic, with_n=False)
    for percentile, (fake, real) in found.percentiles().items():
        name = f"{judged.name}_nearest_training_{who}_p{percentile}"
        numbers.add(name, fake)
        numbers.add(f"{name}_of_reals", real)


def _same_n_section(comparison: Comparison, titles: Mapping[str, str]) -> list[str]:
    """The table that may be read against its last row."""
    extractor, levels = comparison.floor.extractor, list(comparison.floor.swd.levels) if comparison.floor.swd else []
    header = ["images", frechet_title(extractor), f"{kernel_title(extractor)} × 10³", "SWD × 10³", *(f"at {side} px" for side in levels), "MS-SSIM"]
    header += ["precision", "recall", "density", "coverage"]
    rows = [_row(titles[judged.name], judged.same_n, levels) for judged in comparison.sets]
    rows.append(_row("*real images (floor)*", comparison.floor, levels))
    count = comparison.floor.fakes
    return [
        "## Beside the floor\n",
        table(header, rows),
        f"{count:,} images of each set against {count:,} real ones. The last row is {count:,} other real images judged in the same way: what a",
        "generator can hope for with so many images. Its MS-SSIM tells how alike real images are to each other; a set far above it repeats",
        "itself.\n",
    ]


def _row(title: str, scores: ImageScores, levels: Sequence[int]) -> list[str]:
    swd = scores.swd
    distances = [swd.mean, *(swd.levels[side] for side in levels)] if swd else [None] * (1 + len(levels))
    return [title, cell(scores.frechet), _kid_cell(scores), *map(cell, distances), cell(scores.ms_ssim), *_prdc_cells(scores)]


def _whole_section(comparison: Comparison, titles: Mapping[str, str]) -> list[str]:
    extractor = comparison.floor.extractor
    distance = frechet_title(extractor)
    header = ["images", "of them", "reals", distance, f"{distance} at ∞", f"{kernel_title(extractor)} × 10³", "precision", "recall"]
    header += ["density", "coverage", "precision, k = 3", "recall, k = 3"]
    # Asked for where fakes are judged as Kaggle does; elsewhere there is no column for it.
    is_informed = any(judged.whole.mifid is not None for judged in comparison.sets)
    header[5:5] = [distance.replace("F", "MiF", 1)] if is_informed else []
    rows = []
    for judged in comparison.sets:
        scores = judged.whole
        counts = [titles[judged.name], f"{scores.fakes:,}", f"{scores.reals:,}"]
        distances = [cell(scores.frechet), cell(scores.frechet_infinity), *([cell(scores.mifid)] if is_informed else []), _kid_cell(scores)]
        rows.append([*counts, *distances, *_prdc_cells(scores), *_prdc_cells(scores, k=3)[:2]])
    told = (
        f"{header[5]}: {distance} divided by how far an image is from its nearest real one on average, where that is below 0.1 (Bai et al. 2021).\n"
    )
    return ["## With all images\n", table(header, rows), *([told] if is_informed else [])]


def _memorisation_section(comparison: Comparison, titles: Mapping[str, str]) -> list[str]:
    header = ["images", "authentic", *(f"{percentile} % are nearer than" for percentile in PERCENTILES)]
    rows = []
    for judged in comparison.sets:
        found = judged.memorisation
        rows.append([titles[judged.name], cell(found.authentic), *(cell(fake) for fake, _ in found.percentiles().values())])
    reals = comparison.sets[0].memorisation.percentiles()
    rows.append(["*training images among themselves*", ABSENT, *(cell(real) for _, real in reals.values())])
    return [
        "## Copies of training images\n",
        table(header, rows),
        "Distances from an image to the nearest training image, in the extractor's features. Rows far below the last one speak of copies, and so",
        "does a low share of authentic images: those farther from their nearest training image than that one is from its own nearest (about a",
        "half when nothing is copied).\n",
    ]


def _definitions(extractor: FeatureExtractor) -> list[str]:
    seen = f"{extractor.input.side_px} px ({escape(extractor.input.resize)})" if extractor.input.side_px else "their own size"
    weights = f", weights {extractor.sha256[:16]}…" if extractor.sha256 else ""
    is_fid = is_reference_inception(extractor)
    warning = "" if is_fid else " This is not FID, which only the reference Inception network gives, and compares with no published number."
    return [
        "## What the numbers are\n",
        f"{frechet_title(extractor)}, {kernel_title(extractor)}, precision, recall, density and coverage are made from features of",
        f"{escape(extractor.name)} version {escape(extractor.version)}{weights}, which sees images at {seen}.{warning}",
        "At ∞: read at infinitely many fakes (Chong and Forsyth 2020), from 10,000 on.",
        f"{kernel_title(extractor)}: mean of the unbiased estimate over random subsets, ± their standard deviation; may be below zero.",
        "Precision, recall, density, coverage: k = 5 (Naeem et al. 2020); k = 3 as Kynkäänniemi et al. 2019.",
        "SWD: sliced Wasserstein distance of 7 × 7 patches in a Laplacian pyramid (Karras et al. 2018), mean over its levels.",
        "MS-SSIM: mean over random pairs of images of one set. In brackets: 95 % interval (Wilson for rates, bootstrap for MS-SSIM).\n",
    ]


def _kid_cell(scores: ImageScores) -> str:
    return cell(Spread(1e3 * scores.kid.value, 1e3 * scores.kid.spread) if scores.kid else None)


def _prdc_cells(scores: ImageScores, k: int = 5) -> list[str]:
    found: Prdc | None = (scores.prdc or {}).get(k)
    return [cell(number) for number in ((found.precision, found.recall, found.density, found.coverage) if found else (None,) * 4)]
