"""Judge the samples of PolyGPT: numbers, tables and pictures.

    python -m training.polymers.gpt.report
    python -m training.polymers.gpt.report --set with_fcd=false --set bootstrap_rounds=100    # seconds on a CPU

Reads data/polygpt_samples, the tables of real molecules, and (only to say which model was judged) data/polygpt.
Writes data/polygpt_report: metrics.json, report.md, molecules.png, requested_vs_obtained.png.
"""

import json
import sys
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy

from formats.molecule_tables import MoleculeTableError
from stages.artifact_id import content_id
from stages.markdown import png_data_uri
from stages.output_folder import OutputFolder
from stages.params import load_params
from stages.program import program
from stages.reporting import Reporter
from training.metrics import fcd
from training.metrics.distribution import DistributionScores
from training.polymers.drawings import draw_molecules, draw_requested_and_obtained
from training.polymers.sample_table import SampleTableError, read_sample_groups
from training.polymers.scorecard import flat_metrics, report_markdown
from training.polymers.scoring import (
    Dataset,
    GroupScores,
    RealMolecules,
    ScoringConfig,
    fit_surrogates,
    read_real_molecules,
    read_training,
    score_group,
    score_real_sample,
)
from training.tracking.tracker import PromotionRule, TrackingError, attach_metrics

STAGE = "polygpt_report"
MODEL = "polygpt"
SAMPLES = "polygpt_samples"

# Dagster and MLflow show Markdown from their event stores: more than this is left in the output folder and only named.
_MOST_MARKDOWN_BYTES = 200_000


@dataclass(frozen=True)
class PolyGPTReportConfig(ScoringConfig):
    """The section `polygpt_report` of params.yaml.

    trained_on: the datasets whose training splits the model saw; novelty is judged against them.
    unconditional_like, conditional_like: the dataset whose molecules the samples should look like; `polymers` also asks for two stars.
    drawn_molecules: how many molecules the picture shows. validity_floor: the check `validity_floor` warns below it.
    promote: when this model becomes the champion; null = never.
    """

    trained_on: tuple[Dataset, ...] = ("molecules",)
    unconditional_like: Dataset = "molecules"
    conditional_like: Dataset = "molecules"
    drawn_molecules: int = 24
    validity_floor: float = 0.5
    promote: PromotionRule | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.validity_floor <= 1:
            raise ValueError(f"validity_floor must lie in [0, 1], found {self.validity_floor}")
        if self.drawn_molecules < 0:
            raise ValueError(f"drawn_molecules must not be negative, found {self.drawn_molecules}")
        if not self.trained_on:
            raise ValueError("trained_on is empty; name the datasets the model was trained on")

    def like(self, mode: str) -> Dataset:
        """The dataset that samples of `mode` are judged by."""
        return self.unconditional_like if mode == "unconditional" else self.conditional_like


class EmptySamplesError(Exception):
    """There is no sample to judge."""


def make_report(config: PolyGPTReportConfig, data: Path, reporter: Reporter) -> dict[str, float]:
    """Write data/polygpt_report and return its numbers."""
    groups = read_sample_groups(data / SAMPLES / "samples.parquet")
    if not groups:
        raise EmptySamplesError(f"{data / SAMPLES}: no sample in samples.parquet; sample again: figment materialize {SAMPLES}")
    config = _without_fcd_where_it_is_missing(config, reporter)
    reals = {name: read_real_molecules(data, name, config) for name in sorted({config.like(group.mode) for group in groups})}
    known = frozenset().union(*(reals[name].training if name in reals else read_training(data, name, config) for name in config.trained_on))
    asked = {name for group in groups for name in group.requested}
    surrogates = {name: fit_surrogates(data, name, asked, config) if asked else {} for name in reals}
    scores = []
    for group in reporter.progress(groups, total=len(groups), what=STAGE):
        like = config.like(group.mode)
        scores.append(score_group(group, reals[like], known, surrogates[like], config))
    floors = _floors(scores, reals, config)
    metrics = flat_metrics(scores, floors)
    text = report_markdown("PolyGPT", scores, floors, reference_sizes={name: real.reference.size for name, real in reals.items()})
    with OutputFolder(data / STAGE) as output:
        _write(output.folder, metrics, text, scores, config)
    _tell(data / STAGE, text, metrics, scores[0], config, reporter)
    return metrics


