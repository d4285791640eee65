"""All of a project's Dagster definitions, made from its dvc.yaml. See README.md beside this file for use in a project of your own."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

from orchestration.bridge.assets import StageRunner, build_stage_assets
from orchestration.bridge.checks import build_stage_checks
from orchestration.bridge.dead_runs import dead_run_sensor
from orchestration.bridge.executor import threaded_executor
from orchestration.bridge.graph import Stage
from orchestration.bridge.meta import StageMeta, stage_meta
from orchestration.bridge.process import Hold, Outcome, run_command
from orchestration.bridge.project import Project
from orchestration.bridge.sensors import build_mirror_sensor, build_schedules


def build_definitions(
    project: Project,
    *,
    run: StageRunner | None = None,
    is_under_way: Callable[[Stage, str], bool] = lambda stage, made_from: False,
    checks: Sequence[dg.AssetChecksDefinition] = (),
    executor: dg.ExecutorDefinition | None = None,
) -> dg.Definitions:
    """Assets, checks, the mirror, schedules and the automation of every stage of the project's dvc.yaml.

    run: how commands are started, a local process by default. is_under_way: for a runner whose commands outlive this process, whether one that
    makes the stage from inputs of that name runs still (or has ended unseen), so that calling `run` only follows it. checks: the project's own,
    beside the general ones.
    Raises GraphError when dvc.yaml cannot be used.
    """
    sensors: list[Any] = [build_mirror_sensor(project), dead_run_sensor]
    if any(stage_meta(stage).automation != "manual" for stage in project.graph.stages.values()):
        sensors.append(
            dg.AutomationConditionSensorDefinition(
                "on_data",
                target=dg.AssetSelection.all(),
                default_status=dg.DefaultSensorStatus.RUNNING,
                minimum_interval_seconds=30,
                description="Makes the stages of `automation: on_data` anew when the data of one of their inputs changed.",
            )
        )
    return dg.Definitions(
        assets=build_stage_assets(project, run or local_runner(project), is_under_way),
        asset_checks=[*build_stage_checks(project), *checks],
        sensors=sensors,
        schedules=build_schedules(project),
        executor=executor or threaded_executor,
    )


def local_runner(project: Project) -> StageRunner:
    """Commands as processes of this machine, with the environment DVC would give them."""

    def run(
        stage: Stage, _meta: StageMeta, environment: Mapping[str, str], hear: Callable[[str, str], None], is_cancelled: Callable[[], bool], hold: Hold
    ) -> Outcome:
        return run_command(stage.cmd, cwd=project.root / stage.wdir, env=environment, on_output=hear, cancelled=is_cancelled, hold=hold)

    return run
