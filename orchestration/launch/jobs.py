"""A stage's command as a launcher gets it, and what every launcher is."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from orchestration.bridge.process import Hold, Outcome
from orchestration.launch.compute import COMPUTE_FILE

_PYTHON_MODULE = re.compile(r"^(?P<python>(?:\S*/)?python[\d.]*(?:\s+-[A-Za-z]+)*?)\s+-m\s+(?P<rest>\S.*)$")


class LaunchError(Exception):
    """A command cannot be started as compute.yaml asks."""


@dataclass(frozen=True)
class Job:
    """A stage's command, where and in what environment it runs. `pool` is its Dagster pool; `hold` must not be let go before its last process.

    `hold.made_from` names what the command reads: with the stage it says whether a job that runs on a cluster already is this one.
    """

    stage: str
    cmd: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    pool: str | None = None
    hold: Hold = field(default_factory=Hold)


class Launcher(Protocol):
    """Runs a job to its end, wherever that is. Ends it when `is_cancelled` says so."""

    def __call__(self, job: Job, *, on_output: Callable[[str, str], None], is_cancelled: Callable[[], bool]) -> Outcome: ...


def torchrun_command(cmd: str, processes: int, *, meeting: str = "--standalone") -> str:
    """`python -m X …` as `python -m torch.distributed.run MEETING --nproc-per-node N -m X …`. Raises LaunchError for any other command.

    meeting: how the processes of several nodes find each other.
    """
    match = _PYTHON_MODULE.match(cmd.strip())
    if match is None:
        raise LaunchError(f"torchrun starts commands of the form `python -m module …`, found `{cmd}`; set `launcher: local` in {COMPUTE_FILE}")
    return f"{match['python']} -m torch.distributed.run {meeting} --nproc-per-node {processes} -m {match['rest']}"
