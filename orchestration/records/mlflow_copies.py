"""Is MLflow's copy still what the journals told it? What was deleted or edited in a local store since, in words.

The journals below `.figment/tracking` are the truth of every training and report; what they have sent must be there. Only what Figment sent is
compared: what people add in MLflow's pages (notes, tags of their own, other aliases) is theirs. A server's store is not looked into.
"""

import contextlib
import math
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from orchestration.records.mlflow_runs import Finding, state_dir, store_uri
from orchestration.records.mlflow_sqlite import Row, SqliteStore
from training.tracking.journal import REFUSED_NAME, SENT_NAME, Event, journal_folders, read_events, read_sent, series
from training.tracking.registry import CHAMPION, OUTPUT_TAG, PROMOTION_TAG, RETRACTED_TAG
from training.tracking.store import flat_params, safe_key, safe_tags, sqlite_path, store_name

_AGAIN = (
    "if nobody meant it, remove {note} and run `figment doctor --repair`, which sends what the journal has again; else remove the folder {folder}"
)
# A file of MLflow's is written moments before its journal notes that it was sent.
_SLACK_S = 10.0


def copy_findings(root: Path) -> Iterator[Finding]:
    """One finding for each store, run, version, tag, value or artifact that was sent and is gone or another now. Raises sqlite3.Error."""
    uri = store_uri(root)
    path = sqlite_path(uri)
    sent = {folder: note for folder in journal_folders(state_dir(root)) if (note := _note(folder, uri)) is not None}
    if path is None or not sent:
        return
    if not path.is_file():
        detail = f"is gone; {len(sent)} journals were sent to it"
        remedy = "restore it from a backup, or remove each `sent.json` below .figment/tracking and run `figment doctor --repair`: all is sent again"
        yield Finding("mlflow_store_missing", str(path), detail, remedy)
        return
    store = SqliteStore(path)
    for folder, note in sent.items():
        if note.get("run_id"):
            yield from _of_run(root, store, folder, note)
    yield from _versions(root, store, list(sent))
    yield from _champions(store)
    yield from _late_artifacts(root, path.parent / "artifacts", list(sent))


def _note(folder: Path, uri: str) -> dict[str, Any] | None:
    """What the journal notes of its copy in this store; None where it has none."""
    note = read_sent(folder)
    return note if isinstance(note, dict) and note.get("store") == store_name(uri, folder) and note.get("offset") else None


def _events(folder: Path, note: dict[str, Any], *kinds: str) -> list[Event]:
    """The events of these kinds that were sent."""
    return [event for event, end in read_events(folder, kinds=kinds) if end <= note["offset"]]


def _of_run(root: Path, store: SqliteStore, folder: Path, note: dict[str, Any]) -> Iterator[Finding]:
    opening = next(iter(_events(folder, note, "open")), None)
    if opening is None:
        return
    subject, again = f"{opening['stage']} run {note['run_id']}", _again(root, folder)
    row = store.run(note["run_id"])
    if row is None:
        yield Finding("mlflow_run_missing", subject, "was sent to MLflow and is not there any more, or lies in its bin", again)
        return
    if differing := [*_tags(folder, note, row), *_params(folder, note, row), *_metrics(folder, note, row)]:
        more = f" and {len(differing) - 3} more" if len(differing) > 3 else ""
        yield Finding("mlflow_run_edited", subject, f"is not what was sent: {', '.join(differing[:3])}{more}", again)
    gone = [name for name in _artifacts(folder, note) if not _artifact_path(root, row, name).exists()]
    if gone and not (folder / REFUSED_NAME).exists():
        detail = f"has lost files that were sent: {', '.join(gone[:3])}" + (f" and {len(gone) - 3} more" if len(gone) > 3 else "")
        yield Finding("mlflow_artifact_missing", subject, detail, "make the stage's report again with `--force`, or restore it from a backup")


def _tags(folder: Path, note: dict[str, Any], row: Row) -> Iterator[str]:
    expected: dict[str, Any] = {}
    for event in _events(folder, note, "open", "tags"):
        expected |= event["tags"] if event["kind"] == "open" else event["values"]
    for key, value in safe_tags(expected).items():
        if row["tags"].get(key) != value:
            yield f"tag {key} is {row['tags'].get(key, 'gone')}"


def _params(folder: Path, note: dict[str, Any], row: Row) -> Iterator[str]:
    expected: dict[str, str] = {}
    for event in _events(folder, note, "open"):
        # MLflow keeps the first value of a parameter.
        expected = flat_params(event["config"]) | expected
    for key, value in expected.items():
        if row["params"].get(key) != value:
            yield f"parameter {key} is {row['params'].get(key, 'gone')}"


