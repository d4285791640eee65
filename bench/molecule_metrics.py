"""Our molecule metrics beside the reference functions of MOSES: the same numbers, at what cost?

    python -m bench.molecule_metrics                          # seconds, 500 strings
    python -m bench.molecule_metrics --scale std --json molecule_metrics.json
    pip install --no-deps --target PEER molsets==0.3.1 && python -m bench.molecule_metrics --peer PEER    # beside MOSES itself

Sides: `ours`; `definitions` (bench/moses_definitions.py: written from the paper, each metric reads its strings again); `moses` (the package,
only with --peer). Each run is a process of its own; only the metrics are timed, not imports. A first run of each side checks that the numbers
agree and counts how often RDKit parses a SMILES; then the sides take turns. Ratios are of CPU time, ours over theirs, round by round.
Exits 1 when numbers disagree. Aim: at most 0.3.
"""

import hashlib
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import types
import warnings
from argparse import SUPPRESS
from pathlib import Path

from rdkit import Chem, RDConfig, rdBase

from bench.measuring import ONE_THREAD, ROOT, parser, spread, write_report

SCALES = {"smoke": {"generated": 500, "reference": 200, "rounds": 3}, "std": {"generated": 10_000, "reference": 2_000, "rounds": 5}}
CASES = ("rates", "similarities", "drug_likeness")
# MOSES adds up in float32.
TOLERANCE = 1e-6
AIM = 0.3


# --- inputs


def make_inputs(scale: str, seed: int) -> dict[str, list[str]]:
    """Strings like a model's: real molecules in other spellings, a tenth of them broken, some repeated; a training set and a reference."""
    size = SCALES[scale]
    lines = [line.split()[0] for line in (Path(RDConfig.RDDataDir) / "NCI" / "first_5K.smi").read_text().splitlines()]
    with rdBase.BlockLogs():
        molecules = {Chem.MolToSmiles(molecule): molecule for molecule in map(Chem.MolFromSmiles, lines) if molecule}
    # Other spellings of known molecules, so that canonicalisation has work; a tenth damaged, so that validity has.
    draw = random.Random(seed)
    names = sorted(molecules)
    draw.shuffle(names)
    held_out, training = names[: size["reference"]], sorted(names[size["reference"] : size["reference"] + 2000])
    generated = [_spelling(molecules[name], draw) for name in draw.choices(names[size["reference"] :], k=size["generated"])]
    return {"generated": generated, "training": training, "reference": held_out}


def _spelling(molecule: Chem.Mol, draw: random.Random) -> str:
    smiles = Chem.MolToRandomSmilesVect(molecule, 1, randomSeed=draw.randrange(1, 1 << 30))[0]
    if draw.random() < 0.1:
        cut = draw.randrange(len(smiles))
        return smiles[:cut] + draw.choice("()=#1[") + smiles[cut:]
    return smiles


# --- sides; each gives a function per case from inputs to named numbers


def ours():
    from training.metrics.molecule_filters import filter_problem
    from training.metrics.molecules import compared_properties, morgan_fingerprints, novelty, read_generated, uniqueness, validity
    from training.metrics.tanimoto import internal_diversity, nearest_similarities
    from training.metrics.wasserstein import wasserstein_distance

    def rates(inputs):
        reading = read_generated(inputs["generated"])
        return {
            "valid": validity(reading).value,
            "unique": uniqueness(reading, first=len(reading.valid)).value,
            "novel": novelty(reading, inputs["training"]).value,
        }

    def similarities(inputs):
        reading, reference = read_generated(inputs["generated"]), read_generated(inputs["reference"])
        bits = morgan_fingerprints([reading.molecules[smiles] for smiles in reading.valid])
        diversity = internal_diversity(bits)
        nearest = nearest_similarities(bits, morgan_fingerprints(list(reference.molecules.values()))).mean()
        return {
            "internal_diversity_1": diversity[1].value,
            "internal_diversity_2": diversity[2].value,
            "nearest_similarity": float(nearest),
        }

    def drug_likeness(inputs):
        reading, reference = read_generated(inputs["generated"]), read_generated(inputs["reference"])
        place = {smiles: index for index, smiles in enumerate(reading.molecules)}
        repeats = [place[smiles] for smiles in reading.valid]
        passing = [filter_problem(molecule) is None for molecule in reading.molecules.values()]
        values, real = (compared_properties(side.molecules.values()) for side in (reading, reference))
        distances = {f"{name}_wasserstein": wasserstein_distance(numbers[repeats], real[name]) for name, numbers in values.items()}
        return {"filters_passed": sum(passing[index] for index in repeats) / len(repeats), **distances}

    return {"rates": rates, "similarities": similarities, "drug_likeness": drug_likeness}


