"""How Figment's Dagster definitions are put together: the bridge's assets of dvc.yaml, with commands started the way compute.yaml says."""

import contextlib
import dataclasses
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

import dagster as dg

from orchestration.bridge.definitions import build_definitions as build_bridge_definitions
from orchestration.bridge.graph import Stage
from orchestration.bridge.meta import StageMeta
from orchestration.bridge.process import Hold, Outcome
from orchestration.bridge.project import Project
from orchestration.bridge.turns import Turn
from orchestration.checkout import open_project
from orchestration.launch.compute import COMPUTE_FILE, load_compute
from orchestration.launch.dispatch import LauncherByStage
from orchestration.launch.jobs import Job, Launcher
from orchestration.launch.shared_lock import take_turn
from orchestration.nights.withdrawal_sensor import build_withdrawal_sensor
from orchestration.runs.up import service_addresses
from stages.retractions import RETRACTIONS_FILE

# What Dagster knows of a run, under the names the stages know.
_RENAMED = {"DAGSTER_RUN_ID": "FIGMENT_DAGSTER_RUN_ID", "DAGSTER_RUN_URL": "FIGMENT_RUN_URL", "FIGMENT_MLFLOW_URL": "FIGMENT_MLFLOW_URL"}


def build_definitions(root: Path, *, launcher: Launcher | None = None) -> dg.Definitions:
    """Everything Dagster shows of the project at `root`.

    launcher: how commands reach processors; by compute.yaml when None. Raises GraphError or ParamsError when dvc.yaml or compute.yaml cannot be used.
    """
    # The bridge makes assets of any dvc.yaml; what is Figment's own is how commands are launched, and the sensor for withdrawn items.
    project = open_project(root)
    compute = load_compute(root / COMPUTE_FILE, list(project.graph.stages))
    bridge = build_bridge_definitions(project, run=_Runner(project, launcher or LauncherByStage(compute, project.root, project.paths.state)))
    lists = [name for name, stage in project.graph.stages.items() if RETRACTIONS_FILE in stage.deps]
    return dg.Definitions.merge(bridge, dg.Definitions(sensors=[build_withdrawal_sensor(root, lists)])) if lists else bridge


@dataclasses.dataclass(frozen=True)
class _Runner:
    """The bridge's commands, by a launcher."""

    project: Project
    launcher: Launcher

    def __call__(
        self,
        stage: Stage,
        meta: StageMeta,
        environment: Mapping[str, str],
        hear: Callable[[str, str], None],
        is_cancelled: Callable[[], bool],
        hold: Hold,
    ) -> Outcome:
        root = self.project.root
        job = Job(stage.name, stage.cmd, root / stage.wdir, {**environment, **_links(root, stage, environment)}, meta.pool, hold)
        return self.launcher(job, on_output=hear, is_cancelled=is_cancelled)

    def is_under_way(self, stage: Stage, made_from: str) -> bool:
        return isinstance(self.launcher, LauncherByStage) and self.launcher.is_under_way(stage.name, made_from)

    def take_turn(
        self, name: str, made_from: str, tell: Callable[[str], None], is_cancelled: Callable[[], bool]
    ) -> contextlib.AbstractContextManager[Turn | None]:
        return take_turn(self.project.root, name, made_from, tell, is_cancelled)


def _links(root: Path, stage: Stage, environment: Mapping[str, str]) -> dict[str, str]:
    """What lets a training name the Dagster run and the commit it came from."""
    environment = {"FIGMENT_MLFLOW_URL": service_addresses(root)["mlflow"], **environment}
    links = {ours: environment[theirs] for theirs, ours in _RENAMED.items() if theirs in environment}
    commit = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    if commit.returncode == 0:
        links["FIGMENT_GIT_COMMIT"] = commit.stdout.strip()
    return links | {"FIGMENT_STAGE": stage.name}
