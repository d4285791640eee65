"""Dagster ⇄ any DVC project, publishable by itself as `dagster_dvc`. Nothing of Figment's own belongs here.

What others use is offered here, and loaded when it is first asked for: most programs need a graph or a status, and no Dagster.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .component import DvcProjectComponent
    from .decorator import DvcInvocation, dvc_assets
    from .definitions import build_definitions
    from .executor import threaded_executor
    from .graph import GraphError, Source, Stage
    from .project import Project
    from .translator import DagsterDvcTranslator

__all__ = [
    "DagsterDvcTranslator",
    "DvcInvocation",
    "DvcProjectComponent",
    "GraphError",
    "Project",
    "Source",
    "Stage",
    "build_definitions",
    "dvc_assets",
    "threaded_executor",
]

_HOMES = {
    "DagsterDvcTranslator": "translator",
    "DvcInvocation": "decorator",
    "DvcProjectComponent": "component",
    "GraphError": "graph",
    "Project": "project",
    "Source": "graph",
    "Stage": "graph",
    "build_definitions": "definitions",
    "dvc_assets": "decorator",
    "threaded_executor": "executor",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
