"""Each stage by the launcher that compute.yaml names for it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from orchestration.bridge.process import Outcome
from orchestration.launch.compute import Compute
from orchestration.launch.jobs import Job, Launcher
from orchestration.launch.local import LocalLauncher
from orchestration.launch.slurm import SlurmLauncher

# In the environment of every command that a launcher started: the stage's program (stages/program.py) then starts nothing elsewhere.
LAUNCHED = "FIGMENT_LAUNCHED"


class LauncherByStage:
    """state: the project's folder for what is neither in git nor an artifact."""

    def __init__(self, compute: Compute, root: Path, state: Path) -> None:
        self._compute = compute
        self._local = LocalLauncher(compute, state / "locks" / "gpus")
        self._slurm = SlurmLauncher(compute, root, state)

    def __call__(self, job: Job, *, on_output: Callable[[str, str], None], is_cancelled: Callable[[], bool]) -> Outcome:
        launched = replace(job, env={**job.env, LAUNCHED: self._compute.of(job.stage).launcher})
        return self._of(job.stage)(launched, on_output=on_output, is_cancelled=is_cancelled)

    def is_under_way(self, stage: str, made_from: str) -> bool:
        """Whether such a job runs already, or has ended unseen: calling then follows it or takes its outcome, and starts nothing.

        What this machine runs by itself ends with who asked for it.
        """
        return self._compute.of(stage).launcher == "slurm" and self._slurm.is_under_way(stage, made_from)

    def start_anew(self, stage: str, on_output: Callable[[str, str], None]) -> None:
        """See to it that no job goes on that began before the stage's output was removed; a training goes on from its checkpoint."""
        if self._compute.of(stage).launcher == "slurm":
            self._slurm.start_anew(stage, on_output)

    def _of(self, stage: str) -> Launcher:
        return self._slurm if self._compute.of(stage).launcher == "slurm" else self._local
