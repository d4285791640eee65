"""The project a command works on: where it is, and the bridge's view of it."""

import os
from pathlib import Path

from orchestration.bridge.graph import GraphError
from orchestration.bridge.preludes import prepared
from orchestration.bridge.project import Project


def find_root(start: Path | None = None) -> Path:
    """The nearest folder at or above `start` (the present folder by default) that holds a dvc.yaml. Raises GraphError when there is none."""
    start = (start or Path(os.environ.get("FIGMENT_ROOT") or Path.cwd())).resolve()
    for folder in (start, *start.parents):
        if (folder / "dvc.yaml").is_file():
            return folder
    raise GraphError(f"{start}: no dvc.yaml here or in a folder above; change into a Figment checkout, or pass its folder with --root")


def open_project(root: Path) -> Project:
    """The project at `root`, as it lies there."""
    return Project(root)


def open_prepared(root: Path) -> Project:
    """The project at `root` with its preludes up to date, ready to be judged."""
    return prepared(open_project(root))
