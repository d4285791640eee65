"""The nightly re-scrape without a daemon: look at the sources again, let what is made from them follow, and nothing else.

Trainings (`automation: manual`) stay as they are, and so does everything made from them. The same rule is in Dagster a schedule for the
sources and automation on changed data.
"""

from collections.abc import Callable, Collection
from pathlib import Path

from orchestration.bridge.meta import stage_meta
from orchestration.bridge.project import Project
from orchestration.bridge.status import project_status
from orchestration.checkout import open_prepared, open_project
from orchestration.errors import Exit
from orchestration.runs.dagster_run import RunResult, run_plan
from orchestration.runs.selection import Plan
from stages.retractions import RETRACTIONS_FILE


def scheduled_sources(project: Project) -> list[str]:
    """The stages that a schedule starts, in topological order."""
    return [stage.name for stage in project.graph.stages.values() if stage_meta(stage).schedule is not None]


def followers(project: Project, names: Collection[str]) -> list[str]:
    """What is made from the named stages and may follow by itself, in topological order: not past a stage that waits for a person."""
    found: list[str] = []
    for stage in project.graph.stages.values():
        # In topological order, one pass is enough: a follower of a follower follows.
        above = set(project.graph.upstream(stage.name))
        if stage.name not in names and above & {*names, *found} and stage_meta(stage).automation == "on_data":
            found.append(stage.name)
    return found


def night_plan(project: Project, sources: Collection[str]) -> Plan:
    """Make the sources again whatever their state, and then what follows them."""
    ordered = tuple(name for name in project.graph.stages if name in sources)
    return Plan(due=ordered, following=tuple(followers(project, sources)), forced=frozenset(sources))


def run_night(root: Path, sources: Collection[str], *, say: Callable[[str], None]) -> RunResult:
    """One night: the sources again, then what their changes touch."""
    project = open_project(root)
    return run_plan(project, night_plan(project, sources), jobs=None, say=say)


def follow_retractions(root: Path) -> int:
    """Make again what is stale from the readers of retractions.yaml on, trainings excepted; the exit code of `figment materialize`."""
    from orchestration.runs.outcome import report_run, say

    project = open_prepared(root)
    readers = [name for name, stage in project.graph.stages.items() if RETRACTIONS_FILE in stage.deps]
    reach = [*readers, *followers(project, readers)]
    statuses = project_status(project)
    due = tuple(name for name in reach if statuses[name].state != "fresh")
    if not due:
        print("nothing to do: the data are up to date")
        return Exit.WELL
    following = tuple(name for name in reach if name not in due and name in project.graph.downstream(due))
    result = run_plan(project, Plan(due, following, frozenset()), jobs=None, say=say)
    report_run(result)
    return Exit.WELL if result.is_success and not result.failed_checks else Exit.DISAGREES