def _without_fcd_where_it_is_missing(config: PolyGPTReportConfig, reporter: Reporter) -> PolyGPTReportConfig:
    reason = fcd.missing_reason() if config.with_fcd else None
    if reason is None:
        return config
    reporter.log(f"{STAGE}: {fcd.FCD_KEY} is left out: {reason}")
    return replace(config, with_fcd=False)


def _floors(scores: Sequence[GroupScores], reals: Mapping[Dataset, RealMolecules], config: PolyGPTReportConfig) -> dict[str, DistributionScores]:
    """By dataset that samples were compared with: as many real molecules as the largest of its groups compared."""
    largest: dict[Dataset, int] = {}
    for group in scores:
        largest[group.like] = max(largest.get(group.like, 2), group.distribution.compared)
    return {name: score_real_sample(reals[name], size, config) for name, size in sorted(largest.items())}


def _write(folder: Path, metrics: Mapping[str, float], text: str, scores: Sequence[GroupScores], config: PolyGPTReportConfig) -> None:
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=1, sort_keys=True, allow_nan=False) + "\n", encoding="utf-8")
    first = scores[0].reading
    draw_molecules(list(first.molecules.values())[: config.drawn_molecules], folder / "molecules.png")
    draw_requested_and_obtained(_panels(scores), folder / "requested_vs_obtained.png")
    (folder / "report.md").write_text(_with_pictures(text, "molecules.png", "requested_vs_obtained.png"), encoding="utf-8")


def _panels(scores: Sequence[GroupScores]) -> dict[str, tuple[numpy.ndarray, numpy.ndarray]]:
    return {
        f"{control.name}, T = {group.group.temperature:g}": (group.group.requested[control.name], group.obtained[control.name])
        for group in scores
        for control in (*group.controls, *group.predicted)
    }


def _with_pictures(text: str, molecules: str, requested: str) -> str:
    pictures = f"## The first molecules\n\n![molecules]({molecules})\n\n## Requested and obtained values\n\n![requested and obtained]({requested})\n"
    return f"{text}\n{pictures}"


def _tell(folder: Path, text: str, metrics: Mapping[str, float], headline: GroupScores, config: PolyGPTReportConfig, reporter: Reporter) -> None:
    reporter.metadata(**{name: value for name, value in metrics.items() if not name.endswith(("_low", "_high", "_n"))})
    illustrated = _with_pictures(text, png_data_uri(folder / "molecules.png"), png_data_uri(folder / "requested_vs_obtained.png"))
    reporter.markdown("report", illustrated if len(illustrated.encode()) <= _MOST_MARKDOWN_BYTES else text)
    validity = headline.distribution.validity
    reporter.check(
        "validity_floor",
        validity.trials > 0 and validity.value >= config.validity_floor,
        severity="WARN",
        samples=headline.group.name,
        valid=validity.successes,
        generated=validity.trials,
        floor=config.validity_floor,
    )


def _attach(metrics: Mapping[str, float], config: PolyGPTReportConfig, data: Path, reporter: Reporter) -> None:
    """Add the report to the model's run and version, and let the promotion rule judge."""
    model = data / MODEL
    if not model.exists():
        reporter.log(f"{STAGE}: {model} is not here, so the report is attached to no model")
        return
    rule = config.promote
    if rule is not None and rule.metric not in metrics:
        reporter.log(f"{STAGE}: no promotion, because there is no number {rule.metric} among those of the samples")
        rule = None
    artifacts = sorted((data / STAGE).iterdir())
    attach_metrics(MODEL, output_id=content_id(model), metrics=metrics, artifacts=artifacts, promote=rule, reporter=reporter)


def _body(arguments: Namespace, reporter: Reporter) -> None:
    config = load_params(arguments.params, STAGE, PolyGPTReportConfig, overrides=arguments.overrides)
    metrics = make_report(config, arguments.data, reporter)
    _attach(metrics, config, arguments.data, reporter)


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `polygpt_report`; see stages/program.py for flags and exit codes."""
    expected: tuple[type[Exception], ...] = (SampleTableError, MoleculeTableError, EmptySamplesError, TrackingError)
    return program(__doc__, _body, argv, expected=expected)


if __name__ == "__main__":
    sys.exit(main())
