"""Write molecules or polymers with wanted properties, by a trained model of them.

Gives a folder with molecules.csv (SMILES, validity, requested and obtained values; what RDKit cannot compute as the property predictor tells it) and
molecules.png. What is not asked for is left to the model. A value that no training molecule had is refused, and the range is told.

Examples:
  figment generate polymers --property mol_wt=200 --model polygpt -n 20 --out my_molecules
  figment generate polymers --property mol_wt=150:350 --model polygpt -n 20 --unique --out my_molecules  # values in equal steps

exit codes: 0 written · 1 there is no such model, property or value, or the model is not trained · 2 wrong usage or configuration
"""

import argparse
import os
import sys
from pathlib import Path

from training.polymers.flags import add_generate_flags


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=["polymers", "molecules"], help="either; which of them is written depends on what the model learnt")
    add_generate_flags(parser)
    parser.add_argument("--data", type=Path, default=None, metavar="DIR", help="where the models lie (default: data of the project)")


def run(root: Path, arguments: argparse.Namespace) -> int:
    paths = {"--out": arguments.out, "--data": arguments.data or root / "data"}
    command = [sys.executable, "-m", "training.polymers.generate", *(["--unique"] if arguments.unique else [])]
    for flag in ("model", "number", "tries", "temperature", "seed"):
        command += [f"--{flag}", str(getattr(arguments, flag))]
    command += [word for pair in arguments.property for word in ("--property", pair)]
    # A program by its name, since this package loads neither torch nor rdkit; and this process becomes it, so that Ctrl-C needs no go-between.
    command += [word for flag, path in paths.items() for word in (flag, str(path.expanduser().absolute()))]
    os.chdir(root)
    os.execv(sys.executable, command)  # noqa: S606 - no shell is wanted
