"""What a prelude may read that DVC cannot list among its dependencies: which distributions are installed, and dvc.yaml itself.

A prelude is run again when they moved since it last ran here, or when something else than what it wrote is there (a `git pull` brought what it
wrote on another machine). So a library that is bumped, or a stage that is added, is seen without an edit of any file that the prelude depends on.
"""

import functools
import hashlib
import os
import sys

from .graph import Stage
from .project import Project


def surroundings(project: Project, prelude: Stage) -> str:
    """A hash of the distributions that this Python finds, by name and release, and of the bytes of the prelude's dvc.yaml."""
    return hashlib.sha256(_installed().encode() + (project.root / prelude.file).read_bytes()).hexdigest()


def have_moved(project: Project, prelude: Stage) -> bool:
    """Whether the prelude never ran well here, or its surroundings or what it wrote are others than then."""
    row = project.store.connection().execute("SELECT surroundings, written FROM preludes WHERE stage = ?", (prelude.name,)).fetchone()
    return row is None or tuple(row) != (surroundings(project, prelude), _written(project, prelude))


def trouble_of(project: Project, prelude: str) -> str:
    """Why the last attempt to run the prelude did not succeed; empty when it did."""
    row = project.store.connection().execute("SELECT trouble FROM preludes WHERE stage = ?", (prelude,)).fetchone()
    return row[0] if row else ""


def remember(project: Project, prelude: Stage, *, before: str, trouble: str) -> None:
    """Keep how the prelude fared. before: its surroundings before it ran; kept, with what is written now, when it fared well (no `trouble`)."""
    row = (prelude.name, "", "", trouble) if trouble else (prelude.name, before, _written(project, prelude), "")
    with project.store.connection() as connection:
        connection.execute("INSERT OR REPLACE INTO preludes VALUES (?, ?, ?, ?)", row)


def _written(project: Project, prelude: Stage) -> str:
    return " ".join(content.id if (content := project.content(path)) else "absent" for path in prelude.writes)


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
