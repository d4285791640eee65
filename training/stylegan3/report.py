"""Judge the images that StyleGAN3 drew at several truncations: numbers beside the real/real floor, copies, tables and pictures.

    python -m training.stylegan3.report
    python -m training.stylegan3.report --set extractor=inception:weights/inception-2015-12-05.pt    # only this gives a number called FID

Reads data/toc_fakes, data/toc_dataset@SIZE and data/stylegan3_toc (its resolution, and which model was judged).
Writes data/toc_report: headline.json, metrics.json, report.md, fakes.png, nearest.png, psi_sweep.png. Features of the real images are kept under
.figment/image_features, so that they are made once for each dataset and extractor.
"""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from formats.image_shards import ImageShards
from stages.program import program
from stages.reporting import Reporter
from training.gans.report import EXPECTED, FakesError, ImageReportConfig, Sweep, judge_images, open_fakes
from training.reports.report import STATE_DIR, Report, report_body
from training.stylegan3.generator import StyleGAN3Error, read_config

STAGE = "toc_report"
MODEL = "stylegan3_toc"
FAKES = "toc_fakes"

_PSI_FOLDER = re.compile(r"psi(\d+(\.\d+)?(e-\d+)?)")


@dataclass(frozen=True)
class ToCReportConfig(ImageReportConfig):
    """The section `toc_report` of params.yaml. dataset_size: reads data/toc_dataset@SIZE, the one the model was trained on."""

    dataset_size: int = 256

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.dataset_size < 1:
            raise ValueError(f"dataset_size must be at least 1, found {self.dataset_size}")


def judge(config: ToCReportConfig, data: Path, reporter: Reporter, *, state_dir: Path = STATE_DIR) -> Report:
    """The report on the fakes below `data`, at each truncation psi."""
    fakes = read_fakes(data / FAKES, read_config(data / MODEL).resolution)
    # Folders of fakes and metrics are named by psi: psi0.8.
    named = {f"psi{psi:g}": psi for psi in fakes}
    return judge_images(
        config,
        dict(zip(named, fakes.values(), strict=True)),
        data / f"toc_dataset@{config.dataset_size}",
        reporter,
        stage=STAGE,
        model=MODEL,
        title="StyleGAN3: table-of-contents images",
        sweep=Sweep("psi", "truncation", "ψ", named),
        state_dir=state_dir,
    )


def read_fakes(folder: Path, resolution: int) -> dict[float, ImageShards]:
    """The sets of fakes by rising truncation psi."""
    found = {}
    for path in folder.glob("psi*") if folder.is_dir() else ():
        match = _PSI_FOLDER.fullmatch(path.name)
        if match and path.is_dir():
            found[float(match[1])] = open_fakes(path, resolution, MODEL)
    if not found:
        raise FakesError(f"{folder}: no set of fakes such as psi0.8 in it; sample them: figment materialize {FAKES}")
    return dict(sorted(found.items()))


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `toc_report`; see stages/program.py for flags and exit codes."""
    return program(__doc__, report_body(STAGE, ToCReportConfig, judge), argv, expected=(*EXPECTED, StyleGAN3Error))


if __name__ == "__main__":
    sys.exit(main())
