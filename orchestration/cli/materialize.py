"""Bring artifacts up to date in one Dagster run.

What is fresh is found before anything is started: with nothing to do, nothing is started. Artifacts made from remade ones are remade only
if those bytes changed. A failing stage stops what is made from it and nothing else; Ctrl-C ends every process that was started.

Examples:
  figment materialize --stale                  all that is not fresh, and what is made from it
  figment materialize polygpt                  one artifact, and what is stale above it
  figment materialize molecules --force        make it again although it is fresh
  figment materialize polygpt_report --force --upstream   make it again from the sources on

exit codes: 0 up to date · 1 something failed or a check did not pass · 2 wrong usage or configuration · 130 interrupted
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path

from orchestration.bridge.project import Project
from orchestration.bridge.status import StageStatus, project_status
from orchestration.checkout import open_prepared
from orchestration.errors import CommandError, Exit
from orchestration.records.dagster_records import DagsterRecords, DagsterUnreadableError, untold_stages
from orchestration.runs.outcome import report_run, say
from orchestration.runs.selection import Plan, plan_everything, plan_names
from orchestration.terminal import paint, plural


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="artifacts to bring up to date, with what is stale above them")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--all", action="store_true", help="every artifact of the project")
    which.add_argument("--stale", action="store_true", help="every artifact that is not fresh, and what is made from it")
    parser.add_argument("--force", action="store_true", help="run the commands of the chosen artifacts even where nothing changed")
    parser.add_argument("--upstream", action="store_true", help="with NAME and --force: make everything above it again, too")
    parser.add_argument("-v", "--verbose", action="store_true", help="also show what the stages say of themselves, not only a line a stage")
    parser.add_argument("--jobs", type=_positive, default=None, metavar="N", help="stages at once (default: one per processor)")


def run(root: Path, arguments: argparse.Namespace) -> int:
    _check_usage(arguments)
    project = open_prepared(root)
    statuses = project_status(project)
    plan = _plan(project, statuses, arguments)
    # With nothing to do, Dagster is loaded only when `dvc repro` made something that it was not told.
    if not plan.names:
        chosen = plural(len(arguments.names or statuses), "artifact")
        print(f"nothing to do: {chosen} up to date")
        _tell_dagster(project)
        return Exit.WELL
    _announce(plan, statuses)
    from orchestration.runs.dagster_run import run_plan

    result = run_plan(project, plan, jobs=arguments.jobs, say=say, is_verbose=arguments.verbose)
    report_run(result)
    if result.is_interrupted:
        return Exit.INTERRUPTED
    return Exit.WELL if result.is_success and not result.failed_checks else Exit.DISAGREES


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a number of at least 1, found {text!r}")
    return int(text)


def _check_usage(arguments: argparse.Namespace) -> None:
    if bool(arguments.names) == (arguments.all or arguments.stale):
        raise CommandError("materialize: name artifacts, or give --all or --stale (one of the three); `figment status` lists them")
    if arguments.upstream and not arguments.names:
        raise CommandError("materialize: --upstream goes with NAME; --all has everything upstream in it already")


def _plan(project: Project, statuses: Mapping[str, StageStatus], arguments: argparse.Namespace) -> Plan:
    if not arguments.names:
        return plan_everything(project.graph, statuses, force=arguments.force, only_stale=arguments.stale)
    names = dict.fromkeys(project.graph.artifact(name).name for name in arguments.names)
    return plan_names(project.graph, statuses, names, force=arguments.force, with_upstream=arguments.upstream)


def _tell_dagster(project: Project) -> None:
    """What `dvc repro` made meanwhile is news to Dagster: it is told, and only then does this cost an import of it."""
    records = DagsterRecords(project.paths.state / "dagster")
    try:
        if not records.exists or not untold_stages(project, records):
            return
    except DagsterUnreadableError as error:
        raise CommandError(str(error), Exit.DISAGREES) from error
    from orchestration.runs.dagster_run import tell_outside_changes

    for name in tell_outside_changes(project):
        say(f"{name}: dvc.lock has a version that Dagster did not know; reported")


def _announce(plan: Plan, statuses: Mapping[str, StageStatus]) -> None:
    # In a fresh clone all have the same cause, which is said once.
    by_causes: dict[str, list[str]] = {}
    for name in plan.due:
        causes = "; ".join(cause.text for cause in statuses[name].causes) or "asked for by --force"
        by_causes.setdefault(causes, []).append(paint(name, "bold"))
    for causes, names in by_causes.items():
        print(f"{', '.join(names)}: {causes}")
    if plan.following:
        print(f"{paint('then, if their inputs change', 'dim')}: {', '.join(plan.following)}")
    sys.stdout.flush()
