"""Let a trained generator write sentences, one a line; the same seed gives the same ones, however many are asked for.

python -m training.words.text_gan.sample --model data/text_gan --number 10
python -m training.words.text_gan.sample --model data/text_mle --number 10 --temperature 0.7
"""

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from pathlib import Path

from formats.text_tables import TextTableError
from stages.params import ParamsError
from stages.program import program
from stages.reporting import Reporter
from training.loop.devices import open_devices
from training.words.text_gan.networks import TextGanError, load_generator, sample


def _run(arguments: Namespace, _reporter: Reporter) -> None:
    if arguments.number < 0 or not 0 <= arguments.temperature < float("inf"):
        raise ParamsError(f"--number and --temperature must not be negative, found {arguments.number} and {arguments.temperature}")
    with open_devices() as devices:
        generator, tokenizer = load_generator(arguments.model, devices.device)
        for text in sample(generator, tokenizer, arguments.number, temperature=arguments.temperature, seed=arguments.seed):
            print(text)


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("--model", type=Path, default=Path("data/text_gan"), metavar="DIR", help="a trained generator (default: %(default)s)")
    parser.add_argument("--number", type=int, default=10, help="sentences (default: %(default)s)")
    parser.add_argument("--temperature", type=float, default=1.0, help="of the softmax; 0 takes the likeliest words (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="(default: %(default)s)")


def main(argv: Sequence[str] | None = None) -> int:
    return program(__doc__, _run, argv, expected=(TextGanError, TextTableError), configure=_configure)


if __name__ == "__main__":
    sys.exit(main())
