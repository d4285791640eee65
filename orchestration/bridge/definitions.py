"""All of a project's Dagster definitions, made from its dvc.yaml. See README.md beside this file for use in a project of your own."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

from .assets import StageRunner, assets_of
from .checks import build_stage_checks
from .dead_runs import build_dead_run_sensor
from .executor import threaded_executor
from .graph import Stage
from .meta import StageMeta, stage_meta
from .process import Hold, Outcome, run_command
from .project import Project
from .sensors import build_mirror_sensor, build_schedules
from .translator import DagsterDvcTranslator, translate


def build_definitions(
    project: Project,
    *,
    run: StageRunner | None = None,
    checks: Sequence[dg.AssetChecksDefinition] = (),
    executor: dg.ExecutorDefinition | None = threaded_executor,
    translator: DagsterDvcTranslator | None = None,
) -> dg.Definitions:
    """Assets, checks, the mirror, schedules and the automation of every stage of the project's dvc.yaml.

    run: how commands are started, a local process by default. checks: the project's own, beside the general ones. executor: None to leave it to other
    Definitions that these are merged with. translator: how the assets look.
    Several projects go into one code location with `dg.Definitions.merge`, if each has a `key_prefix` of its own.
    Raises GraphError when dvc.yaml cannot be used.
    """
    project, specs = translate(project, translator)
    sensors: list[Any] = [build_mirror_sensor(project), build_dead_run_sensor(project)]
    if any(stage_meta(stage).automation != "manual" for stage in project.graph.stages.values()):
        sensors.append(
            dg.AutomationConditionSensorDefinition(
                "_".join([*project.key_prefix, "on_data"]),
                # Assets of others have sensors of their own.
                target=dg.AssetSelection.assets(*(specs[name].key for name in project.graph.stages)),
                default_status=dg.DefaultSensorStatus.RUNNING,
                minimum_interval_seconds=30,
                description="Makes the stages of `automation: on_data` anew when the data of one of their inputs changed.",
            )
        )
    return dg.Definitions(
        assets=assets_of(project, specs, run or local_runner(project)),
        asset_checks=[*build_stage_checks(project), *checks],
        sensors=sensors,
        schedules=build_schedules(project),
        executor=executor,
    )


def local_runner(project: Project) -> StageRunner:
    """Commands as processes of this machine, with the environment DVC would give them."""

    def run(
        stage: Stage, _meta: StageMeta, environment: Mapping[str, str], hear: Callable[[str, str], None], is_cancelled: Callable[[], bool], hold: Hold
    ) -> Outcome:
        return run_command(stage.cmd, cwd=project.root / stage.wdir, env=environment, on_output=hear, cancelled=is_cancelled, hold=hold)

    return run
