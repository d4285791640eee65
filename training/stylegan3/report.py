"""Judge the images that StyleGAN3 drew at several truncations: numbers beside the real/real floor, copies, tables and pictures.

    python -m training.stylegan3.report
    python -m training.stylegan3.report --set extractor=inception:weights/inception-2015-12-05.pt    # only this gives a number called FID

Reads data/toc_fakes, data/toc_dataset@SIZE and data/stylegan3_toc (its resolution, and which model was judged).
Writes data/toc_report: headline.json, metrics.json, report.md, fakes.png, nearest.png, psi_sweep.png. Features of the real images are kept under
.figment/image_features, so that they are made once for each dataset and extractor.

Beside the fakes, the network itself is judged: how it follows when its input moves, and how smooth W is. spectra.png and slices.png show averaged
power spectra.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, get_args

from stages.markdown import escape, table
from stages.program import program
from stages.reporting import Reporter
from training.gans.report import EXPECTED, ImageReportConfig, judge_truncations
from training.loop.bounds import at_least
from training.loop.devices import open_devices
from training.metrics.images.perceptual import PerceptualDistanceError, open_distance
from training.metrics.intervals import Estimate
from training.reports.numbers import cell
from training.reports.report import STATE_DIR, Report, report_body
from training.stylegan3.equivariance import EQUIVARIANCE_METRICS, measure_equivariance
from training.stylegan3.generator import StyleGAN3Error, load_generator, read_config
from training.stylegan3.path_length import measure_path_length

STAGE = "toc_report"
MODEL = "stylegan3_toc"
FAKES = "toc_fakes"

GeneratorMetric = Literal["eqt", "eqt_frac", "eqr", "ppl_wend", "ppl_wfull"]
GENERATOR_METRICS: tuple[GeneratorMetric, ...] = get_args(GeneratorMetric)

# Extractors see small images; a generator of 1024 px has no room for as many.
_PICTURES_SIDE_BY_SIDE = 16


@dataclass(frozen=True)
class ToCReportConfig(ImageReportConfig):
    """The section `toc_report` of params.yaml. dataset_size: reads data/toc_dataset@SIZE, the one the model was trained on.

    generator_metrics: of the network itself, at psi 1. eq_samples, ppl_samples: pictures and pairs that they are measured with; published 50,000 and
    100,000. distance: of the path length, see `open_distance`.
    """

    dataset_size: int = 256
    generator_metrics: tuple[GeneratorMetric, ...] = GENERATOR_METRICS
    eq_samples: int = 1000
    ppl_samples: int = 1000
    distance: str = "random"

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "dataset_size", "eq_samples")
        at_least(self, 2, "ppl_samples")


def judge(config: ToCReportConfig, data: Path, reporter: Reporter, *, state_dir: Path = STATE_DIR) -> Report:
    """The report on the fakes below `data`, at each truncation psi."""
    report = judge_truncations(
        config,
        data / FAKES,
        data / f"toc_dataset@{config.dataset_size}",
        reporter,
        resolution=read_config(data / MODEL).resolution,
        stage=STAGE,
        model=MODEL,
        title="StyleGAN3: table-of-contents images",
        state_dir=state_dir,
    )
    if not config.generator_metrics:
        return report
    reporter.log(f"{STAGE}: judging the generator itself")
    found = judge_generator(config, data / MODEL)
    for name, number in found.items():
        report.numbers.add(name, number)
    return replace(report, text=report.text + _generator_section(found, config))


def judge_generator(config: ToCReportConfig, model: Path) -> dict[str, Estimate]:
    """The numbers about the network in the folder `model`, by name."""
    found: dict[str, Estimate] = {}
    with open_devices() as devices:
        generator = load_generator(model, device=devices.device)
        moves = [metric for metric in EQUIVARIANCE_METRICS if metric in config.generator_metrics]
        batch = min(config.batch_images, _PICTURES_SIDE_BY_SIDE)
        found |= measure_equivariance(generator, moves, pictures=config.eq_samples, batch=batch, seed=config.seed)
        distance = open_distance(config.distance, seed=config.seed, device=devices.device)
        settings = {"pictures": config.ppl_samples, "batch": batch, "seed": config.seed}
        if "ppl_wend" in config.generator_metrics:
            found |= measure_path_length(generator, distance, where="end", **settings)
        if "ppl_wfull" in config.generator_metrics:
            found |= measure_path_length(generator, distance, where="full", **settings)
    return found


def _generator_section(found: Mapping[str, Estimate], config: ToCReportConfig) -> str:
    titles = {"eqt_db": "EQ-T, dB", "eqt_frac_db": "EQ-T_frac, dB", "eqr_db": "EQ-R, dB"}
    rows = [[titles.get(name, escape(name)), cell(number, with_n=True)] for name, number in found.items()]
    lines = [
        "\n## The generator itself\n",
        table(["number", "at ψ = 1"], rows),
        "EQ: how well a picture follows when the network's input is moved by whole pixels, by parts of them, or turned (Karras et al. 2021); about",
        "60 dB or more is an alias-free network, about 20 dB one whose detail sticks to the pixels; the last two cannot rise much above 50 dB.",
        "PPL: how much a picture changes for a small step in W, at the end of a path or anywhere on it (Karras et al. 2019); lower is smoother.",
    ]
    if config.distance == "random":
        lines.append("It was seen by random convolutions here, not by LPIPS, and compares with no published number.")
    return "\n".join(lines) + "\n"


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `toc_report`; see stages/program.py for flags and exit codes."""
    return program(__doc__, report_body(STAGE, ToCReportConfig, judge), argv, expected=(*EXPECTED, StyleGAN3Error, PerceptualDistanceError))


if __name__ == "__main__":
    sys.exit(main())
