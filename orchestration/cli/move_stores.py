"""Move the records of Dagster and MLflow from this checkout into a lab's stores.

Dagster's runs, events, schedules and their ticks; MLflow's experiments, runs, metrics, parameters, tags, models and aliases; and all artifacts
of runs go to the databases and the bucket of a profile in stores.yaml (docs/lab.md). Every table and every file is compared after copying. Then,
and only then, the old stores are set aside in .figment/set-aside. A move that was broken off goes on where it was. Nothing may run meanwhile.

Examples:
  figment move-stores --profile lab --dry-run    # what would be moved, and whether the stores let us in
  figment move-stores --profile lab

exit codes: 0 all is there, or would be · 2 something runs, is missing or differs; the stores here are as they were
"""

import argparse
import os
from pathlib import Path

from orchestration.checkout import open_project
from orchestration.errors import CommandError, Exit
from orchestration.terminal import MovingLine, human_bytes, plural


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--profile", default=None, metavar="NAME", help="where to: a profile of stores.yaml (default: the one chosen there)")
    parser.add_argument("--dry-run", action="store_true", help="count, and move nothing")


def run(root: Path, arguments: argparse.Namespace) -> int:
    from orchestration.records.lab import LabError, require_libraries
    from stages.params import ParamsError
    from stages.stores import PROFILE_VARIABLE, chosen_profile

    line = MovingLine()
    try:
        before = chosen_profile(root)
        if arguments.profile is not None:
            os.environ[PROFILE_VARIABLE] = arguments.profile
        profile = chosen_profile(root)
        if profile is None:
            raise CommandError("the profile is local, from where records are moved; name a lab's: --profile NAME, as in stores.yaml (docs/lab.md)")
        require_libraries()
        from orchestration.moving.move import move_stores
        from orchestration.moving.tables import MoveError

        try:
            done = move_stores(open_project(root), profile, is_dry=arguments.dry_run, hear=line.say)
        except MoveError as error:
            raise CommandError(f"move-stores: {error}") from error
    except (ParamsError, LabError) as error:
        raise CommandError(str(error)) from error
    finally:
        line.clear()
    for store, tables in done.tables.items():
        for table in tables:
            if table.rows:
                print(f"{store:8} {table.name:32} {plural(table.rows, 'row')}")
    print(f"{'files':8} {profile.artifacts:32} {plural(done.files, 'file')}, {human_bytes(done.bytes)}")
    if done.set_aside is None:
        print("nothing was moved (--dry-run)")
        return Exit.WELL
    print(f"every row and every file was compared; the old stores are in {done.set_aside.relative_to(root)}")
    if before != profile:
        print(f"now write `use: {arguments.profile}` into stores.yaml, or set {PROFILE_VARIABLE}={arguments.profile}")
    return Exit.WELL
