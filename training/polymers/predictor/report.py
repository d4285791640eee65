"""Judge the property predictor on the test split, beside predicting the mean and ridge regression.

    python -m training.polymers.predictor.report
    python -m training.polymers.predictor.report --set bootstrap_rounds=100 --set ridge_at_most=1000      # seconds on a CPU

Reads data/property_predictor and the tables that it was taught by. Writes data/predictor_report: headline.json, metrics.json, report.md, and the
pictures parity.png and calibration.png.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import NormalDist
from typing import Any, Literal

from formats.molecule_tables import MoleculeTableError
from stages.artifact_id import content_id
from stages.markdown import escape, table
from stages.program import program
from stages.reporting import Reporter
from training.loop.bounds import at_least, within
from training.metrics.intervals import Estimate, Number, Rate, bootstrap_interval, mean_estimate
from training.metrics.regression import r_squared_estimate
from training.polymers.conditions import MoleculeModelError
from training.polymers.origin import Origin, read_origin
from training.polymers.predictor.config import PredictorConfig
from training.polymers.predictor.data import read_labelled
from training.polymers.predictor.judging import WMAE, Judged, judge_molecules, weighted_mae
from training.polymers.predictor.losses import COVERAGE
from training.polymers.predictor.model_folder import load_predictor
from training.reports.numbers import Numbers, cell
from training.reports.pictures import draw_panels
from training.reports.report import Check, Picture, Report, report_body
from training.tracking.tracker import PromotionRule, TrackingError

STAGE, MODEL = "predictor_report", "property_predictor"
_MEASURES = {"mae": "MAE", "mae_over_sigma": "MAE/σ", "rmse": "RMSE", "r2": "R²"}
# Nominal coverages of the calibration chart.
_LEVELS = tuple(number / 20 for number in range(1, 20))
_MOST_POINTS = 2_000


@dataclass(frozen=True)
class PredictorReportConfig:
    """The section `predictor_report`. train_on, split_column: as in property_predictor; the test split is judged.

    ridge_at_most: training molecules, drawn at random, that teach the ridge regression beside it; 0 = none. bootstrap_rounds, seed: of intervals.
    coverage_floor: the check `coverage_floor` warns where fewer true values of some property lie in their 90 % intervals.
    """

    train_on: tuple[Literal["molecules", "polymers"], ...] = ("molecules",)
    split_column: Literal["split_random", "split_scaffold"] = "split_random"
    ridge_at_most: int = 10_000
    bootstrap_rounds: int = 1_000
    coverage_floor: float = 0.8
    seed: int = 0
    promote: PromotionRule | None = None

    def __post_init__(self) -> None:
        at_least(self, 0, "ridge_at_most", "bootstrap_rounds")
        within(self, 0, 1, "coverage_floor")


def judge(config: PredictorReportConfig, data: Path, reporter: Reporter) -> Report:
    """The report on the predictor below `data`. Raises MoleculeModelError where it was taught by what it would be judged on."""
    predictor = load_predictor(data / MODEL)
    now = Origin({name: content_id(data / name) for name in sorted(config.train_on) if (data / name).exists()}, config.split_column)
    if read_origin(data / MODEL) != now:
        raise MoleculeModelError(
            f"{data / MODEL} was not taught by the training part of {config.split_column} of {', '.join(config.train_on)} as they are now: what it "
            f"would be judged on may have taught it (leakage); train it again, or set train_on and split_column as in {MODEL}"
        )
    how = PredictorConfig(train_on=config.train_on, split_column=config.split_column, properties=predictor.properties)
    test = read_labelled(data, how, "test", recipe=predictor.recipe)
    if not len(test):
        names = ", ".join(predictor.properties)
        raise MoleculeModelError(f"{data}: no value of {names} in the test part of {config.split_column}; raise test_fraction")
    teachers = read_labelled(data, how, "train", recipe=predictor.recipe, at_most=config.ridge_at_most, seed=config.seed)
    judged, predictions = judge_molecules(predictor, teachers, test)
    reporter.log(f"{STAGE}: {len(test):,} molecules judged")
    domain, numbers = Rate(int(predictions.in_domain.sum()), len(test)), Numbers()
    numbers.add("in_domain", domain)
    factors = dict(zip(predictor.properties, predictor.model.shape.calibration, strict=True))
    text = "\n".join(_lines(judged, numbers, factors, domain, config))
    worst = min(judged, key=lambda one: one.coverage.value)
    facts = {"property": worst.name, "coverage": round(worst.coverage.value, 4), "floor": config.coverage_floor}
    return Report(
        STAGE,
        MODEL,
        numbers,
        text,
        pictures=_pictures(judged),
        checks=[Check("coverage_floor", worst.coverage.value >= config.coverage_floor, facts)],
        headline={"challenge": ("wmae", "wmae_ridge"), **{one.name: ("mae_over_sigma", "r2", "coverage_90") for one in judged}},
        promote=config.promote,
    )


def _lines(judged: Sequence[Judged], numbers: Numbers, factors: Mapping[str, float], domain: Rate, config: PredictorReportConfig) -> Iterator[str]:
    """The report, paragraph by paragraph; every number in it is added to `numbers`."""

    def told(name: str, number: Number) -> str:
        numbers.add(name, number)
        return cell(number)

    rows, against, sure, sides = [], [], [], []
    rounds = {"rounds": config.bootstrap_rounds, "seed": config.seed}
    for one in judged:
        title = f"{escape(one.name)} ({escape(one.unit)})" if one.unit else escape(one.name)
        for way in one.ways:
            measured = _measured(one, way, rounds).items()
            rows.append([title, way, *(told(f"{one.name}{_of(way)}_{measure}", number) for measure, number in measured), f"{len(one.true):,}"])
        if "ridge" in one.ways:
            ahead = mean_estimate(one.errors("ridge") - one.errors(), **rounds)
            verdict = "the predictor is better" if ahead.low > 0 else "ridge is better" if ahead.high < 0 else "not told apart"
            against.append([title, told(f"{one.name}_ahead_of_ridge", ahead), verdict])
        numbers.add(f"{one.name}_coverage_90", one.coverage)
        sure.append([title, cell(one.coverage, with_n=True), cell(factors[one.name])])
        errors = {side: one.errors()[is_there] for side, is_there in (("inside", one.inside), ("outside", ~one.inside))}
        maes = [f"{told(f'{one.name}_{side}_mae', mean_estimate(some, **rounds))}, n = {len(some):,}" for side, some in errors.items()]
        sides.append([title, *maes])
    yield "# Property predictor\n"
    yield table(["property", "predicted by", *_MEASURES.values(), "n"], rows)
    yield f"""On the test part of `{config.split_column}`. σ: standard deviation of the true values there. `mean`: of the training part. `ridge`:
