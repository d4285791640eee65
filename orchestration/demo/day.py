"""The product in small: make everything, then show what came out, with ids and numbers, and where to look next."""

import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from orchestration.bridge.facts import metric_numbers
from orchestration.bridge.identity import Content
from orchestration.bridge.project import Project
from orchestration.bridge.status import StageStatus, project_status
from orchestration.checkout import open_prepared
from orchestration.records.history import Making, makings
from orchestration.terminal import human_bytes, paint, plural, short_id, table
from stages.durations import duration


def run_demo(root: Path, materialize_all: Callable[[], int]) -> int:
    """Make every artifact of the project at `root` and print the summary.

    materialize_all: what `figment materialize --all` does; its exit code is the demo's.
    """
    started = time.monotonic()
    status = materialize_all()
    project = open_prepared(root)
    statuses, made = project_status(project), makings(project, project.lock())
    print_summary(project, statuses, made)
    if status == 0:
        print(f"\nEverything is up to date, after {duration(time.monotonic() - started)}. Where to look now:\n")
        for command, words in _next_steps(root):
            print(f"  {paint(f'{command:<44}', 'bold')} {words}")
    return status


def print_summary(project: Project, statuses: Mapping[str, StageStatus], made: Mapping[str, Making]) -> None:
    """Two tables: artifacts with their ids, and the metrics people ask for first."""
    rows = []
    for name, status in statuses.items():
        content = _content(project, name)
        size = f"{plural(content.files, 'file')}, {human_bytes(content.bytes)}" if content else "-"
        rows.append((name, status.state, short_id(status.id), size, made[name].door if name in made else "-"))
    print()
    print("\n".join(table(rows, ("artifact", "state", "id", "size", "door"))))
    for path in project.graph.metric_files:
        if numbers := metric_numbers(project.root / path, []):
            print()
            print("\n".join(table([(key, _number(value)) for key, value in numbers.items()], (path, "value"))))


def _content(project: Project, name: str) -> Content | None:
    contents = [content for out in project.graph[name].data_outs if (content := project.content(out.path))]
    return Content("", sum(content.files for content in contents), sum(content.bytes for content in contents)) if contents else None


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _next_steps(root: Path) -> list[tuple[str, str]]:
    reports = [root / f"data/{name}/report.md" for name in ("toc_report", "book_report", "paintings_report", "molecule_bakeoff")]
    # `make demo` runs in an environment that the user's shell has not activated.
    here = "" if shutil.which("figment") else f"{os.path.relpath(Path(sys.executable).parent)}/"
    steps = [
        (f"{here}figment up", "Dagster and MLflow on 127.0.0.1"),
        (f"{here}figment why polygpt", "what the model was made from"),
        (f"{here}dvc status", "DVC agrees: up to date"),
        (f"{here}figment doctor", "every id recomputed from bytes"),
    ]
    steps[1:1] = [(f"open {path.relative_to(root)}", "a report, with pictures beside it") for path in reports if path.is_file()]
    sights = {
        "toc_training_video/training.mp4": "the same latents at every snapshot",
        "book_walks/spherical.mp4": "from imaginary page to imaginary page",
        "journal_site/index.html": "the journal of papers that do not exist",
    }
    steps[1:1] = [(f"open data/{name}", words) for name, words in sights.items() if (root / "data" / name).is_file()]
    steps.append((f"{here}figment demo --nightly", "the journal changes; only what is made from it moves"))
    return steps
