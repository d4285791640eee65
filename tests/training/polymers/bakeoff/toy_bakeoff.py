"""A data folder with real molecules, and models of which only the samples are there, written by hand."""

import json
from collections.abc import Sequence
from pathlib import Path

from tests.training.polymers.test_report import REAL, write_table
from training.polymers.sample_table import SampledMolecule, SampleRow, write_samples

WANTED = (46.0, 60.0, 78.0, 94.0)
ANSWERS = ("CCO", "CCCO", "c1ccccc1", "Oc1ccccc1")
FREE = ("CCCl", "CCCCO", "CC(")


def write_data(data: Path) -> Path:
    write_table(data / "molecules", (*REAL, "CCCCC", "CCCCl", "COC", "CCBr", "c1ccccc1", "Cc1ccccc1"))
    return data


def write_model(
    data: Path,
    name: str,
    *,
    answers: Sequence[str] = ANSWERS,
    wanted: Sequence[float] = WANTED,
    free: Sequence[str] = FREE,
    asked: str = "mol_wt",
    temperature: float = 1.0,
    data_id: str = "same",
    guided: Sequence[str] = (),
) -> None:
    """`data/<name>` and `data/<name>_samples`: `answers` to requests for the `wanted` values, and molecules written freely."""
    rows = [SampleRow("unconditional", temperature, SampledMolecule(text, True), {}) for text in free]
    rows += [SampleRow("conditional", temperature, SampledMolecule(text, True), {asked: value}) for text, value in zip(answers, wanted, strict=True)]
    rows += [
        SampleRow("conditional guided", temperature, SampledMolecule(text, True), {asked: value}) for text, value in zip(guided, wanted, strict=False)
    ]
    (data / f"{name}_samples").mkdir(parents=True)
    write_samples(rows, data / f"{name}_samples/samples.parquet", units={asked: "Da"})
    write_summary(data / name, data_id=data_id)


def write_summary(folder: Path, *, data_id: str = "same", parameters: int = 1000, samples: int = 50) -> None:
    folder.mkdir()
    (folder / "training_summary.json").write_text(json.dumps({"parameters": parameters, "samples_seen": samples}))
    (folder / "trained_on.json").write_text(json.dumps({"data_ids": {"molecules": data_id}, "split_column": "split_random"}))
