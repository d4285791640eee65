"""Does PolyGPT learn to write molecules on a CPU? Trains presets/quality_cpu.yaml on short ZINC molecules and holds it to a bar.

    python -m bench.quality_cpu                                   # ../shared/data, a few minutes on two cores
    python -m bench.quality_cpu --smiles my.smi --samples 20000   # another list, a smaller budget (the bar is for 200,000 samples)

The bar: of 3,000 molecules, at least 65 % valid at temperature 1 and 78 % at 0.8; of the valid ones at least 97 % unique. Prints a table, exits
1 below the bar. The training is logged to the project's MLflow store; its run id is among the lines it prints.
"""

import argparse
import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rdkit import Chem, rdBase

from bench.measuring import ROOT, write_report
from training.metrics.molecules import novelty, read_generated, uniqueness, validity
from training.polymers.smiles import split_smiles

MINIMUM_VALID = {1.0: 0.65, 0.8: 0.78}
MINIMUM_UNIQUE = 0.97


def write_short_molecules(source: Path, folder: Path, *, longest: int) -> int:
    """Canonical SMILES of at most `longest` atoms and bonds as data/molecules; nine tenths are for training. Returns their number."""
    # By the molecule's own hash, so that training and validation stay the same for a longer list.
    rows = {}
    for line in source.read_text(encoding="utf-8").splitlines():
        with rdBase.BlockLogs():
            molecule = Chem.MolFromSmiles(line.split()[0]) if line.split() else None
        if molecule is not None and len(split_smiles(smiles := Chem.MolToSmiles(molecule))) <= longest:
            rows[smiles] = "valid" if int(hashlib.sha256(smiles.encode()).hexdigest()[:8], 16) % 10 == 0 else "train"
    folder.mkdir(parents=True)
    pq.write_table(pa.table({"smiles": list(rows), "split_random": list(rows.values())}), folder / "molecules-00000.parquet")
    return len(rows)


def run_stage(module: str, work: Path, *overrides: str) -> float:
    """Run a stage in `work` as `dvc repro` would; seconds it took."""
    started = time.monotonic()
    command = [sys.executable, "-m", module, "--params", str(ROOT / "presets/quality_cpu.yaml"), "--data", str(work / "data")]
    for override in overrides:
        command += ["--set", override]
    # The run belongs into the project's MLflow, although everything else of it is thrown away.
    store = f"sqlite:///{ROOT / '.figment/mlflow/mlflow.db'}"
    environment = {"MLFLOW_TRACKING_URI": store, "FIGMENT_THREADS": "1", "OMP_NUM_THREADS": "1", **os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=work, env=environment, check=True)
    return time.monotonic() - started


def judge(samples: pa.Table, training: set[str]) -> list[dict[str, float]]:
    """Validity with its 95 % Wilson interval, uniqueness among valid, novelty among unique valid, for each temperature."""
    rows = []
    for temperature in sorted(set(samples["temperature"].to_pylist()), reverse=True):
        reading = read_generated(samples.filter(pa.compute.equal(samples["temperature"], temperature))["smiles"].to_pylist())
        # Each rate with the denominator of its definition: valid of all, unique of valid, novel of unique.
        valid = validity(reading)
        rows.append(
            {
                "temperature": temperature,
                "number": valid.n,
                "valid": valid.value,
                "valid_low": valid.low,
                "valid_high": valid.high,
                "unique": uniqueness(reading).value,
                "novel": novelty(reading, training).value,
            }
        )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--smiles", type=Path, default=ROOT.parent / "shared/data/molecules/zinc/zinc_valid_24k.smi", help="one SMILES a line")
    parser.add_argument("--samples", type=int, default=200_000, help="molecules shown in training")
    parser.add_argument("--longest", type=int, default=34, help="atoms and bonds of the longest molecule taken")
    parser.add_argument("--set", action="append", default=[], dest="overrides", metavar="KEY=VALUE", help="override a polygpt parameter")
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="quality-cpu-") as name:
        work = Path(name)
        number = write_short_molecules(arguments.smiles, work / "data/molecules", longest=arguments.longest)
        run_stage("training.polymers.smiles_tokenizer", work)
        seconds = run_stage("training.polymers.gpt.train", work, f"pretrain_samples={arguments.samples}", *arguments.overrides)
        run_stage("training.polymers.gpt.sample", work)
        table = pq.read_table(work / "data/molecules/molecules-00000.parquet")
        training = set(table.filter(pa.compute.equal(table["split_random"], "train"))["smiles"].to_pylist())
        rows = judge(pq.read_table(work / "data/polygpt_samples/samples.parquet"), training)
        summary = json.loads((work / "data/polygpt/training_summary.json").read_text())
    print(f"{number:,} molecules ({len(training):,} to train on), {summary['parameters']:,} parameters")
    print(f"{arguments.samples:,} samples in {seconds:.0f} s")
    print("temperature  number  valid            unique  novel")
    for row in rows:
        interval = f"({row['valid_low']:.3f}…{row['valid_high']:.3f})"
        print(f"{row['temperature']:11.1f}  {row['number']:6d}  {row['valid']:.3f} {interval}  {row['unique']:.3f}  {row['novel']:.3f}")
    passed = all(row["valid"] >= MINIMUM_VALID[row["temperature"]] and row["unique"] >= MINIMUM_UNIQUE for row in rows)
    print("bar: " + ("met" if passed else "NOT met"))
    result = {"machine": platform.machine(), "cores": os.cpu_count(), "seconds": round(seconds), "molecules": number, "rows": rows, "passed": passed}
    write_report(arguments.json, result)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
