"""Every model of molecules from several seeds, on the same data, budget and judge: the table of the bake-off with what chance of training adds.

    python -m bench.bakeoff                                      # polygpt, tiny, one seed
    python -m bench.bakeoff --scale std --seeds 3                # all models as params.yaml says: hours on a CPU
    python -m bench.bakeoff --scale std --seeds 3 --preset presets/shared.yaml --models polygpt polyvae --samples 1000

Trains, samples and judges in a scratch folder, by the commands of dvc.yaml. Requests and dice of sampling are the same for every seed, so that what
varies is the training. Prints mean ± standard deviation over the seeds, CPU seconds of the trainings, and how many molecules a second each writes.
"""

import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.kitchen import Kitchen
from bench.measuring import parser, processor, write_report
from formats.descriptors import DESCRIPTORS
from training.loop.devices import open_devices
from training.metrics.intervals import Spread
from training.polymers.decoding import SamplingSettings
from training.polymers.flags import MODELS
from training.polymers.generate import open_model
from training.reports.numbers import cell

# A look: one small model of few molecules.
SMOKE = """\
molecule_sources:
  sources:
    - {name: nci, kind: rdkit, path: Contrib/fraggle/data/ChEMBL_11265_actives.smi, licence: BSD-3-Clause, role: molecules}
    - {name: nci_repeat_units, kind: repeat_units, of: nci, count: 20, seed: 0, licence: BSD-3-Clause, role: polymers}
smiles_tokenizer: {read: [molecules]}
polygpt: {width: 32, layers: 1, heads: 2, pretrain_samples: 640, finetune_samples: 640, warmup_samples: 64}
polygpt_samples: {unconditional: 20, conditional: 20, temperatures: [1.0]}
molecule_bakeoff: {with_fcd: false, bootstrap_rounds: 50, uniqueness_at: [20]}
"""
SHOWN = ("validity", "novelty", "quality", "mean_r2", "success")


class BakeOff(Kitchen):
    """The kitchen in which the models of molecules are trained and judged."""

    def make_data(self, models: Sequence[str]) -> None:
        """What the models learn from, and the predictor where RDKit cannot compute what they are asked for."""
        for stage in ("molecule_sources", "molecules", "polymers", "smiles_tokenizer"):
            self.run(stage)
        if {name for model in models for name in self.sections[model].get("properties", ())} - DESCRIPTORS.keys():
            self.run("property_predictor")

    def bake(self, models: Sequence[str], seed: int, samples: int | None) -> dict[str, float]:
        """The numbers of one table; of each model also `<model>_training_cpu_s` and `<model>_writing_molecules_per_s`."""
        facts = {f"{model}_training_cpu_s": self.run(model, seed=seed) for model in models}
        for model in models:
            self.run(f"{model}_samples", **({} if samples is None else {"unconditional": samples, "conditional": samples}))
            facts[f"{model}_writing_molecules_per_s"] = self.molecules_per_s(model, samples or 200)
        self.run("molecule_bakeoff", models=list(models))
        return facts | json.loads((self.data / "molecule_bakeoff/metrics.json").read_text())

    def molecules_per_s(self, model: str, number: int) -> float:
        """What a model writes freely, 128 side by side, without the start of a program."""
        with open_devices() as devices:
            sampler = open_model(model, self.data / model, devices.device).sampler
            started = time.monotonic()
            return sum(1 for _ in sampler([{}] * number, SamplingSettings(batch_size=128))) / (time.monotonic() - started)


def table_of(tables: Sequence[Mapping[str, float]]) -> dict[str, dict[str, Spread]]:
    """By row (entry and decoding), the numbers that every table has, as mean and standard deviation over the tables (NaN of one)."""
    rows: dict[str, dict[str, Spread]] = {}
    for name in tables[0]:
        what = next((shown for shown in (*SHOWN, "cpu_s", "molecules_per_s") if name.endswith(f"_{shown}")), None)
        if what and "behind_best" not in name and all(name in table for table in tables):
            values = [table[name] for table in tables]
            deviation = statistics.stdev(values) if len(values) > 1 else math.nan
            rows.setdefault(name.removesuffix(f"_{what}"), {})[what] = Spread(statistics.mean(values), deviation)
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    flags = parser(__doc__)
    flags.add_argument("--seeds", type=int, default=1, metavar="N", help="trainings of each model (default: %(default)s)")
    flags.add_argument("--preset", type=Path, action="append", default=[], metavar="FILE", help="settings on top of params.yaml; repeatable")
    flags.add_argument("--samples", type=int, default=None, metavar="N", help="molecules of each decoding (default: as the settings say)")
    flags.add_argument("--work", type=Path, default=None, metavar="DIR", help="keep the data, models and reports there (default: a scratch folder)")
    flags.add_argument("--models", nargs="+", default=None, choices=[*MODELS], help="(default: polygpt at scale smoke, else all)")
    arguments = flags.parse_args(argv)
    is_smoke = arguments.scale == "smoke"
    models = arguments.models or (["polygpt"] if is_smoke else [*MODELS])
    with tempfile.TemporaryDirectory(prefix="bakeoff-") as name:
        smoke = Path(name) / "smoke.yaml"
        smoke.write_text(SMOKE)
        work = arguments.work or Path(name)
        work.mkdir(parents=True, exist_ok=True)
        kitchen = BakeOff(work, [*([smoke] if is_smoke else []), *arguments.preset])
        kitchen.make_data(models)
        rows = table_of([kitchen.bake(models, seed, arguments.samples) for seed in range(arguments.seeds)])
    print(f"{processor()}, {arguments.seeds} seeds")
    for row, numbers in rows.items():
        print(f"{row:<36} " + "  ".join(f"{what} {cell(number)}" for what, number in numbers.items()))
    table = {row: {what: [number.value, number.sd] for what, number in numbers.items()} for row, numbers in rows.items()}
    write_report(arguments.json, {"processor": processor(), "seeds": arguments.seeds, "table": table})
    return 0


if __name__ == "__main__":
    sys.exit(main())
