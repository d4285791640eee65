"""Cross-validate the property predictor over all of a table, beside ridge regression; prints the folds, their mean and their spread.

    python -m training.polymers.predictor.cross_validate
    python -m training.polymers.predictor.cross_validate --params presets/shared.yaml --folds 5 --most-folds 1

Reads the section property_predictor and its tables, whose splits do not count here: each molecule is in one fold, drawn by the seed, and judged by
what the others taught, of which a tenth chose the best weights and calibrated. Writes nothing.
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy

from formats.molecule_tables import MoleculeTableError
from stages.artifact_id import content_id
from stages.derived_seed import derive_seed
from stages.params import ParamsError, load_params
from stages.program import program
from stages.reporting import Reporter
from training.loop.devices import Devices, open_devices
from training.metrics.regression import r_squared
from training.polymers.conditions import MoleculeModelError
from training.polymers.predictor.config import PredictorConfig
from training.polymers.predictor.data import Labelled, check_enough, read_labelled
from training.polymers.predictor.judging import WMAE, Judged, judge_molecules, weighted_mae
from training.polymers.predictor.model_folder import Predictor
from training.polymers.predictor.train import finished
from training.polymers.predictor.trainer import PredictorTrainer

_VALIDATION_SHARE = 0.1


def fit(train: Labelled, valid: Labelled, config: PredictorConfig, devices: Devices) -> Predictor:
    """What the stage trains, without checkpoints and records."""
    check_enough(config, train=train, valid=valid)
    trainer, due = PredictorTrainer(train, valid, config, devices), config.checkpoint_every_samples
    while trainer.samples_seen < config.total_samples and trainer.why_done() is None:
        trainer.step()
        if trainer.samples_seen >= min(due, config.total_samples):
            trainer.validate()
            due += config.checkpoint_every_samples
    return finished(trainer)


def _run(arguments: Namespace, reporter: Reporter) -> None:
    if arguments.folds < 2:
        raise ParamsError(f"--folds must be at least 2, found {arguments.folds}")
    config = load_params(arguments.params, "property_predictor", PredictorConfig, overrides=arguments.overrides)
    for dataset in dict.fromkeys(config.train_on):
        reporter.log(f"{arguments.data / dataset}: {content_id(arguments.data / dataset)}")
    everything = read_labelled(arguments.data, config, "train", "valid", "test")
    ranges = dict(zip(config.properties, (numpy.nanmax(everything.values, axis=0) - numpy.nanmin(everything.values, axis=0)).tolist(), strict=True))
    order = numpy.random.default_rng(derive_seed(config.seed, "folds")).permutation(len(everything))
    scores: dict[str, list[float]] = {}
    with open_devices() as devices:
        for fold in range(min(arguments.folds, arguments.most_folds or arguments.folds)):
            test, rest = (everything.rows(rows) for rows in (order[fold :: arguments.folds], numpy.delete(order, numpy.s_[fold :: arguments.folds])))
            held_out = numpy.arange(len(rest)) < round(len(rest) * _VALIDATION_SHARE)
            train, valid = (rest.rows(numpy.flatnonzero(chosen)) for chosen in (~held_out, held_out))
            predictor = fit(train, valid, replace(config, seed=derive_seed(config.seed, "fold", fold)), devices)
            # The ridge needs no molecules held out, and may learn from these, too.
            judged, predictions = judge_molecules(predictor, rest, test)
            numbers = {**_numbers(judged, ranges), "in domain": float(predictions.in_domain.mean())}
            print(f"fold {fold}, {len(test):,} molecules: " + ", ".join(f"{name} {number:.4g}" for name, number in numbers.items()), flush=True)
            for name, number in numbers.items():
                scores.setdefault(name, []).append(number)
    for name, values in scores.items():
        print(f"{name}: {numpy.mean(values):.4g}" + (f" ± {numpy.std(values, ddof=1):.2g}" if len(values) > 1 else ""))
    print(f"± is the standard deviation over folds. {WMAE} `of all`: ranges of the whole table, as in the challenge's program, not of the fold.")


def _numbers(judged: Sequence[Judged], ranges: Mapping[str, float]) -> dict[str, float]:
    numbers: dict[str, float] = {}
    for way in judged[0].ways:
        weighted = {"wMAE": weighted_mae(judged, way), "wMAE of all": weighted_mae(judged, way, ranges)}
        numbers |= {f"{way} {name}": value for name, value in weighted.items() if not numpy.isnan(value)}
    for one in judged:
        for way, predicted in one.ways.items():
            numbers[f"{way} {one.name} MAE"] = float(one.errors(way).mean())
            numbers[f"{way} {one.name} RMSE"] = float((one.errors(way) ** 2).mean() ** 0.5)
            numbers[f"{way} {one.name} R²"] = r_squared(one.true, predicted)
        numbers[f"{one.name} in 90 % intervals"] = one.coverage.value
    return numbers


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("--folds", type=int, default=5, metavar="K", help="parts of the table (default: %(default)s)")
    parser.add_argument("--most-folds", type=int, metavar="N", help="judge by the first N of them only")


def main(argv: Sequence[str] | None = None) -> int:
    """See stages/program.py for flags and exit codes."""
    return program(__doc__, _run, argv, expected=(MoleculeModelError, MoleculeTableError), configure=_configure)


if __name__ == "__main__":
    sys.exit(main())
