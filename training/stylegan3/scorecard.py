"""Write image scores down: as flat numbers for programs, as Markdown tables with denominators, intervals and the real/real floor for people."""

import math
from collections.abc import Mapping, Sequence

from stages.markdown import escape, table
from training.metrics.images.comparison import Comparison, SetScores
from training.metrics.images.features import FeatureExtractor, frechet_title, is_reference_inception, kernel_title, metric_name
from training.metrics.images.memorisation import PERCENTILES
from training.metrics.images.scoring import ImageScores
from training.metrics.intervals import Estimate, Rate

# Numbers are rounded before they are written, so that the last bits of a sum do not change the bytes of a report.
SIGNIFICANT_DIGITS = 6
ABSENT = "–"
FLOOR = "real"

# What is judged at the floor's number of images only, so that its name needs no ending.
_ONLY_SAME_N = ("swd", "ms_ssim")


def flat_metrics(comparison: Comparison) -> dict[str, float]:
    """Every number by a flat name, sorted: `<set>_<metric>` against all reals, `<set>_<metric>_same_n` with as many images as the floor has.

    Rates, KID and MS-SSIM come with `_low` and `_high` (95 %) or `_sd`; `<set>_n`, `real_n` and `same_n` are the denominators. The floor's numbers
    begin with `real_`. What is not a number is left out.
    """
    metrics: dict[str, float] = {f"{FLOOR}_n": comparison.sets[0].whole.reals, "same_n": comparison.floor.fakes}
    for judged in comparison.sets:
        metrics[f"{judged.name}_n"] = judged.whole.fakes
        metrics |= {f"{judged.name}_{name}": value for name, value in _numbers(judged.whole).items()}
        for name, value in _numbers(judged.same_n).items():
            metrics[f"{judged.name}_{name}" if name.startswith(_ONLY_SAME_N) else f"{judged.name}_{name}_same_n"] = value
        metrics |= {f"{judged.name}_{name}": value for name, value in _memorisation_numbers(judged).items()}
    metrics |= {f"{FLOOR}_{name}": value for name, value in _numbers(comparison.floor).items()}
    return {name: _rounded(metrics[name]) for name in sorted(metrics) if math.isfinite(metrics[name])}


def report_markdown(title: str, comparison: Comparison, titles: Mapping[str, str], facts: Sequence[str]) -> str:
    """The report without its pictures. titles: of the sets, by name. facts: sentences about what was compared. Both escaped already."""
    extractor = comparison.floor.extractor
    return "\n".join(
        [
            f"# {title}\n",
            *(f"{fact}\n" for fact in facts),
            _same_n_section(comparison, titles),
            _whole_section(comparison, titles),
            _memorisation_section(comparison, titles),
            _definitions(extractor),
        ]
    )


def _numbers(scores: ImageScores) -> dict[str, float]:
    """The flat numbers with their spreads."""
    numbers, who = scores.flat(), metric_name(scores.extractor)
    if scores.kid is not None:
        numbers[f"kid_{who}_x1000_sd"] = 1e3 * scores.kid.spread
    for k, found in (scores.prdc or {}).items():
        for name, rate in (("precision", found.precision), ("recall", found.recall), ("coverage", found.coverage)):
            key = f"{name}_k3_{who}" if k == 3 else f"{name}_{who}"
            if key in numbers:
                numbers |= {f"{key}_low": rate.low, f"{key}_high": rate.high}
    if scores.ms_ssim is not None:
        numbers |= {"ms_ssim_low": scores.ms_ssim.low, "ms_ssim_high": scores.ms_ssim.high}
    return numbers


def _memorisation_numbers(judged: SetScores) -> dict[str, float]:
    who, found = metric_name(judged.whole.extractor), judged.memorisation
    numbers = {f"authentic_{who}": found.authentic.value, f"authentic_{who}_low": found.authentic.low, f"authentic_{who}_high": found.authentic.high}
    for percentile, (fake, real) in found.percentiles().items():
        numbers |= {f"nearest_training_{who}_p{percentile}": fake, f"nearest_training_{who}_p{percentile}_of_reals": real}
    return numbers


def _same_n_section(comparison: Comparison, titles: Mapping[str, str]) -> str:
    """The table that may be read against its last row."""
    extractor, levels = comparison.floor.extractor, list(comparison.floor.swd.levels) if comparison.floor.swd else []
    header = ["images", frechet_title(extractor), f"{kernel_title(extractor)} × 10³", "SWD × 10³", *(f"at {side} px" for side in levels), "MS-SSIM"]
    header += ["precision", "recall", "density", "coverage"]
    rows = [_row(titles[judged.name], judged.same_n, levels) for judged in comparison.sets]
    rows.append(_row("*real images (floor)*", comparison.floor, levels))
    count = comparison.floor.fakes
    return "\n".join(
        [
            "## Beside the floor\n",
            table(header, rows),
            f"{count:,} images of each set against {count:,} real ones. The last row is {count:,} other real images judged in the same way: what a",
            "generator can hope for with so many images. Its MS-SSIM tells how alike real images are to each other; a set far above it repeats",
            "itself.\n",
        ]
    )