def definitions():
    from bench import moses_definitions

    return {
        "rates": lambda inputs: moses_definitions.rates(inputs["generated"], inputs["training"], len(inputs["generated"])),
        "similarities": lambda inputs: moses_definitions.similarity_metrics(inputs["generated"], inputs["reference"]),
        "drug_likeness": lambda inputs: moses_definitions.drug_likeness(inputs["generated"], inputs["reference"]),
    }


def moses(peer: Path):
    """The functions that `moses.get_all_metrics` calls, in its order. The package is old: two things it imports are given back to it."""
    import numpy
    import pandas

    shim = types.ModuleType("rdkit.six")
    shim.iteritems = lambda mapping: mapping.items()
    sys.modules["rdkit.six"] = shim
    pandas.DataFrame.append = lambda self, other, sort=False: pandas.concat([self, other], sort=sort)
    numpy.nan = numpy.nan
    sys.path.insert(0, str(peer))
    from moses.metrics import metrics, utils

    def rates(inputs):
        result = {"valid": metrics.fraction_valid(inputs["generated"])}
        kept = metrics.remove_invalid(inputs["generated"], canonize=True)
        result["unique"] = metrics.fraction_unique(kept, len(kept))
        return result | {"novel": metrics.novelty(list(map(metrics.get_mol, kept)), inputs["training"])}

    def similarities(inputs):
        molecules = list(map(metrics.get_mol, metrics.remove_invalid(inputs["generated"], canonize=True)))
        return {
            "internal_diversity_1": float(metrics.internal_diversity(molecules)),
            "internal_diversity_2": float(metrics.internal_diversity(molecules, p=2)),
            "nearest_similarity": float(metrics.SNNMetric()(gen=molecules, ref=list(map(metrics.get_mol, inputs["reference"])))),
        }

    def drug_likeness(inputs):
        molecules = list(map(metrics.get_mol, metrics.remove_invalid(inputs["generated"], canonize=True)))
        reference = list(map(metrics.get_mol, inputs["reference"]))
        properties = {"mol_wt": utils.weight, "mol_log_p": utils.logP, "qed": utils.QED, "sa_score": utils.SA}
        distances = {
            f"{name}_wasserstein": float(metrics.WassersteinMetric(function)(gen=molecules, ref=reference)) for name, function in properties.items()
        }
        return {"filters_passed": float(metrics.fraction_passes_filters(molecules)), **distances}

    return {"rates": rates, "similarities": similarities, "drug_likeness": drug_likeness}


# --- one run, in a process of its own


def run_here(side: str, case: str, inputs_path: Path, peer: Path | None, *, count: bool) -> dict:
    """Run one case on one side; with `count`, parses are counted (and the time is that of counting too)."""
    warnings.simplefilter("ignore")
    inputs = json.loads(inputs_path.read_text(encoding="utf-8"))
    parses = 0
    if count:
        # Counting replaces the function itself: every side calls it by this name.
        parse = Chem.MolFromSmiles

        def counted(*arguments, **keywords):
            nonlocal parses
            parses += 1
            return parse(*arguments, **keywords)

        Chem.MolFromSmiles = counted
    function = (moses(peer) if side == "moses" else {"ours": ours, "definitions": definitions}[side]())[case]
    with rdBase.BlockLogs():
        wall, cpu = time.perf_counter(), time.process_time()
        values = function(inputs)
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    peak_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"values": values, "parses": parses, "wall_s": wall, "cpu_s": cpu, "peak_mib": peak_mib}


