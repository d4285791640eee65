"""Say which artifacts are fresh, stale, missing or running, and why.

The answer is that of `dvc status`, in words, from the files themselves; neither DVC nor Dagster is started. (After an edit of code, the stage `code`
is run first, so that code versions are those of now.) An artifact that "waits"
is judged by its own record, but something upstream is to be made first.

Examples:
  figment status                   every artifact
  figment status molecules --json  one of them, for a program

exit codes: 0 all fresh · 1 something is stale or missing · 2 wrong usage or configuration
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestration.bridge.materialize import running_stages
from orchestration.bridge.stage_lock import Holder
from orchestration.bridge.status import StageStatus, project_status
from orchestration.checkout import open_prepared
from orchestration.errors import Exit
from orchestration.records.history import Making, makings
from orchestration.terminal import Colour, local_time, paint, print_json, short_id, utc_time

_COLOURS: dict[str, Colour] = {"fresh": "green", "stale": "yellow", "missing": "red", "running": "blue"}


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("names", nargs="*", metavar="NAME", help="artifacts to report; all when none is named")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of the table")


def run(root: Path, arguments: argparse.Namespace) -> int:
    project = open_prepared(root)
    names = arguments.names or list(project.graph.stages)
    for name in names:
        _ = project.graph.artifact(name)
    # All are judged even when few are named: whether one waits for another is part of the answer.
    statuses = project_status(project)
    made, running = makings(project, project.lock()), running_stages(project)
    shown = [statuses[name] for name in statuses if name in names]
    if arguments.json:
        print_json(_document(root, shown, made, running, files_hashed=project.store.files_hashed))
    else:
        _print_table(shown, made, running)
    return Exit.WELL if all(status.state == "fresh" for status in shown) else Exit.DISAGREES


def state_word(status: StageStatus, running: Mapping[str, Holder]) -> str:
    """`running` goes before what the record says: it is about to change."""
    return "running" if status.name in running else status.state


def _print_table(shown: list[StageStatus], made: Mapping[str, Making], running: Mapping[str, Holder]) -> None:
    width = max(len("artifact"), *(len(status.name) for status in shown))
    print(paint(f"{'artifact':<{width}}  state    id        when              door", "dim"))
    for status in shown:
        word, making = state_word(status, running), made.get(status.name)
        when, door = (local_time(making.at), making.door) if making else ("-", "-")
        print(f"{status.name:<{width}}  {paint(f'{word:<7}', _COLOURS[word])}  {short_id(status.id):<8}  {when:<16}  {door}".rstrip())
        for note in _notes(status, running):
            print(f"  {note}")
    print()
    print(_summary(shown, running))


def _notes(status: StageStatus, running: Mapping[str, Holder]) -> list[str]:
    notes = [cause.text for cause in status.causes if cause.kind != "never_made"]
    if holder := running.get(status.name):
        notes.append(f"{holder}, since {local_time(holder.since)}")
    if status.waits_for:
        notes.append(f"waits for {', '.join(status.waits_for)}")
    return notes


def _summary(shown: list[StageStatus], running: Mapping[str, Holder]) -> str:
    words = [state_word(status, running) for status in shown]
    counts = ", ".join(f"{words.count(word)} {word}" for word in _COLOURS if word in words)
    if all(status.state == "fresh" for status in shown):
        return counts
    return f"{counts}; `figment materialize --stale` brings all up to date"


def _document(
    root: Path, shown: list[StageStatus], made: Mapping[str, Making], running: Mapping[str, Holder], *, files_hashed: int
) -> dict[str, Any]:
    words = [state_word(status, running) for status in shown]
    return {
        "root": str(root),
        "all_fresh": all(status.state == "fresh" for status in shown),
        "counts": {word: words.count(word) for word in _COLOURS},
        "artifacts": [_artifact(status, made.get(status.name), running.get(status.name)) for status in shown],
        "work": {"files_hashed": files_hashed},
    }


def _artifact(status: StageStatus, making: Making | None, holder: Holder | None) -> dict[str, Any]:
    return {
        "name": status.name,
        "state": "running" if holder else status.state,
        "id": status.id,
        "causes": [{"kind": cause.kind, "subject": cause.subject, "text": cause.text} for cause in status.causes],
        "waits_for": list(status.waits_for),
        "made": {"at": utc_time(making.at), "door": making.door, "how": making.how} if making else None,
        "running": {"pid": holder.pid, "door": holder.door, "since": utc_time(holder.since)} if holder else None,
    }