ridge regression on the same features, taught by at most {config.ridge_at_most:,} training molecules. In brackets: 95 % interval (bootstrap).
"""
    if against:
        yield table(["property", "MAE of ridge less that of the predictor", "verdict"], against)
    yield "## How sure it is\n"
    yield table(["property", "coverage of the 90 % interval", "calibration factor"], sure)
    yield """The factor multiplies the spread that the ensemble tells, so that on the validation split nine in ten true values lie in the interval
(split conformal prediction). It is above 1 where the ensemble is too sure of itself.

## Where it knows its way
"""
    yield table(["property", "MAE inside the domain", "MAE outside"], sides)
    yield f"Inside are {cell(domain, with_n=True)} of the test molecules.\n"
    weighted = [[way, told(f"challenge_wmae{_of(way)}", weighted_mae(judged, way))] for way in judged[0].ways]
    if "challenge_wmae" in numbers.values:
        yield "## Open Polymer Challenge\n"
        yield table(["predicted by", "wMAE"], weighted)
        yield f"{WMAE} Ranges are those of the test part.\n"


def _measured(one: Judged, way: str, rounds: dict[str, int]) -> dict[str, Estimate]:
    errors, number = one.errors(way), len(one.true)
    mae, squares = mean_estimate(errors, **rounds), errors**2
    # The deviation is the ruler, and held fixed.
    sigma = float(one.true.std()) or float("nan")
    over_sigma = Estimate(mae.value / sigma, number, mae.low / sigma, mae.high / sigma)
    rmse = Estimate(float(squares.mean() ** 0.5), number, *bootstrap_interval(number, lambda picks: squares[picks].mean(axis=1) ** 0.5, **rounds))
    return {"mae": mae, "mae_over_sigma": over_sigma, "rmse": rmse, "r2": r_squared_estimate(one.true, one.ways[way], **rounds)}


def _of(way: str) -> str:
    return "" if way == "predictor" else f"_{way}"


def _pictures(judged: Sequence[Judged]) -> list[Picture]:
    charts = [{one.name: partial(draw, judged=one) for one in judged} for draw in (_draw_parity, _draw_calibration)]
    parity, calibration = (partial(draw_panels, panels, nothing="no property was judged") for panels in charts)
    words = "Share of true values in intervals that promise a share, if errors are normal; only the one at 0.9 was calibrated."
    return [
        Picture("Predicted and true values", "parity", "parity.png", parity),
        Picture("Coverage of the intervals", "calibration", "calibration.png", calibration, words=words),
    ]


def _draw_parity(axes: Any, *, judged: Judged) -> None:
    true, predicted = judged.true, judged.ways["predictor"]
    for is_there, colour in ((judged.inside, "tab:blue"), (~judged.inside, "tab:red")):
        axes.scatter(true[is_there][:_MOST_POINTS], predicted[is_there][:_MOST_POINTS], s=5, alpha=0.5, linewidths=0, color=colour)
    ends = [min(true.min(), predicted.min()), max(true.max(), predicted.max())]
    axes.plot(ends, ends, color="black", linewidth=0.7)
    axes.set_xlabel("true (red: outside the domain)", fontsize=7)
    axes.set_ylabel("predicted", fontsize=7)


def _draw_calibration(axes: Any, *, judged: Judged) -> None:
    scores = judged.errors() / judged.deviation
    axes.plot([0, 1], [0, 1], color="black", linewidth=0.7)
    axes.plot(_LEVELS, [float((scores <= NormalDist().inv_cdf((1 + level) / 2)).mean()) for level in _LEVELS], marker=".", linewidth=1)
    axes.axvline(COVERAGE, color="grey", linewidth=0.5)
    axes.set_xlabel("promised", fontsize=7)
    axes.set_ylabel("covered", fontsize=7)


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `predictor_report`; see stages/program.py for flags and exit codes."""
    return program(__doc__, report_body(STAGE, PredictorReportConfig, judge), argv, expected=(MoleculeModelError, MoleculeTableError, TrackingError))


if __name__ == "__main__":
    sys.exit(main())
