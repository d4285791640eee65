"""Print the id of a file or folder: what dvc.lock, Dagster and MLflow call its bytes.

The bytes are read anew; nothing is looked up and nothing is recorded. Works on any path, inside a project or not.

Examples:
  figment id data/molecules
  figment id ~/Downloads/qm7b.mat

exit codes: 0 printed · 2 there is no such path
"""

import argparse
from pathlib import Path

from orchestration.errors import CommandError, Exit

# `figment id` needs no project.
NEEDS_PROJECT = False


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a file or folder")


def run(root: Path, arguments: argparse.Namespace) -> int:  # noqa: ARG001 - every verb is called the same way
    from stages.artifact_id import content_id

    for path in arguments.paths:
        if not path.exists():
            raise CommandError(f"{path}: no such file or folder")
        id = content_id(path)
        print(id if len(arguments.paths) == 1 else f"{id}  {path}")
    return Exit.WELL
