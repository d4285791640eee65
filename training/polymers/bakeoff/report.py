"""Compare every model of molecules, and what needs no model, on the same requests before the same judge.

    python -m training.polymers.bakeoff.report
    python -m training.polymers.bakeoff.report --set "models=[polygpt]" --set with_fcd=false --set samples_at_most=100     # seconds on a CPU

Reads data/<model> and data/<model>_samples of each of the `models`, data/property_predictor, and the tables of real molecules. Writes
data/molecule_bakeoff: headline.json, metrics.json, report.md, and the pictures answers.png, numbers.png, requested_vs_obtained.png. Refuses what
would not be fair: other requests, numbers, decoding or splits, and a predictor that was taught by molecules held out from a model.
"""

import math
import sys
from argparse import Namespace
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy

from formats.descriptors import DESCRIPTORS
from formats.molecule_tables import property_columns, read_molecules
from stages.program import program
from stages.reporting import Reporter
from training.polymers.bakeoff.baselines import Baselines
from training.polymers.bakeoff.compare import difference, differences, judge_entry
from training.polymers.bakeoff.config import BakeoffConfig
from training.polymers.bakeoff.entries import check_same_decoding, learnt_from, read_cost, read_entries
from training.polymers.bakeoff.pictures import bakeoff_pictures
from training.polymers.bakeoff.table import Decodings, bakeoff_headline, bakeoff_markdown, bakeoff_numbers, group_of
from training.polymers.conditions import MoleculeModelError
from training.polymers.origin import check_same_splits
from training.polymers.property_judge import PREDICTOR, Predictor, open_predictor
from training.polymers.report import EXPECTED
from training.polymers.sample_table import SampleGroup
from training.polymers.scoring import Dataset, read_background, without_absent_fcd
from training.polymers.smiles import split_smiles
from training.reports.report import Check, Report, report_body

STAGE = "molecule_bakeoff"


def judge(config: BakeoffConfig, data: Path, reporter: Reporter) -> Report:
    """The comparison of the samples below `data`."""
    config = without_absent_fcd(config, STAGE, reporter)
    groups = read_entries(data, config.models, temperatures=config.temperatures, at_most=config.samples_at_most)
    asked = sorted({name for models in groups.values() for group in models.values() for name in group.requested})
    predictor = _open_judge(data, config.models, asked)
    # All that any of the models was shown is known, for every entry alike.
    likes, beyond = {config.like(name) for name in groups}, set(asked) - set(predictor.properties if predictor else ())
    known, reals, surrogates = read_background(data, learnt_from(data, config.models), likes, beyond, config)
    baselines = {name: _baselines(data, name, asked, config) for name in likes}
    decodings: dict[str, dict] = {}
    for name, models in reporter.progress(groups.items(), total=len(groups), what=STAGE):
        like = config.like(name)
        group = next(iter(models.values()))
        everyone = models | ({} if group.is_guided else _answers(baselines[like], group, config))
        decodings[name] = {entry: judge_entry(group, reals[like], known, surrogates[like], predictor, config) for entry, group in everyone.items()}
    apart = {name: differences(judged, config) for name, judged in decodings.items()}
    tokens = float(numpy.mean([len(split_smiles(smiles)) for smiles in known.smiles])) if known.smiles else 0.0
    costs = {model: read_cost(data, model, tokens) for model in config.models}
    return Report(
        STAGE,
        config.models[0],
        bakeoff_numbers(decodings, apart, costs),
        bakeoff_markdown(config, decodings, apart, costs),
        pictures=bakeoff_pictures(decodings, config),
        checks=[_beats_baselines(decodings, config)],
        headline=bakeoff_headline(decodings),
    )


def _open_judge(data: Path, models: Sequence[str], asked: Sequence[str]) -> Predictor | None:
    """None where RDKit computes all that is asked for. A predictor that is here is checked in any case. Raises MoleculeModelError."""
    if (data / PREDICTOR).is_dir():
        for model in models:
            check_same_splits(data / PREDICTOR, data / model)
    return open_predictor(data / PREDICTOR) if set(asked) - DESCRIPTORS.keys() else None


def _baselines(data: Path, like: Dataset, asked: Sequence[str], config: BakeoffConfig) -> Baselines:
    names = [name for name in asked if name in property_columns(data / like)]
    return Baselines(read_molecules(data / like, split="train", split_column=config.split_column, properties=names), config)


def _answers(baselines: Baselines, group: SampleGroup, config: BakeoffConfig) -> dict[str, SampleGroup]:
    answers = {name: baselines.answer(name, group) for name in config.baselines}
    return {name: answer for name, answer in answers.items() if answer is not None}


def _beats_baselines(decodings: Decodings, config: BakeoffConfig) -> Check:
    """Whether the model that listens best, by mean R², listens better than each of the baselines `beaten`, by more than chance."""
    for name, judged in decodings.items():
        asked = {model: judged[model] for model in config.models if model in judged and judged[model].controls}
        if asked and not group_of(judged).is_guided:
            best = max(asked, key=lambda model: numpy.nan_to_num(asked[model].mean_r2.value, nan=-numpy.inf))
            against = {rival: difference(judged[best], judged[rival], "mean_r2", config) for rival in config.beaten if rival in judged}
            # A rival without one valid molecule has no number to beat, and neither has a model without one.
            passed = math.isfinite(asked[best].mean_r2.value) and not any(by.low <= 0 for by in against.values())
            return Check("beats_baselines", passed, {"decoding": name, "best": best, **{f"above_{one}": by.value for one, by in against.items()}})
    return Check("beats_baselines", True, {"decoding": "nothing was asked for"})


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `molecule_bakeoff`; see stages/program.py for flags and exit codes."""

    def run(arguments: Namespace, reporter: Reporter) -> None:
        made: list[tuple[BakeoffConfig, Report]] = []

        def judge_fairly(config: BakeoffConfig, data: Path, reporter: Reporter) -> Report:
            check_same_decoding(arguments.params, config.models)
            made.append((config, judge(config, data, reporter)))
            return made[0][1]

        report_body(STAGE, BakeoffConfig, judge_fairly)(arguments, reporter)
        # It is about all of them, so the runs of the others have it as well.
        for model in made[0][0].models[1:]:
            replace(made[0][1], model=model).attach(arguments.data, reporter)

    return program(__doc__, run, argv, expected=(*EXPECTED, MoleculeModelError))


if __name__ == "__main__":
    sys.exit(main())
