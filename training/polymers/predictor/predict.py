"""Ask the property predictor by hand: CSV with mean and spread of each property, whether a molecule is inside the domain, and if not, why.

python -m training.polymers.predictor.predict "CCO" "c1ccccc1O"
python -m training.polymers.predictor.predict --model data/property_predictor --in molecules.txt
"""

import csv
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from rdkit import Chem, rdBase

from stages.program import program
from stages.reporting import Reporter
from training.polymers.conditions import MoleculeModelError
from training.polymers.predictor.model_folder import load_predictor


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("smiles", nargs="*", metavar="SMILES", help="molecules, or repeat units with two `*`")
    parser.add_argument("--in", type=Path, dest="file", metavar="FILE", help="a text file of them, the first word of each line")
    parser.add_argument("--model", type=Path, metavar="DIR", help="folder of the predictor (default: property_predictor in the data folder)")


def _run(arguments: Namespace, reporter: Reporter) -> None:
    lines = arguments.file.read_text(encoding="utf-8").splitlines() if arguments.file is not None else []
    smiles = [*arguments.smiles, *(line.split()[0] for line in lines if line.strip())]
    if not smiles:
        raise MoleculeModelError("nothing was asked; name molecules by their SMILES, or a file of them by --in FILE")
    predictor = load_predictor(arguments.model or arguments.data / "property_predictor")
    with rdBase.BlockLogs():
        molecules = [Chem.MolFromSmiles(one) for one in smiles]
    predictions = predictor.predict([molecule for molecule in molecules if molecule is not None])
    answers, nothing = iter(zip(predictions.mean, predictions.std, predictions.why, strict=True)), [""] * 2 * len(predictor.properties)
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["smiles", *(f"{name}_{part}" for name in predictor.properties for part in ("mean", "std")), "in_domain", "why"])
    for one, molecule in zip(smiles, molecules, strict=True):
        numbers, why = nothing, "not a SMILES"
        if molecule is not None:
            *pairs, why = next(answers)
            numbers = [f"{number:.6g}" for pair in zip(*pairs, strict=True) for number in pair]
        writer.writerow([one, *numbers, not why, why])
    reporter.log(", ".join(f"{name} in {unit}" for name, unit in predictor.units.items()))


def main(argv: Sequence[str] | None = None) -> int:
    """See stages/program.py for exit codes."""
    return program(__doc__, _run, argv, expected=(MoleculeModelError,), configure=_configure)


if __name__ == "__main__":
    sys.exit(main())
