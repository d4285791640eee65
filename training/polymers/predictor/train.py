"""Train the property predictor: an ensemble that says what a molecule's properties are, how sure it is, and of which molecules it knows nothing.

    python -m training.polymers.predictor.train
    python -m training.polymers.predictor.train --set total_samples=20000 --set members=2      # seconds on a CPU

Reads data/molecules, data/polymers (whichever `train_on` names); writes data/property_predictor. The same command again continues where the last
one was interrupted. Features are made by rdkit, once, when the training begins.
"""

import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy

from formats.molecule_tables import MoleculeTableError
from stages.derived_seed import derive_seed
from stages.reporting import Reporter
from training.loop.devices import Devices
from training.loop.job import Job, Training, run_job
from training.loop.loop import Outcome
from training.polymers.conditions import MoleculeModelError
from training.polymers.predictor.config import PredictorConfig
from training.polymers.predictor.data import check_enough, read_labelled
from training.polymers.predictor.domain import find_domain
from training.polymers.predictor.losses import conformal_factor
from training.polymers.predictor.model_folder import Predictor, save_predictor
from training.polymers.predictor.trainer import PredictorTrainer
from training.polymers.trainer import rounded, training_of
from training.tracking.tracker import Field, Signature


def _inputs(folder: Path, config: PredictorConfig) -> dict[str, Path]:
    return {name: folder / name for name in dict.fromkeys(config.train_on)}


def _open(folder: Path, config: PredictorConfig, devices: Devices, reporter: Reporter) -> Training:
    train, valid = (read_labelled(folder, config, split) for split in ("train", "valid"))
    check_enough(config, train=train, valid=valid)
    left_out = train.set_aside["without_a_value"]
    reporter.log(f"property_predictor: {len(train):,} molecules to learn from, {len(valid):,} held out, {left_out:,} without a value")
    trainer = PredictorTrainer(train, valid, config, devices)
    inputs = (Field("counts", "uint8", (-1, config.bits)), Field("descriptors", "float32", (-1, len(config.described_by))))
    outputs = tuple(Field(name, "float32", (-1, len(config.properties))) for name in ("mean", "std"))
    return training_of(
        trainer,
        config.train_on,
        {"train": train, "valid": valid},
        lambda folder, _: save_predictor(folder, finished(trainer)),
        facts=partial(_facts, trainer),
        size=f"{config.members} x {config.width}",
        outcome="validation_mae_over_sigma",
        signature=Signature(inputs, outputs),
    )


def finished(trainer: PredictorTrainer) -> Predictor:
    """The predictor of the best weights, calibrated on the validation split, with its domain."""
    (train, valid), scale, config, model = trainer.labelled, trainer.scale, trainer.config, trainer.final_model()
    mean, variance = (part.cpu().double().numpy() for part in model.told(*trainer.valid[:2]))
    errors, deviations = (valid.values - scale.property_mean) / scale.property_std - mean, numpy.sqrt(variance)
    factors = tuple(map(conformal_factor, errors.T, deviations.T))
    domain = find_domain(train.features, scale.descriptors(train.features), seed=derive_seed(config.seed, "domain"))
    model.shape = replace(
        model.shape,
        calibration=factors,
        elements=tuple(sorted(domain.elements)),
        similarity_at_least=domain.similarity_at_least,
        distance_at_most=domain.distance_at_most,
    )
    return Predictor(model, domain)


def _facts(trainer: PredictorTrainer, outcome: Outcome) -> dict[str, Any]:
    names, known = trainer.config.properties, [(~numpy.isnan(part.values)).sum(axis=0).tolist() for part in trainer.labelled]
    return {
        "stopped": outcome.stopped,
        "values": {split: dict(zip(names, numbers, strict=True)) for split, numbers in zip(("train", "valid"), known, strict=True)},
        "best_values": rounded(trainer.best_values),
        "calibration": rounded(dict(zip(names, trainer.model.shape.calibration, strict=True))),
    }


_LIBRARIES = ("torch", "rdkit")
JOB = Job("property_predictor", "training.polymers.predictor.train", PredictorConfig, _inputs, _open, budget="total_samples", libraries=_LIBRARIES)


def main(argv: Sequence[str] | None = None) -> int:
    """The stage `property_predictor`; see training/loop/job.py for what it does and stages/program.py for flags and exit codes."""
    return run_job(JOB, __doc__, argv, expected=(MoleculeModelError, MoleculeTableError))


if __name__ == "__main__":
    sys.exit(main())