def _metrics(folder: Path, note: dict[str, Any], row: Row) -> Iterator[str]:
    if note["offset"] < (folder / "events.jsonl").stat().st_size:
        return  # The newest values may not have been sent yet.
    for name, points in series(folder).items():
        key, (_, value) = safe_key(name), points[-1]
        known = row["metrics"].get(key)
        if known is None or not (known == value or (math.isnan(known) and math.isnan(value)) or abs(known) > 1e300):
            yield f"metric {key} is {'gone' if known is None else known}"


def _artifacts(folder: Path, note: dict[str, Any]) -> list[str]:
    return [f"{event['folder']}/{Path(event['path']).name}".lstrip("/") for event in _events(folder, note, "artifact")]


def _artifact_path(root: Path, row: Row, name: str) -> Path:
    return state_dir(root) / "mlflow/artifacts" / row["experiment"] / row["run_id"] / "artifacts" / name


def _versions(root: Path, store: SqliteStore, folders: list[Path]) -> Iterator[Finding]:
    """Models that a training registered and that are gone, or have lost what was said of them."""
    known = {(row["model"], row["tags"].get(OUTPUT_TAG)): row for row in store.versions()}
    numbers = defaultdict(list)
    for version in known.values():
        numbers[version["model"]].append(version["version"])
    for folder in folders:
        for event in _events(folder, read_sent(folder), "model"):
            found = known.get((event["model"], event["output_id"]))
            if found is None:
                detail = f"the version with the id {event['output_id']} was registered and is gone, or its tag {OUTPUT_TAG} is another"
                there = f"there: {', '.join(numbers[event['model']])}" if numbers[event["model"]] else "none is there"
                yield Finding("mlflow_version_missing", event["model"], f"{detail} ({there})", _again(root, folder))
                continue
            tags = safe_tags({"figment.output_path": event["path"], **event["tags"]})
            if edited := [f"tag {key} is {found['tags'].get(key, 'gone')}" for key, value in tags.items() if found["tags"].get(key) != value]:
                subject = f"{found['model']} version {found['version']}"
                remedy = "set it again on the version's page; what it was stands in the journal " + str((folder / "events.jsonl").relative_to(root))
                yield Finding("mlflow_version_edited", subject, f"is not what was registered: {', '.join(edited)}", remedy)


def _champions(store: SqliteStore) -> Iterator[Finding]:
    """Titles that nobody gave, and one that was given and that nobody has."""
    models = defaultdict(list)
    for row in store.versions():
        models[row["model"]].append(row)
    for model, rows in models.items():
        promoted = [row for row in rows if row["tags"].get(PROMOTION_TAG, "").startswith("promoted") and row["tags"].get(RETRACTED_TAG) != "true"]
        holders = [row for row in rows if CHAMPION in row["aliases"]]
        if promoted and not holders:
            named = ", ".join(row["version"] for row in promoted)
            detail = f"has no champion any more; promoted were: version {named}"
            yield Finding("mlflow_alias_missing", model, detail, f"give version {promoted[-1]['version']} the alias `{CHAMPION}` on the model's page")
        for row in holders:
            if not row["tags"].get(PROMOTION_TAG, "").startswith("promoted"):
                detail = f"is champion, although no report promoted it ({row['tags'].get(PROMOTION_TAG, 'none judged it')})"
                remedy = f"if you mean it, tag it `{PROMOTION_TAG}` = `promoted: by hand`; else move the alias on the model's page"
                yield Finding("mlflow_alias_edited", f"{model} version {row['version']}", detail, remedy)


def _late_artifacts(root: Path, artifacts: Path, folders: list[Path]) -> Iterator[Finding]:
    """Files of MLflow's that were written after the last time that anything was sent."""
    last = max((folder / SENT_NAME).lstat().st_mtime for folder in folders) + _SLACK_S
    for path in sorted(artifacts.rglob("*")):
        with contextlib.suppress(OSError):
            if path.is_file() and path.stat().st_mtime > last:
                detail = "was written after anything was last sent to MLflow: somebody edited it"
                yield Finding(
                    "mlflow_artifact_edited", path.relative_to(root).as_posix(), detail, "restore it from a backup, or make its report again"
                )


def _again(root: Path, folder: Path) -> str:
    return _AGAIN.format(note=(folder / SENT_NAME).relative_to(root), folder=folder.relative_to(root))
