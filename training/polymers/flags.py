"""The flags by which molecules are asked for, of the programs here and of `figment generate`, which must start soon: neither torch nor rdkit."""

from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path

# Where the function `open_<model>` of each lies; by name, as no model is part of another's program.
MODELS: Mapping[str, str] = {name: f"training.polymers.{name.removeprefix('poly')}.sample" for name in ("polygpt", "polytao", "polyvae", "polyldm")}


def add_wishes(parser: ArgumentParser, *, number: int, more: str = "") -> None:
    """What is wanted, and how many. number: by default. more: what else a property does."""
    words = f"wanted, in the units of the dataset; repeatable. NAME=LOW:HIGH spreads the values evenly over the molecules{more}"
    parser.add_argument("--property", action="append", default=[], metavar="NAME=VALUE", help=words)
    parser.add_argument("-n", "--number", type=count, default=number, metavar="N", help="molecules (default: %(default)s)")
    parser.add_argument("--temperature", type=float, default=1.0, help="0 is greedy (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")


def add_generate_flags(parser: ArgumentParser) -> None:
    """Of training/polymers/generate.py, but for where models lie."""
    parser.add_argument("--model", required=True, metavar="NAME", help=f"a trained model: {', '.join(MODELS)}")
    add_wishes(parser, number=20)
    parser.add_argument("--unique", action="store_true", help="write on until N different valid ones are there, or --tries times N were written")
    parser.add_argument("--tries", type=count, default=10, metavar="N", help="bound of --unique (default: %(default)s)")
    parser.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="for molecules.csv and molecules.png")


def count(text: str) -> int:
    """A number of at least 1, for argparse."""
    number = int(text)
    if number < 1:
        raise ValueError(f"{text} is not at least 1")
    return number
