"""Judge the samples of a model of molecules, whatever network wrote them: numbers beside real molecules, tables and pictures.

A model's report names its stages, and has the rest from `judge_samples`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy

from formats.molecule_tables import MoleculeTableError
from stages.reporting import Reporter
from training.metrics import fcd
from training.metrics.distribution import DistributionScores
from training.polymers.drawings import draw_molecules, draw_requested_and_obtained
from training.polymers.sample_table import SampleTableError, read_sample_groups
from training.polymers.scorecard import molecule_headline, molecule_numbers, report_markdown
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
from training.reports.report import Check, Picture, Report
from training.tracking.tracker import PromotionRule, TrackingError


@dataclass(frozen=True)
class MoleculeReportConfig(ScoringConfig):
    """The section of a report's stage in params.yaml.

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


# What may be wrong with what a report on molecules reads, each with a message that says all there is to say.
EXPECTED = (SampleTableError, MoleculeTableError, TrackingError)


def judge_samples(config: MoleculeReportConfig, data: Path, reporter: Reporter, *, stage: str, model: str, samples: str, title: str) -> Report:
    """The report `stage` on what the stage `samples` drew from `model`, beside the real molecules below `data`."""
    groups = read_sample_groups(data / samples / "samples.parquet")
    if config.with_fcd and (reason := fcd.missing_reason()):
        reporter.log(f"{stage}: {fcd.FCD_KEY} is left out: {reason}")
        config = replace(config, with_fcd=False)
    # Each dataset that some group should look like is read once, and novelty is against all the model was trained on.
    reals = {name: read_real_molecules(data, name, config) for name in sorted({config.like(group.mode) for group in groups})}
    known = frozenset().union(*(reals[name].training if name in reals else read_training(data, name, config) for name in config.trained_on))
    asked = {name for group in groups for name in group.requested}
    surrogates = {name: fit_surrogates(data, name, asked, config) if asked else {} for name in reals}
    scores = []
    for group in reporter.progress(groups, total=len(groups), what=stage):
        like = config.like(group.mode)
        scores.append(score_group(group, reals[like], known, surrogates[like], config))
    # What a model can hope for: as many real molecules, judged in the same way.
    floors = _floors(scores, reals, config)
    text = report_markdown(title, scores, floors, reference_sizes={name: real.reference.size for name, real in reals.items()})
    return Report(
        stage,
        model,
        molecule_numbers(scores, floors),
        text,
        pictures=_pictures(scores, config.drawn_molecules),
        checks=[_validity_floor(scores[0], config.validity_floor)],
        headline=molecule_headline(scores),
        promote=config.promote,
    )


def _floors(scores: Sequence[GroupScores], reals: Mapping[Dataset, RealMolecules], config: MoleculeReportConfig) -> dict[str, DistributionScores]:
    """By dataset that samples were compared with: as many real molecules as the largest of its groups compared."""
    largest: dict[Dataset, int] = {}
    for group in scores:
        largest[group.like] = max(largest.get(group.like, 2), group.distribution.compared)
    return {name: score_real_sample(reals[name], size, config) for name, size in sorted(largest.items())}


def _pictures(scores: Sequence[GroupScores], drawn_molecules: int) -> list[Picture]:
    first = list(scores[0].reading.molecules.values())[:drawn_molecules]
    panels: dict[str, tuple[numpy.ndarray, numpy.ndarray]] = {
        f"{control.name}, T = {group.group.temperature:g}": (group.group.requested[control.name], group.obtained[control.name])
        for group in scores
        for control in (*group.controls, *group.predicted)
    }
    requested = "requested_vs_obtained.png"
    return [
        Picture("The first molecules", "molecules", "molecules.png", lambda path: draw_molecules(first, path)),
        Picture("Requested and obtained values", "requested and obtained", requested, lambda path: draw_requested_and_obtained(panels, path)),
    ]


def _validity_floor(headline: GroupScores, floor: float) -> Check:
    validity = headline.distribution.validity
    facts = {"samples": headline.group.name, "valid": validity.successes, "generated": validity.trials, "floor": floor}
    return Check("validity_floor", validity.trials > 0 and validity.value >= floor, facts)
