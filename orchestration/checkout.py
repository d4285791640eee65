"""The project a command works on: where it is, and the bridge's view of it with Figment's own idea of what a source file means."""

import os
from pathlib import Path

from orchestration.bridge.graph import GraphError
from orchestration.bridge.project import Project


def find_root(start: Path | None = None) -> Path:
    """The nearest folder at or above `start` (the present folder by default) that holds a dvc.yaml. Raises GraphError when there is none."""
    start = (start or Path(os.environ.get("FIGMENT_ROOT") or Path.cwd())).resolve()
    for folder in (start, *start.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    raise GraphError(f"{start}: no dvc.yaml here or in a folder above; change into a Figment checkout, or pass its folder with --root")


def open_project(root: Path) -> Project:
    """The project at `root`; edits of comments, docstrings and layout count as edits of looks."""
    return Project(root, normalise=_normalise)


def _normalise(source: bytes) -> str:
    from orchestration.closure import normalised_source_hash

    return normalised_source_hash(source)
