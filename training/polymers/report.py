"""Judge the samples of a model of molecules, whatever network wrote them: numbers beside real molecules, tables and pictures.

A model's report names its stages, and has the rest from `judge_samples`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy
from rdkit import Chem
from rdkit.Chem import Mol

from formats.molecule_tables import MoleculeTableError
from stages.reporting import Reporter
from training.metrics.copies import Copy, TrainingMolecules
from training.metrics.distribution import DistributionScores
from training.polymers.drawings import draw_molecules, draw_novelty, draw_pairs, draw_requested_and_obtained
from training.polymers.sample_table import GUIDED, SampleTableError, read_sample_groups
from training.polymers.scorecard import molecule_headline, molecule_numbers, report_markdown
from training.polymers.scoring import (
    Dataset,
    GroupScores,
    RealMolecules,
    ScoringConfig,
    read_background,
    score_group,
    score_real_sample,
    without_absent_fcd,
)
from training.reports.report import Check, Picture, Report
from training.tracking.tracker import PromotionRule, TrackingError

_DRAWN_COPIES = 9


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
        return self.unconditional_like if mode.removesuffix(GUIDED) == "unconditional" else self.conditional_like


# What may be wrong with what a report on molecules reads, each with a message that says all there is to say.
EXPECTED = (SampleTableError, MoleculeTableError, TrackingError)


def judge_samples(config: MoleculeReportConfig, data: Path, reporter: Reporter, *, stage: str, model: str, samples: str, title: str) -> Report:
    """The report `stage` on what the stage `samples` drew from `model`, beside the real molecules below `data`."""
    groups = read_sample_groups(data / samples / "samples.parquet")
    config = without_absent_fcd(config, stage, reporter)
    asked, likes = {name for group in groups for name in group.requested}, {config.like(group.mode) for group in groups}
    known, reals, surrogates = read_background(data, config.trained_on, likes, asked, config)
    scores = []
    for group in reporter.progress(groups, total=len(groups), what=stage):
        like = config.like(group.mode)
        scores.append(score_group(group, reals[like], known, surrogates[like], config))
    # What a model can hope for: as many real molecules, judged in the same way.
    floors = _floors(scores, reals, known, config)
    return Report(
        stage,
        model,
        molecule_numbers(scores, floors),
        report_markdown(title, scores, floors, near_copy_similarity=config.near_copy_similarity),
        pictures=_pictures(scores, config.drawn_molecules),
        checks=[_validity_floor(scores[0], config.validity_floor)],
        headline=molecule_headline(scores),
        promote=config.promote,
    )


def _floors(
    scores: Sequence[GroupScores], reals: Mapping[Dataset, RealMolecules], known: TrainingMolecules, config: MoleculeReportConfig
) -> dict[str, DistributionScores]:
    """By dataset that samples were compared with: as many real molecules as the largest of its groups compared."""
    largest: dict[Dataset, int] = {}
    for group in scores:
        largest[group.like] = max(largest.get(group.like, 2), group.distribution.compared)
    return {name: score_real_sample(reals[name], known, size, config) for name, size in sorted(largest.items())}


def _pictures(scores: Sequence[GroupScores], drawn_molecules: int) -> list[Picture]:
    first = list(scores[0].reading.molecules.values())[:drawn_molecules]
    panels: dict[str, tuple[numpy.ndarray, numpy.ndarray]] = {
        f"{control.name}, T = {group.group.temperature:g}": (group.group.requested[control.name], group.obtained[control.name])
        for group in scores
        for control in (*group.controls, *group.predicted)
    }
    requested = "requested_vs_obtained.png"
    curves = {
        f"{group.group.mode}, T = {group.group.temperature:g}": group.distribution.novelty_curve or {} for group in scores if group.group.smiles
    }
    copies = scores[0].distribution.copies
    pairs = [_pair(scores[0], copy) for copy in (copies.examples if copies else ())[:_DRAWN_COPIES]]
    return [
        Picture("The first molecules", "molecules", "molecules.png", lambda path: draw_molecules(first, path)),
        Picture(
            "New molecules over the number of samples",
            "novelty curve",
            "novelty.png",
            lambda path: draw_novelty(curves, path),
            words="What a model has to give is spent where the right chart falls.",
        ),
        Picture(
            "Near-copies beside what they copy",
            "near-copies",
            "near_copies.png",
            lambda path: draw_pairs(pairs, path, nothing="no near-copy of a training molecule"),
            words="The most like ones of the first group, with their similarity; stereoisomers come first.",
        ),
        Picture("Requested and obtained values", "requested and obtained", requested, lambda path: draw_requested_and_obtained(panels, path)),
    ]


def _pair(group: GroupScores, copy: Copy) -> tuple[Mol, Mol, str]:
    words = "stereoisomer" if copy.is_stereoisomer else f"similarity {copy.similarity:.2f}"
    return group.reading.molecules[copy.smiles], Chem.MolFromSmiles(copy.training), words


def _validity_floor(headline: GroupScores, floor: float) -> Check:
    validity = headline.distribution.validity
    facts = {"samples": headline.group.name, "valid": validity.successes, "generated": validity.trials, "floor": floor}
    return Check("validity_floor", validity.trials > 0 and validity.value >= floor, facts)
