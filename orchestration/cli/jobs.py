"""See, follow and end this project's jobs on the cluster.

Jobs belong to stages whose `launcher` in compute.yaml is slurm. They go on when Dagster, `figment materialize` or this machine ends; materializing
the stage again follows the one that runs and starts none.

Examples:
  figment jobs                       the jobs, where they are, and their place in the queue
  figment jobs follow polygpt        what the job has printed, and prints
  figment jobs cancel polygpt        let it write a checkpoint and end

exit codes: 0 done · 1 no such job · 2 wrong usage, or Slurm does not answer
"""

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.errors import CommandError, Exit

if TYPE_CHECKING:
    from orchestration.launch.slurm_commands import SlurmJob

_POLL_S = 1.0


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("action", nargs="?", choices=["list", "follow", "cancel"], default="list", help="what to do (default: %(default)s)")
    parser.add_argument("stage", nargs="?", metavar="STAGE", help="whose job to follow or to cancel")


def run(root: Path, arguments: argparse.Namespace) -> int:
    from orchestration.checkout import open_project
    from orchestration.launch.jobs import LaunchError
    from orchestration.launch.slurm import end_in_order, job_folder, job_prefix
    from orchestration.launch.slurm_commands import living_jobs

    if (arguments.action == "list") != (arguments.stage is None):
        raise CommandError(f"jobs {arguments.action}: {'name no stage' if arguments.stage else 'name the stage'}; see `figment jobs --help`")
    prefix = job_prefix(root)
    try:
        jobs = {job.name.removeprefix(prefix): job for job in living_jobs() if job.name.startswith(prefix)}
        if arguments.action == "list":
            print(_table([(job.id, stage, job.state.lower(), _place(job), job.elapsed) for stage, job in jobs.items()]) if jobs else "no jobs")
            return Exit.WELL
        if arguments.stage not in jobs:
            print(f"figment: {arguments.stage} has no job on the cluster; `figment jobs` lists them", file=sys.stderr)
            return Exit.DISAGREES
        job, folder = jobs[arguments.stage], job_folder(open_project(root).paths.state, arguments.stage)
        if arguments.action == "cancel":
            end_in_order(folder, job)
            print(f"job {job.id} was told to end")
        else:
            _follow(job, folder)
    except LaunchError as error:
        raise CommandError(str(error)) from error
    return Exit.WELL


def _follow(job: "SlurmJob", folder: Path) -> None:
    from orchestration.launch.slurm import Log
    from orchestration.launch.slurm_commands import job_of

    logs = [Log(folder / name) for name in ("stdout", "stderr")]
    has_ended = False
    while not has_ended:
        # Asked before the last look, so that nothing printed until then is missed.
        has_ended = job_of(job.id).has_ended
        for log in logs:
            for line in log.lines(last=has_ended):
                print(line, flush=True)
        time.sleep(0 if has_ended else _POLL_S)


def _place(job: "SlurmJob") -> str:
    from orchestration.launch.slurm_commands import queue_position

    place = queue_position(job.id) if job.state == "PENDING" else None
    return job.nodes or (f"number {place} in the queue ({job.reason})" if place else job.reason)


def _table(jobs: list[tuple[str, ...]]) -> str:
    rows = [("job", "stage", "state", "place", "for"), *jobs]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
