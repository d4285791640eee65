"""Write each stage's code and libraries into dvc.yaml, so that an edit makes exactly the stages stale that use it.

DVC follows no imports: this does, from the module that a stage's command runs. libraries.yaml gets the versions of the installed libraries
that decide bytes. Everything else in dvc.yaml stays as it is. Run it after adding an import; a test fails when it was forgotten.

Examples:
  figment deps            write
  figment deps --check    write nothing; say what would change

exit codes: 0 written, or nothing to write · 1 --check found something to write · 2 code or configuration that cannot be read
"""

import argparse
from pathlib import Path

from orchestration.errors import CommandError, Exit


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 when something would change")


def run(root: Path, arguments: argparse.Namespace) -> int:
    from orchestration.closure import ClosureError, update_deps
    from orchestration.libraries import LibrariesError, drift, write_versions

    try:
        changes = [*update_deps(root, write=not arguments.check), *(drift(root) if arguments.check else write_versions(root))]
    except (ClosureError, LibrariesError) as error:
        raise CommandError(str(error)) from error
    for change in changes:
        print(change)
    if not changes:
        print("dvc.yaml and libraries.yaml say what the code does")
    elif arguments.check:
        print("`figment deps` writes these")
    return Exit.DISAGREES if changes and arguments.check else Exit.WELL