def _row(title: str, scores: ImageScores, levels: Sequence[int]) -> list[str]:
    swd, neighbours = scores.swd, (scores.prdc or {}).get(5)
    return [
        title,
        _optional(scores.frechet),
        _kid_cell(scores),
        _optional(swd.mean if swd else None),
        *(_optional(swd.levels[side] if swd else None) for side in levels),
        _cell(scores.ms_ssim),
        *(
            [_cell(neighbours.precision), _cell(neighbours.recall), _number(neighbours.density), _cell(neighbours.coverage)]
            if neighbours
            else [ABSENT] * 4
        ),
    ]


def _whole_section(comparison: Comparison, titles: Mapping[str, str]) -> str:
    extractor = comparison.floor.extractor
    header = [
        "images",
        "of them",
        "reals",
        frechet_title(extractor),
        f"{frechet_title(extractor)} at ∞",
        f"{kernel_title(extractor)} × 10³",
        "precision",
        "recall",
    ]
    header += ["density", "coverage", "precision, k = 3", "recall, k = 3"]
    rows = []
    for judged in comparison.sets:
        scores, five, three = judged.whole, (judged.whole.prdc or {}).get(5), (judged.whole.prdc or {}).get(3)
        rows.append(
            [
                titles[judged.name],
                f"{scores.fakes:,}",
                f"{scores.reals:,}",
                _optional(scores.frechet),
                _optional(scores.frechet_infinity),
                _kid_cell(scores),
                *([_cell(five.precision), _cell(five.recall), _number(five.density), _cell(five.coverage)] if five else [ABSENT] * 4),
                *([_cell(three.precision), _cell(three.recall)] if three else [ABSENT] * 2),
            ]
        )
    return "\n".join(["## With all images\n", table(header, rows)])


def _memorisation_section(comparison: Comparison, titles: Mapping[str, str]) -> str:
    header = ["images", "authentic", *(f"{percentile} % are nearer than" for percentile in PERCENTILES)]
    rows = [
        [
            titles[judged.name],
            _cell(judged.memorisation.authentic),
            *(_number(fake) for fake, _ in judged.memorisation.percentiles().values()),
        ]
        for judged in comparison.sets
    ]
    reals = comparison.sets[0].memorisation.percentiles()
    rows.append(["*training images among themselves*", ABSENT, *(_number(real) for _, real in reals.values())])
    return "\n".join(
        [
            "## Copies of training images\n",
            table(header, rows),
            "Distances from an image to the nearest training image, in the extractor's features. Rows far below the last one speak of copies, and so",
            "does a low share of authentic images: those farther from their nearest training image than that one is from its own nearest (about a",
            "half when nothing is copied).\n",
        ]
    )


def _definitions(extractor: FeatureExtractor) -> str:
    seen = f"{extractor.input.side_px} px ({escape(extractor.input.resize)})" if extractor.input.side_px else "their own size"
    weights = f", weights {extractor.sha256[:16]}…" if extractor.sha256 else ""
    is_fid = is_reference_inception(extractor)
    warning = "" if is_fid else " This is not FID, which only the reference Inception network gives, and compares with no published number."
    return "\n".join(
        [
            "## What the numbers are\n",
            f"{frechet_title(extractor)}, {kernel_title(extractor)}, precision, recall, density and coverage are made from features of",
            f"{escape(extractor.name)} version {escape(extractor.version)}{weights}, which sees images at {seen}.{warning}",
            "At ∞: read at infinitely many fakes (Chong and Forsyth 2020), from 10,000 on.",
            f"{kernel_title(extractor)}: mean of the unbiased estimate over random subsets, ± their standard deviation; may be below zero.",
            "Precision, recall, density, coverage: k = 5 (Naeem et al. 2020); k = 3 as Kynkäänniemi et al. 2019.",
            "SWD: sliced Wasserstein distance of 7 × 7 patches in a Laplacian pyramid (Karras et al. 2018), mean over its levels.",
            "MS-SSIM: mean over random pairs of images of one set. In brackets: 95 % interval (Wilson for rates, bootstrap for MS-SSIM).\n",
        ]
    )


def _kid_cell(scores: ImageScores) -> str:
    if scores.kid is None:
        return ABSENT
    spread = f" ± {_number(1e3 * scores.kid.spread)}" if math.isfinite(scores.kid.spread) else ""
    return f"{_number(1e3 * scores.kid.value)}{spread}"


def _cell(number: Rate | Estimate | None) -> str:
    """Such as `0.931 (0.915…0.944)`."""
    if number is None or not math.isfinite(number.value):
        return ABSENT
    has_interval = math.isfinite(number.low) and math.isfinite(number.high)
    return f"{_number(number.value)} ({_number(number.low)}…{_number(number.high)})" if has_interval else _number(number.value)


def _optional(value: float | None) -> str:
    return ABSENT if value is None else _number(value)


def _number(value: float) -> str:
    return f"{value:.3g}" if math.isfinite(value) else ABSENT


def _rounded(value: float) -> float | int:
    return value if isinstance(value, int) else float(f"{value:.{SIGNIFICANT_DIGITS}g}")
