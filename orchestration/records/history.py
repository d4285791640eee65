"""When each artifact was made and by which door: from the bridge's own log, and from DVC's cache for what DVC made alone."""

import dataclasses
import json

from orchestration.bridge.cache import object_path
from orchestration.bridge.lockfile import Lock
from orchestration.bridge.project import Project

# The door of everything that the log does not know: `dvc repro`, `dvc commit`, a pull of somebody else's lock file.
OUTSIDE = "dvc"


@dataclasses.dataclass(frozen=True)
class Making:
    """One time an artifact was made or found to hold. at: Unix seconds or None; how: `ran`, `restored`, or `outside`.

    For an artifact that DVC made alone, `at` is when its bytes first entered the cache of this machine.
    """

    id: str
    at: float | None
    door: str
    how: str
    seconds: float = 0.0
    causes: tuple[str, ...] = ()


def makings(project: Project, lock: Lock) -> dict[str, Making]:
    """For every stage in dvc.lock, how its recorded artifact came to be."""
    # The log says how each id was made here last; what it does not know, DVC made alone.
    newest = {
        (stage, id): _making(id, at, door, outcome, detail)
        for stage, id, at, door, outcome, detail in project.store.connection().execute(
            "SELECT stage, id, at, door, outcome, detail FROM events WHERE number IN (SELECT max(number) FROM events GROUP BY stage, id)"
        )
    }
    found = {}
    for name, entry in lock.entries.items():
        id = entry.output_id(project.graph[name])
        if id is not None:
            found[name] = newest.get((name, id)) or Making(id, _cached_at(project, id), OUTSIDE, "outside")
    return found


def past(project: Project, name: str, *, most: int = 10) -> list[Making]:
    """The latest makings of one stage that the log knows, newest first."""
    rows = project.store.connection().execute(
        "SELECT id, at, door, outcome, detail FROM events WHERE stage = ? ORDER BY number DESC LIMIT ?", (name, most)
    )
    return [_making(*row) for row in rows]


def logged_ids(project: Project) -> set[str]:
    """Every id of an artifact that the log has ever seen."""
    return {id for (id,) in project.store.connection().execute("SELECT DISTINCT id FROM events")}


def _making(id: str, at: float, door: str, outcome: str, detail: str) -> Making:
    try:
        known = json.loads(detail)
    except ValueError:
        known = {}  # damaged; the doctor says so
    return Making(id, at, door, outcome, float(known.get("seconds", 0.0)), tuple(known.get("causes", ())))


def _cached_at(project: Project, id: str) -> float | None:
    try:
        return object_path(project.cache_dir, id).stat().st_mtime
    except OSError:
        return None
