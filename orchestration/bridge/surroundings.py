"""What a prelude may read that DVC cannot list among its dependencies: which distributions are installed, and dvc.yaml itself.

A prelude is run again when they moved since it last ran. So a library that is bumped, or a stage that is added, is seen without an edit of any file
that the prelude depends on.
"""

import functools
import hashlib
import os
import sys
from pathlib import Path

from orchestration.bridge.project import Project


def surroundings(root: Path) -> str:
    """A hash of the distributions that this Python finds, by name and release, and of the bytes of dvc.yaml."""
    return hashlib.sha256(_installed().encode() + (root / "dvc.yaml").read_bytes()).hexdigest()


def have_moved(project: Project, prelude: str) -> bool:
    """Whether the surroundings are others than those in which the prelude last ran well, or it never did here."""
    row = project.store.connection().execute("SELECT surroundings FROM preludes WHERE stage = ?", (prelude,)).fetchone()
    return row is None or row[0] != surroundings(project.root)


def trouble_of(project: Project, prelude: str) -> str:
    """Why the last attempt to run the prelude did not succeed; empty when it did."""
    row = project.store.connection().execute("SELECT trouble FROM preludes WHERE stage = ?", (prelude,)).fetchone()
    return row[0] if row else ""


def remember(project: Project, prelude: str, *, before: str, trouble: str) -> None:
    """Keep how the prelude fared, and the surroundings from before its run when it fared well (`trouble` is empty)."""
    with project.store.connection() as connection:
        connection.execute("INSERT OR REPLACE INTO preludes VALUES (?, ?, ?)", (prelude, "" if trouble else before, trouble))


def _installed() -> str:
    return "\n".join(sorted({name for folder in sys.path for name in _distributions(folder or ".")}))


def _distributions(folder: str) -> list[str]:
    try:
        return _distributions_at(folder, os.stat(folder).st_mtime_ns)
    except OSError:
        return []


@functools.lru_cache(maxsize=64)
def _distributions_at(folder: str, _modified_ns: int) -> list[str]:
    return [name for name in os.listdir(folder) if name.endswith(".dist-info")] if os.path.isdir(folder) else []  # noqa: PTH112, PTH208 (asked at every look)