def run_apart(side: str, case: str, inputs_path: Path, peer: Path | None, *, count: bool = False) -> dict:
    command = [sys.executable, "-m", "bench.molecule_metrics", "--run", side, case, str(inputs_path), *(["--count"] if count else [])]
    command += ["--peer", str(peer)] if peer else []
    environment = {**os.environ, **ONE_THREAD, "MPLBACKEND": "Agg", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


# --- comparison


def compare(scale: str, peer: Path | None, seed: int) -> dict:
    inputs = make_inputs(scale, seed)
    text = json.dumps(inputs, sort_keys=True)
    sides = ["ours", "definitions", *(["moses"] if peer else [])]
    report = {"scale": scale, "inputs_sha256": hashlib.sha256(text.encode()).hexdigest(), "rdkit": rdBase.rdkitVersion, "cases": {}}
    with tempfile.TemporaryDirectory() as folder:
        inputs_path = Path(folder) / "inputs.json"
        inputs_path.write_text(text, encoding="utf-8")
        for case in CASES:
            report["cases"][case] = compare_case(case, sides, inputs_path, peer, rounds=SCALES[scale]["rounds"])
    return report


def compare_case(case: str, sides: list[str], inputs_path: Path, peer: Path | None, *, rounds: int) -> dict:
    # Numbers first, with parses counted; times come from runs that count nothing.
    checked = {side: run_apart(side, case, inputs_path, peer, count=True) for side in sides}
    truth = checked["ours"]["values"]
    differences = {side: max(abs(truth[name] - value) for name, value in run["values"].items()) for side, run in checked.items()}
    result = {"values": truth, "largest_difference": differences, "sides": {}}
    if max(differences.values()) > TOLERANCE:
        return result
    times = {side: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            times[side].append(run_apart(side, case, inputs_path, peer))
    for side in sides:
        ratios = [our["cpu_s"] / their["cpu_s"] for our, their in zip(times["ours"], times[side], strict=True)]
        result["sides"][side] = {
            "parses": checked[side]["parses"],
            **{name: statistics.median(run[name] for run in times[side]) for name in ("cpu_s", "wall_s", "peak_mib")},
            "ours_over_it": spread(ratios),
        }
    return result


def print_table(report: dict) -> None:
    for case, result in report["cases"].items():
        print(f"\n{case}: " + ", ".join(f"{name} {value:.6g}" for name, value in result["values"].items()))
        if not result["sides"]:
            print(f"  the numbers differ by {result['largest_difference']}: no times")
            continue
        print(f"  {'side':<12}{'Mol parses':>12}{'CPU s':>10}{'wall s':>10}{'peak MiB':>10}   ours / it (aim {AIM})")
        for side, row in result["sides"].items():
            ratio = row["ours_over_it"]
            shown = "" if side == "ours" else f"{ratio['median']:.2f} ({ratio['lowest']:.2f}…{ratio['highest']:.2f})"
            print(f"  {side:<12}{row['parses']:>12,}{row['cpu_s']:>10.3f}{row['wall_s']:>10.3f}{row['peak_mib']:>10.0f}   {shown}")


def main() -> int:
    flags = parser(__doc__)
    flags.add_argument("--peer", type=Path, help="folder into which molsets was installed")
    flags.add_argument("--seed", type=int, default=0)
    flags.add_argument("--run", nargs=3, metavar=("SIDE", "CASE", "INPUTS"), help=SUPPRESS)
    flags.add_argument("--count", action="store_true", help=SUPPRESS)
    arguments = flags.parse_args()
    if arguments.run:
        side, case, inputs_path = arguments.run
        print(json.dumps(run_here(side, case, Path(inputs_path), arguments.peer, count=arguments.count)))
        return 0
    report = compare(arguments.scale, arguments.peer, arguments.seed)
    print_table(report)
    write_report(arguments.json, report)
    return 0 if all(result["sides"] for result in report["cases"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
