"""Judge what a CycleGAN makes of pictures, both ways: how near it comes to the other domain, what comes back, and what is left alone.

    python -m training.cyclegan.report
    python -m training.cyclegan.report --set extractor=inception:weights/inception-2015-12-05.pt    # only this gives numbers called FID and MiFID

Reads data/painted_photos, data/paintings and data/cyclegan_paintings. Writes data/paintings_report: headline.json, metrics.json, report.md and
pictures. Each way has three sets: pictures translated, the same pictures untranslated (what doing nothing would reach), and real ones of the domain
they should look like, of which one half is judged as if it were translated (the floor).
"""

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy
import torch

from formats.image_shards import ImageShards
from stages.derived_seed import derive_seed
from stages.markdown import escape, table
from stages.program import program
from stages.reporting import Reporter
from training.cyclegan.domains import float_pictures
from training.cyclegan.generator import CycleGANError, Generator, Generators, load_generators
from training.cyclegan.tiles import apply, as_channels
from training.cyclegan.translate import DIRECTIONS, MODEL, SETS, Direction, Split, read_set, there_and_back
from training.cyclegan.translate import STAGE as PAINTED
from training.gans.report import EXPECTED, ImageReportConfig, judge_images
from training.gans.report_pictures import draw_rows
from training.loop.bounds import above, at_least
from training.loop.devices import Devices, open_devices
from training.metrics.images.features import frechet_key, mifid_key, open_extractor
from training.metrics.images.scoring import Metric
from training.metrics.images.sources import ColourImages, ImageSource, batches, choose
from training.metrics.intervals import Estimate, mean_estimate
from training.reports.numbers import Headline, Numbers, cell
from training.reports.report import STATE_DIR, Check, Picture, Report, report_body

STAGE = "paintings_report"
TRANSLATED, UNTRANSLATED = "translated", "untranslated"
# Of a report on images; what lies along the axes of a spectrum is left out, there being two ways.
_PICTURES = ("fakes", "nearest", "spectra")


@dataclass(frozen=True)
class PaintingsReportConfig(ImageReportConfig):
    """The section `paintings_report`. split: whose pictures are judged, one of those of `painted_photos`. against: the reals of the other domain;
    copies are to be looked for in what was learned from, which is train.

    error_images: of each way, at most, whose way back and identity are measured. bootstrap_rounds: of their intervals.
    swd_ratio_ceiling: the check `nearer_than_untranslated` warns above it.
    """

    metrics: tuple[Metric, ...] = ("fd", "mifid", "kid", "prdc", "swd")
    split: Split = "test"
    against: Split = "train"
    error_images: int = 1000
    bootstrap_rounds: int = 1000
    swd_ratio_ceiling: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(self, 1, "error_images")
        above(self, 0, "swd_ratio_ceiling")


@dataclass(frozen=True)
class Way:
    """One way. name: such as `photo to painting`. cycle_l1: of pictures that went there and back from what they were, in [-1, 1], on average;
    identity_l1: of pictures that were of the domain already. rows: before, after and back again, uint8 [N, 3, R, R] each.
    """

    name: str
    report: Report
    cycle_l1: Estimate
    identity_l1: Estimate
    rows: Sequence[numpy.ndarray]

    @property
    def swd_ratio(self) -> float | None:
        """How far translated pictures are from real ones, over how far untranslated ones are; None where it was not asked for."""
        values = self.report.numbers.values
        before, after = (values.get(f"{name}_swd_x1000") for name in (UNTRANSLATED, TRANSLATED))
        return after / before if before and after is not None else None


def judge(config: PaintingsReportConfig, data: Path, reporter: Reporter, *, state_dir: Path = STATE_DIR) -> Report:
    """The report on data/painted_photos, both ways."""
    with open_devices() as devices:
        generators = load_generators(data / MODEL, device=devices.device)
        ways = {way: _judge_way(config, way, generators, devices, data, reporter, state_dir) for way in DIRECTIONS}
    numbers = Numbers()
    for direction, way in ways.items():
        numbers.take(f"{direction}_", way.report.numbers)
        numbers.add(f"{direction}_swd_ratio", way.swd_ratio)
        numbers.add(f"{direction}_cycle_l1", way.cycle_l1)
        numbers.add(f"{direction}_identity_l1", way.identity_l1)
    extractor = open_extractor(config.extractor, seed=config.seed)
    frechet, informed = frechet_key(extractor), mifid_key(extractor)
    headline: Headline = {way: ["swd_ratio", "cycle_l1", "identity_l1", f"{TRANSLATED}_{frechet}", f"{TRANSLATED}_{informed}"] for way in DIRECTIONS}
    # Below one title, the report of each way is a section.
    sections = (re.sub(r"^#", "##", way.report.text, flags=re.MULTILINE) for way in ways.values())
    text = "\n".join([f"# {escape(' and '.join(way.name for way in ways.values()))}\n", *_summary(ways), *sections])
    checks = _checks(ways, config.swd_ratio_ceiling)
    return Report(STAGE, MODEL, numbers, text, pictures=_pictures(ways), checks=checks, headline=headline, promote=config.promote)


