"""Do the main job from end to end and show what came out.

The arguments, and what is made, are those of orchestration/demo.py: `figment demo` alone needs none.

Examples:
  figment demo

exit codes: 0 all of it worked · 1 something failed · 2 wrong usage or configuration
"""

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("arguments", nargs="*", metavar="…", help="handed over to the demo")


def run(root: Path, arguments: list[str]) -> int:
    from orchestration.demo import run_demo

    return run_demo(root, arguments)
