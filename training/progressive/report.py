"""Judge the pages that a Progressive GAN drew: numbers beside the real/real floor, copies, the distance of text lines, tables and pictures.

    python -m training.progressive.report
    python -m training.progressive.report --set extractor=inception:weights/inception-2015-12-05.pt    # only this gives a number called FID

Reads data/book_fakes, data/page_dataset@SIZE and data/pggan_pages (its resolution, and which model was judged). Writes data/book_report.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from formats.image_shards import ImageShards
from stages.markdown import table
from stages.program import program
from stages.reporting import Reporter
from training.gans.report import EXPECTED, ImageReportConfig, judge_truncations, read_truncations
from training.loop.bounds import at_least
from training.metrics.images.line_period import LinePeriod, line_period
from training.metrics.images.sources import choose
from training.progressive.generator import FILES, ProgressiveError
from training.reports.numbers import cell
from training.reports.pictures import draw_panels
from training.reports.report import STATE_DIR, Check, Picture, Report, report_body

STAGE = "book_report"
MODEL = "pggan_pages"
FAKES = "book_fakes"

_REALS = "real"
_LINES = "line_period_px"
# Of each set, at most so many are asked how far apart their lines are; so much farther or nearer than those of reals is wrong.
_LINE_IMAGES, _TOLERANCE_PX = 2000, 1.0


@dataclass(frozen=True)
class BookReportConfig(ImageReportConfig):
    """The section `book_report`. dataset_size: reads data/page_dataset@SIZE, the one the model was trained on."""

    dataset_size: int = 128

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "dataset_size")


def judge(config: BookReportConfig, data: Path, reporter: Reporter, *, state_dir: Path = STATE_DIR) -> Report:
    """The report on the fakes below `data`, at each psi."""
    resolution, dataset = FILES.read_config(data / MODEL).resolution, data / f"page_dataset@{config.dataset_size}"
    report = judge_truncations(
        config,
        data / FAKES,
        dataset,
        reporter,
        resolution=resolution,
        stage=STAGE,
        model=MODEL,
        title="Progressive GAN: book pages",
        state_dir=state_dir,
    )
    reporter.log(f"{STAGE}: lines of text")
    everything = {**read_truncations(data / FAKES, resolution, MODEL), _REALS: ImageShards(dataset, resolution=resolution)}
    periods = {name: line_period(choose(images, _LINE_IMAGES, config.seed, "lines")) for name, images in everything.items()}
    for name, found in periods.items():
        report.numbers.add(f"{name}_{_LINES}", found.period_px)
    # A headline has ten places: lines take those of the distance with all images and of the authentic share, which has a check of its own.
    judged = next(iter(report.headline))
    headline = {judged: [*report.headline[judged][1:-1], _LINES], _REALS: [*report.headline[_REALS], _LINES]}
    pictures = [*report.pictures, Picture("Rows that repeat", "lines", "lines.png", partial(_draw, periods))]
    checks = [*report.checks, lines_check(periods, judged)]
    return replace(report, text=report.text + _section(periods), pictures=pictures, checks=checks, headline=headline)


def lines_check(periods: Mapping[str, LinePeriod], judged: str) -> Check:
    """Whether lines of the set `judged` are as far apart as those of reals; where reals have none, nothing is asked."""
    fake, real = periods[judged].period_px, periods[_REALS].period_px
    passed = real is None or (fake is not None and abs(fake - real) <= _TOLERANCE_PX)
    named = {_LINES: fake, f"{_REALS}_{_LINES}": real}
    return Check("text_lines", passed, {"images": judged, "tolerance_px": _TOLERANCE_PX, **{name: value for name, value in named.items() if value}})


def _section(periods: Mapping[str, LinePeriod]) -> str:
    titles = {name: "*real images*" if name == _REALS else f"ψ = {name.removeprefix('psi')}" for name in periods}
    rows = [[titles[name], f"{found.images:,}", cell(found.period_px)] for name, found in periods.items()]
    return (
        f"\n## Lines of text\n\n{table(['images', 'with rows that differ', 'lines are apart, px'], rows)}\n"
        "The first high peak of the averaged autocorrelation of steps between row means; a dash where nothing repeats, because lines run\n"
        "together at this size or are not there. A model that has learned lines has them within a pixel of the real ones.\n"
    )


def _draw(periods: Mapping[str, LinePeriod], path: Path) -> None:
    def lines(axes: Any) -> None:
        for index, (name, found) in enumerate(periods.items()):
            axes.plot(found.correlation, linewidth=1, linestyle="--" if name == _REALS else "-", color=f"C{index}", label=name)
        axes.set_xlabel("rows apart", fontsize=7)
        axes.set_ylim(-1, 1.02)
        axes.legend(fontsize=5)

    draw_panels({"likeness of steps from row to row": lines}, path, nothing="")


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `book_report`; see stages/program.py for flags and exit codes."""
    return program(__doc__, report_body(STAGE, BookReportConfig, judge), argv, expected=(*EXPECTED, ProgressiveError))


if __name__ == "__main__":
    sys.exit(main())
