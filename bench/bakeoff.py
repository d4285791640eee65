"""Every model of molecules from several seeds, on the same data, budget and judge: the table of the bake-off with what chance of training adds.

    python -m bench bakeoff                                      # polygpt, tiny, one seed
    python -m bench bakeoff --scale std --seeds 3                # all models as params.yaml says: hours on a CPU
    python -m bench bakeoff --seeds 3 --preset presets/shared.yaml --models polygpt polyvae --samples 1000

Trains, samples and judges in a scratch folder, by the commands of dvc.yaml. Requests and dice of sampling are the same for every seed, so that what
varies is the training. Prints mean ± standard deviation over the seeds, CPU seconds of the trainings, and how many molecules a second each writes.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.measuring import ONE_THREAD, ROOT, cpu_and_wall_s, parser, processor, write_report
from formats.descriptors import DESCRIPTORS
from orchestration.cli.preset import apply_preset
from stages.params import read_yaml
from training.loop.devices import open_devices
from training.metrics.intervals import Spread
from training.polymers.decoding import SamplingSettings
from training.polymers.generate import MODELS, open_model
from training.reports.numbers import cell

# A look: one small model of few molecules.
SMOKE = """\
molecule_sources: {sources: [{name: nci, kind: rdkit, path: Contrib/fraggle/data/ChEMBL_11265_actives.smi, licence: BSD-3-Clause, role: molecules}]}
smiles_tokenizer: {read: [molecules]}
polygpt: {width: 32, layers: 1, heads: 2, pretrain_samples: 640, finetune_samples: 640, warmup_samples: 64}
polygpt_samples: {unconditional: 20, conditional: 20, temperatures: [1.0]}
molecule_bakeoff: {with_fcd: false, bootstrap_rounds: 50, uniqueness_at: [20]}
"""
DATA_STAGES = ("molecule_sources", "molecules", "polymers", "smiles_tokenizer")
SHOWN = ("validity", "novelty", "quality", "mean_r2", "success")


class Bakery:
    """A scratch folder in which stages are run. cpu_s: by what was run, CPU seconds, one a seed."""

    def __init__(self, work: Path, presets: Sequence[Path]) -> None:
        self.work, self.data = work, work / "data"
        self.params = work / "params.yaml"
        shutil.copyfile(ROOT / "params.yaml", self.params)
        for preset in presets:
            apply_preset(self.params, preset)
        self.commands: Mapping[str, Any] = read_yaml(ROOT / "dvc.yaml")["stages"]
        self.sections: Mapping[str, Any] = read_yaml(self.params)

    def run(self, stage: str, **overrides: Any) -> float:
        """CPU seconds of the stage, run as `dvc repro` would."""
        _, *words = self.commands[stage]["cmd"].split()
        settings = [word for key, value in overrides.items() for word in ("--set", f"{key}={json.dumps(value)}")]
        command = [sys.executable, *words, "--params", str(self.params), "--data", str(self.data), *settings]
        print(f"{stage} {' '.join(settings)}", file=sys.stderr, flush=True)
        return cpu_and_wall_s(
            command, cwd=self.work, variables={**ONE_THREAD, "FIGMENT_THREADS": "1", "MLFLOW_TRACKING_URI": f"sqlite:///{self.work}/x.db"}
        )[0]

    def bake(self, models: Sequence[str], seed: int, samples: int | None) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
        """The numbers of one table; by model, CPU seconds of its training and molecules a second."""
        sizes = {} if samples is None else {"unconditional": samples, "conditional": samples}
        cpu_s = {}
        for model in models:
            cpu_s[model] = self.run(model, seed=seed)
            self.run(f"{model}_samples", **sizes)
        self.run("molecule_bakeoff", models=list(models))
        numbers = json.loads((self.data / "molecule_bakeoff/metrics.json").read_text())
        return numbers, cpu_s, {model: self.molecules_per_s(model, samples or 200) for model in models}

    def molecules_per_s(self, model: str, number: int) -> float:
        """Without the start of a program: what a model writes freely, 128 side by side."""
        with open_devices() as devices:
            sampler = open_model(model, self.data / model, devices.device).sampler
            started = time.monotonic()
            written = sum(1 for _ in sampler([{}] * number, SamplingSettings(batch_size=128)))
            return written / (time.monotonic() - started)


def spread_of(values: Sequence[float]) -> Spread:
    return Spread(statistics.mean(values), statistics.stdev(values) if len(values) > 1 else float("nan"))


def table_of(tables: Sequence[Mapping[str, float]]) -> dict[str, dict[str, Spread]]:
    """By row (entry and decoding), the numbers that every table has, as mean and standard deviation over the tables."""
    rows: dict[str, dict[str, Spread]] = {}
    for name in tables[0]:
        row, _, what = next(((name.removesuffix(f"_{shown}"), "", shown) for shown in SHOWN if name.endswith(f"_{shown}")), ("", "", ""))
        if what and "behind_best" not in name and all(name in table for table in tables):
            rows.setdefault(row, {})[what] = spread_of([table[name] for table in tables])
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    flags = parser(__doc__)
    flags.add_argument("--seeds", type=int, default=1, metavar="N", help="trainings of each model (default: %(default)s)")
    flags.add_argument("--preset", type=Path, action="append", default=[], metavar="FILE", help="settings on top of params.yaml; repeatable")
    flags.add_argument("--samples", type=int, default=None, metavar="N", help="molecules of each decoding (default: as the settings say)")
    flags.add_argument("--models", nargs="+", default=None, choices=[*MODELS], help="(default: polygpt at scale smoke, else all)")
    arguments = flags.parse_args(argv)
    models = arguments.models or (["polygpt"] if arguments.scale == "smoke" else [*MODELS])
    with tempfile.TemporaryDirectory(prefix="bakeoff-") as name:
        (Path(name) / "smoke.yaml").write_text(SMOKE)
        bakery = Bakery(Path(name), [*([Path(name) / "smoke.yaml"] if arguments.scale == "smoke" else []), *arguments.preset])
        result = bake_all(bakery, models, arguments)
    write_report(arguments.json, result)
    return 0


def bake_all(bakery: Bakery, models: Sequence[str], arguments: argparse.Namespace) -> dict[str, Any]:
    """Make the data, then one table a seed; print their means and give all figures."""
    asked = {name for model in models for name in bakery.sections[model].get("properties", ())}
    for stage in DATA_STAGES:
        bakery.run(stage)
    if asked - DESCRIPTORS.keys():
        bakery.run("property_predictor")
    baked = [bakery.bake(models, seed, arguments.samples) for seed in range(arguments.seeds)]
    rows = table_of([numbers for numbers, _, _ in baked])
    print(f"{processor()}, {arguments.seeds} seeds")
    for row, numbers in rows.items():
        print(f"{row:<36} " + "  ".join(f"{what} {cell(number)}" for what, number in numbers.items()))
    speeds = {}
    for model in models:
        cpu_s, per_s = (spread_of([one[place][model] for one in baked]) for place in (1, 2))
        speeds[model] = {"training_cpu_s": cpu_s.value, "molecules_per_s": per_s.value}
        print(f"{model:<36} {cell(cpu_s)} CPU seconds to train, {cell(per_s)} molecules/s")
    table = {row: {what: [number.value, number.sd] for what, number in numbers.items()} for row, numbers in rows.items()}
    return {"processor": processor(), "seeds": arguments.seeds, "table": table, "speeds": speeds}


if __name__ == "__main__":
    sys.exit(main())
