"""Do the main job from end to end and show what came out.

Everything comes from sources that need no network: molecules inside the rdkit wheel, and a journal that the project makes up and serves to itself
on loopback. --nightly is what happens the night after: the journal changes one paper, adds one and retracts one, and only what is made from
them moves.

Examples:
  figment demo
  figment demo --nightly

exit codes: 0 all of it worked · 1 something failed, or a night moved what it should not · 2 wrong usage or configuration
"""

import argparse
from pathlib import Path


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--nightly", action="store_true", help="one night of the embedded journal, after the demo")


def run(root: Path, arguments: argparse.Namespace) -> int:
    if arguments.nightly:
        from orchestration.demo.night import run_nightly_demo

        return run_nightly_demo(root)
    from orchestration.cli.main import main as figment
    from orchestration.demo.day import run_demo

    return run_demo(root, lambda: figment(["--root", str(root), "materialize", "--all"]))
