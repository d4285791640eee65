"""`@dvc_assets`: several stages as one op, with a body of your own around them."""

import fnmatch
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import dagster as dg

from .assets import StageRunner, materialize_in_dagster, reported_checks
from .definitions import local_runner
from .graph import GraphError
from .project import Project
from .translator import DagsterDvcTranslator, translate


class DvcInvocation:
    """What the body of `@dvc_assets` gets: the stages that this step was asked for."""

    def __init__(self, context: dg.AssetExecutionContext, project: Project, run: StageRunner) -> None:
        self._context, self._project, self._run = context, project, run

    @property
    def stages(self) -> list[str]:
        """Their names, upstream first."""
        graph, wanted = self._project.graph, self._context.selected_asset_keys
        return [name for name in graph.stages if dg.AssetKey(list(graph.key(name))) in wanted]

    def materialize(self, *, force: bool = False) -> Iterator[Any]:
        """Bring each up to date, and yield what Dagster is to know: check results and a MaterializeResult of each. Raises dg.Failure at the first."""
        for name in self.stages:
            yield from materialize_in_dagster(self._context, self._project, self._project.graph[name], self._run, "dagster", force=force)


def dvc_assets(
    *,
    project: Project,
    select: Sequence[str] = ("*",),
    name: str | None = None,
    pool: str | None = None,
    run: StageRunner | None = None,
    translator: DagsterDvcTranslator | None = None,
) -> Callable[[Callable[[dg.AssetExecutionContext, DvcInvocation], Iterator[Any]]], dg.AssetsDefinition]:
    """Make assets of the stages whose name one of the patterns `select` fits (`train*`, `models/*`); the decorated function makes them.

        @dvc_assets(project=Project(Path("…")), select=["train*"])
        def training(context: dg.AssetExecutionContext, dvc: DvcInvocation):
            yield from dvc.materialize()

    Any subset of them can be asked for. Raises GraphError when a pattern fits no stage.
    """
    project, specs = translate(project, translator)
    names = [stage for stage in project.graph.stages if any(fnmatch.fnmatchcase(stage, pattern) for pattern in select)]
    for pattern in select:
        if not fnmatch.filter(names, pattern):
            raise GraphError(f"@dvc_assets: {pattern!r} fits no stage; stages: {', '.join(project.graph.stages)}")

    def decorate(function: Callable[[dg.AssetExecutionContext, DvcInvocation], Iterator[Any]]) -> dg.AssetsDefinition:
        @dg.multi_asset(
            name=name or function.__name__,
            specs=[specs[stage] for stage in names],
            check_specs=[check for stage in names for check in reported_checks(project.graph[stage], specs[stage].key)],
            can_subset=True,
            pool=pool,
        )
        def stages(context: dg.AssetExecutionContext) -> Iterator[Any]:
            yield from function(context, DvcInvocation(context, project, run or local_runner(project)))

        return stages

    return decorate
