"""Look at the scheduled sources again, and make again what their changes touch; trainings wait for a person.

What a schedule does under `figment up`, for cron. Without changes nothing is written: no new id, no line in dvc.lock, no MLflow run. A night
that was killed goes on where it was. Models made from what was withdrawn meanwhile are tagged and lose the title of champion.

Examples:
  figment nightly                   every source that has a schedule in dvc.yaml
  figment nightly journal_pages     this one

exit codes: 0 up to date · 1 something failed, a check did not pass, or models could not be tagged · 2 wrong usage · 130 interrupted
"""

import argparse
from pathlib import Path

from orchestration.errors import CommandError, Exit


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="sources to look at again (default: all with a schedule)")


def run(root: Path, arguments: argparse.Namespace) -> int:
    from orchestration.checkout import open_project
    from orchestration.nights.nightly import run_night, scheduled_sources
    from orchestration.nights.retractions import tag_models
    from orchestration.runs.outcome import report_run, say

    project = open_project(root)
    names = [project.graph.artifact(name).name for name in arguments.names] or scheduled_sources(project)
    if not names:
        raise CommandError("nightly: no stage in dvc.yaml has a `schedule` in meta.dagster; name a source")
    result = run_night(root, names, say=say)
    report_run(result)
    if result.is_interrupted:
        return Exit.INTERRUPTED
    # The graph as it is after the night: what was withdrawn by an answer of this very night is in it.
    are_tagged = tag_models(open_project(root), say=say) is not None
    return Exit.WELL if are_tagged and result.is_success and not result.failed_checks else Exit.DISAGREES
