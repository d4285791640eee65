"""A DVC project as a component of a `dg` project: in YAML, in Python, and from a state that needs no DVC where the code server starts."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import dagster as dg
from dagster.components import (
    ComponentLoadContext,
    DefsStateConfig,
    DefsStateConfigArgs,
    ResolutionContext,
    Resolvable,
    ResolvedDefsStateConfig,
    Resolver,
    Scaffolder,
    ScaffoldRequest,
    StateBackedComponent,
    scaffold_component,
    scaffold_with,
)
from dagster.components.utils.translation import ResolvedTranslationFn
from pydantic import BaseModel, Field

from .assets import StageRunner
from .definitions import build_definitions
from .graph import Source, Stage
from .project import Project
from .resolve import resolve_graph
from .translator import DagsterDvcTranslator

# Ignored by git and by DVC, wherever `dvc init` was run.
STATE_DIR = ".dvc/tmp/dagster_dvc"


class ScaffoldParams(BaseModel):
    """What `dg scaffold defs` asks for."""

    project_path: str = Field(default=".", description="The folder of the DVC project, where its .dvc is, relative to the folder of the dg project.")
    key_prefix: list[str] = Field(default_factory=list, description="What all asset keys begin with; needed where there are several DVC projects.")


class DvcProjectScaffolder(Scaffolder[ScaffoldParams]):
    """Writes the defs.yaml of a DvcProjectComponent, or its component.py."""

    @classmethod
    def get_scaffold_params(cls) -> type[ScaffoldParams]:
        return ScaffoldParams

    def scaffold(self, request: ScaffoldRequest[ScaffoldParams]) -> None:
        given = Path(request.params.project_path)
        project = str(given) if given.is_absolute() or request.project_root is None else f"{{{{ project_root }}}}/{given}"
        prefix = {"key_prefix": request.params.key_prefix} if request.params.key_prefix else {}
        scaffold_component(request, {"project": project, **prefix})


def _resolve_project(context: ResolutionContext, project: str) -> str:
    return str(context.resolve_source_relative_path(context.resolve_value(project, as_type=str)))


@scaffold_with(DvcProjectScaffolder)
@dataclass
class DvcProjectComponent(StateBackedComponent, Resolvable):
    """Every stage of a DVC project as an asset, everything under a .dvc file as an external asset, and what keeps Dagster and DVC in step.

    project: the folder of the DVC project, where its .dvc is; in YAML relative to the file. key_prefix: what all asset keys begin with; give each of
    several projects its own. translation: in YAML attributes of the assets, with `data` for the stage and `spec` for the asset as it would be; in
    Python override `get_asset_spec`. state_dir: relative to the project; where hashes of files are remembered.

    Its state is the resolved graph: where it was refreshed (`dg utils refresh-defs-state`), a code server starts without DVC.
    """

    project: Annotated[str, Resolver(_resolve_project, model_field_type=str)]
    key_prefix: Sequence[str] = ()
    translation: ResolvedTranslationFn[Stage | Source] = None
    state_dir: str = STATE_DIR
    defs_state: ResolvedDefsStateConfig = field(default_factory=DefsStateConfigArgs.local_filesystem)

    @property
    def defs_state_config(self) -> DefsStateConfig:
        """One state for each project."""
        name = "/".join(self.key_prefix) or Path(self.project).name
        return DefsStateConfig.from_args(self.defs_state, default_key=f"DvcProjectComponent[{name}]")

    def write_state_to_path(self, state_path: Path) -> None:
        """Ask DVC for the graph."""
        state_path.write_text(json.dumps(resolve_graph(Path(self.project).resolve())), encoding="utf-8")

    def build_defs_from_state(self, context: ComponentLoadContext, state_path: Path | None) -> dg.Definitions:  # noqa: ARG002 - Dagster's signature
        """The definitions of the graph as it was when the state was written; none where it never was."""
        if state_path is None:
            return dg.Definitions()
        resolved = json.loads(state_path.read_text(encoding="utf-8"))
        project = Project(Path(self.project), state_dir=self.state_dir, key_prefix=self.key_prefix, resolved=resolved)
        # The executor is the code location's, which may hold other components.
        return build_definitions(project, run=self.runner(project), executor=None, translator=_ByComponent(self))

    def get_asset_spec(self, project: Project, stage: Stage | Source) -> dg.AssetSpec:
        """The asset of a stage or source; `deps` and `code_version` are added to what this returns."""
        spec = DagsterDvcTranslator().get_asset_spec(project, stage)
        return self.translation(spec, stage) if self.translation else spec

    def runner(self, project: Project) -> StageRunner | None:
        """How commands are started; override it for a launcher. None: as processes of this machine."""


class _ByComponent(DagsterDvcTranslator):
    """A component's own way with assets."""

    def __init__(self, component: DvcProjectComponent) -> None:
        self._component = component

    def get_asset_spec(self, project: Project, stage: Stage | Source) -> dg.AssetSpec:
        return self._component.get_asset_spec(project, stage)
