"""Guided decoding beside plain: molecules a CPU second, and what RDKit takes of them, of one trained PolyGPT.

    python -m bench.guided --model data/polygpt                 # 256 molecules
    python -m bench.guided --model data/polygpt --scale std     # 2,048

Both sides write from the same random numbers; each is written twice, and must be the same both times. The second pass of
guided ones remembers the states of the first. With `--property name=low:high` the R2 of requested against obtained is told
as well.
"""

import resource
import sys
from pathlib import Path
from typing import Any

import torch
from rdkit import Chem, rdBase

from bench.measuring import parser, write_report
from training.metrics.intervals import Rate
from training.polymers.decoding import SamplingSettings
from training.polymers.gpt.sample import open_polygpt
from training.polymers.obedience import obedience
from training.polymers.sampling import requests_by_hand


def cpu_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def reason(smiles: str) -> str:
    """Why RDKit does not take a text: "valid", or the name of what was wrong."""
    molecule = Chem.MolFromSmiles(smiles, sanitize=False)
    if molecule is None or not smiles:
        return "not readable"
    try:
        Chem.SanitizeMol(molecule)
    except (Chem.KekulizeException, Chem.AtomKekulizeException, Chem.AtomValenceException, ValueError) as error:
        return type(error).__name__
    return "valid"


def main() -> int:
    flags = parser(__doc__)
    flags.add_argument("--model", type=Path, required=True, help="folder of a trained PolyGPT")
    flags.add_argument("--property", action="append", default=[], help="as of training.polymers.gpt.sample")
    arguments = flags.parse_args()
    torch.set_num_threads(1)
    number = 256 if arguments.scale == "smoke" else 2_048
    sampler = open_polygpt(arguments.model, torch.device("cpu")).sampler
    requests = requests_by_hand(arguments.property, number, 0)
    rows: list[dict[str, Any]] = []
    written = []
    for name, guided in (("plain", False), ("guided", True), ("guided again", True), ("plain again", False)):
        before = cpu_s()
        molecules = list(sampler(requests, SamplingSettings(batch_size=128, guided=guided)))
        spent = cpu_s() - before
        written.append(molecules)
        with rdBase.BlockLogs():
            reasons = [reason(molecule.smiles) if molecule.finished else "unfinished" for molecule in molecules]
        counts = {what: reasons.count(what) for what in sorted(set(reasons))}
        valid = Rate(reasons.count("valid"), number)
        finished = sum(molecule.finished for molecule in molecules)
        rows.append({"side": name, "cpu_s": round(spent, 3), "molecules_per_cpu_s": round(number / spent, 1), "finished": finished, **counts})
        print(
            f"{name:13s} {spent:7.2f} CPU s {number / spent:8.1f} molecules/CPU s  valid {valid.value:.4f}, ended {finished:,}: {counts}", flush=True
        )
        for line in obedience(requests, molecules)[1] if arguments.property else ():
            print(f"              {line}")
    if written[0] != written[3] or written[1] != written[2]:
        sys.exit("the same seed wrote other molecules the second time; no figure is reported")
    write_report(arguments.json, {"scale": arguments.scale, "molecules": number, "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