def _judge_way(
    config: PaintingsReportConfig, way: Direction, generators: Generators, devices: Devices, data: Path, reporter: Reporter, state_dir: Path
) -> Way:
    made_from, made = way[0], way[2]
    domains = {"a": generators.config.domain_a, "b": generators.config.domain_b}
    name = f"{domains[made_from]} to {domains[made]}"
    after = ImageShards(data / PAINTED / way / config.split)
    before = read_set(data, config.split, made_from, after.resolution)
    sets: dict[str, ImageSource] = {TRANSLATED: after, UNTRANSLATED: before}
    if after.channels > before.channels:
        sets[UNTRANSLATED] = ColourImages(before)
    dataset = data / SETS / f"{config.against}{made.upper()}"
    reporter.log(f"{STAGE}: {name}")
    report = judge_images(config, sets, dataset, reporter, stage=STAGE, model=MODEL, title=escape(name), state_dir=state_dir)

    there, back = generators.ways[way], generators.ways[way[::-1]]
    already = read_set(data, config.split, made, after.resolution)
    sources = (choose(images, config.error_images, config.seed, "errors") for images in (before, already))
    errors = (_distances(networks, source, config, devices) for networks, source in zip(((there, back), (there,)), sources, strict=True))
    cycle, identity = (mean_estimate(values, rounds=config.bootstrap_rounds, seed=derive_seed(config.seed, "errors")) for values in errors)
    return Way(name, report, cycle, identity, there_and_back(before, after, back, config.drawn_images, devices))


def _distances(networks: Sequence[Generator], source: ImageSource, config: PaintingsReportConfig, devices: Devices) -> numpy.ndarray:
    """[N]: mean absolute distance of each picture from what one network after the other makes of it; none where they end in other channels."""
    if networks[0].channels_in != networks[-1].channels_out:
        return numpy.empty(0)
    found = []
    for _, images in batches(source, config.batch_images):
        began = pictures = float_pictures(torch.from_numpy(as_channels(images, networks[0].channels_in)), devices.device)
        for network in networks:
            pictures = apply(network, pictures, devices)
        found.append((pictures - began).abs().mean(dim=(1, 2, 3)).cpu().numpy())
    return numpy.concatenate(found).astype(numpy.float64)


def _summary(ways: Mapping[Direction, Way]) -> list[str]:
    header = ["way", "SWD × 10³, untranslated", "translated", "share", "cycle L1", "identity L1"]
    rows = []
    for way in ways.values():
        swd = [way.report.numbers.values.get(f"{name}_swd_x1000") for name in (UNTRANSLATED, TRANSLATED)]
        rows.append([escape(way.name), *map(cell, swd), cell(way.swd_ratio), cell(way.cycle_l1, with_n=True), cell(way.identity_l1, with_n=True)])
    return [
        table(header, rows),
        "Share: how far translated pictures are from real ones of the other domain, over how far they were untranslated; a half or less is what to",
        "hope for. Cycle: how far pictures that went there and back are from what they were. Identity: how far pictures that are of the other domain",
        "already are moved. Both are mean absolute distances of pictures in [-1, 1], with a 95 % bootstrap interval.\n",
    ]


def _pictures(ways: Mapping[Direction, Way]) -> list[Picture]:
    rows = "Before, after, and translated back again."
    pictures = [
        Picture(f"Before and after: {escape(way.name)}", f"{direction}-rows", f"{direction}-rows.png", partial(draw_rows, way.rows), rows)
        for direction, way in ways.items()
    ]
    for direction, way in ways.items():
        pictures += [
            replace(picture, title=f"{picture.title}: {escape(way.name)}", name=f"{direction}-{picture.name}", file=f"{direction}-{picture.file}")
            for picture in way.report.pictures
            if picture.name in _PICTURES
        ]
    return pictures


def _checks(ways: Mapping[Direction, Way], ceiling: float) -> list[Check]:
    """Of both ways, the worse one decides."""
    copies = [replace(check, facts={"way": direction, **check.facts}) for direction, way in ways.items() for check in way.report.checks]
    ratios: dict[str, float] = {direction: way.swd_ratio for direction, way in ways.items() if way.swd_ratio is not None}
    nearer = Check("nearer_than_untranslated", all(ratio <= ceiling for ratio in ratios.values()), {**ratios, "ceiling": ceiling})
    return [min(copies, key=lambda check: check.facts["authentic"]), *([nearer] if ratios else [])]


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `paintings_report`; see stages/program.py for flags and exit codes."""
    return program(__doc__, report_body(STAGE, PaintingsReportConfig, judge), argv, expected=(*EXPECTED, CycleGANError))


if __name__ == "__main__":
    sys.exit(main())
