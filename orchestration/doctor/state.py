"""The files of local state, `.figment/`: whole, and what they were when they were last seen whole.

Three kinds of proof, each for what the others cannot say. A file with a checksum of its own (the bridge's answers, checkpoints, the crawl's memory)
is checked by it, and a file of a known format is read as that. A database is asked for its tables, and SQLite for its integrity, which does not
tell a flipped bit within a text or a number. And every file, of any format, is held against its seal (orchestration/records/seals.py).
"""

import contextlib
import functools
import hashlib
import json
import os
import sqlite3
import zipfile
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath

from orchestration.bridge.answers import recall
from orchestration.bridge.identity import event_sum, unfit
from orchestration.bridge.project import Project
from orchestration.doctor.findings import CannotMendError, Finding
from orchestration.doctor.outputs import set_aside
from orchestration.records.seals import LOG, SEALS_NAME, Seal, database_seals, is_broken, log_seal, read_seals, state_files, take_seal, write_seals

# A table that each kind of database has: another program's, or another kind, has not.
_TABLES = {
    "state.db": "events",
    "mlflow/mlflow.db": "registered_models",
    "dagster/history/runs.db": "runs",
    "dagster/history/runs/index.db": "asset_keys",
    "dagster/schedules/schedules.db": "jobs",
}
_RUN_TABLE = "event_logs"
# Columns that hold JSON, by the database's path or, for those of single runs, its table.
_JSON = {"dagster/history/runs.db": ("runs", "run_body"), "dagster/history/runs/index.db": ("event_logs", "event")}
# What stands at the end of a file that carries its own SHA-256: checkpoints.
_MARK = b"FIGMENT1"
_SHA256_BYTES = hashlib.sha256().digest_size


def examine_state(project: Project, *, hear: Callable[[Path], None] | None, is_busy: bool) -> Iterator[Finding]:
    """One finding for each file of local state that is not whole, not what it was, or gone. is_busy: stages run, and write there."""
    state = project.paths.state
    if not state.is_dir():
        return
    seals = read_seals(state)
    if seals is None:
        yield _finding(project, SEALS_NAME, "state_damaged", "its checksum is not that of its text; what it said of other files is lost")
        seals = {}
    yield from _out_of_place(project, seals)
    good: dict[str, Seal] = {}
    names = list(state_files(state))
    databases = database_seals(state, names)
    for name in names:
        try:
            now = databases.get(name) or take_seal(state / name, hear=hear)
            known = seals.get(name)
            broken = known is not None and is_broken(state, name, known, now)
            trouble = _trouble(state, name) if not (known and known.digest == now.digest) or name.endswith(".db") else ""
        except FileNotFoundError:
            continue
        except OSError as error:
            yield _finding(project, name, "state_unreadable", f"cannot be read: {error.strerror}")
            continue
        if known is not None and broken and not trouble:
            # What a process that is at work writes twice within one tick of the clock looks the same.
            if is_busy:
                continue
            trouble = "its bytes changed under an unchanged time and size, as a failing disk does"
            if now.stamp != known.stamp:
                trouble = "lines that it had are gone or others, and lines are only ever added"
        if trouble:
            yield _finding(project, name, "state_damaged", trouble)
            good |= {name: known} if known is not None else {}
        else:
            good[name] = now
    known, now_log = seals.pop(LOG, None), log_seal(state)
    if known is not None and (lost := known.size - (now_log[LOG].size if now_log else 0)) > 0:
        detail = f"{lost} of the {known.size} entries of its log of what was made are gone"
        yield _finding(project, "state.db", "state_missing", detail)
        now_log = {LOG: known}
    good |= now_log
    for name, known in seals.items():
        if not (state / name).exists() and _is_irreplaceable(state, name):
            yield _finding(project, name, "state_missing", "was there, and is gone")
            good[name] = known
    if not is_busy:
        write_seals(state, good)


def _is_irreplaceable(state: Path, name: str) -> bool:
    """Whether something is lost with the file, which only a person can have removed; all else is made again from something."""
    path = PurePosixPath(name)
    if not (path.suffix == ".db" or path.match("tracking/*/*/events.jsonl") or name.startswith("mlflow/")):
        return False
    if name.startswith("dagster/history/runs/") and path.name != "index.db":
        return _dagster_has_run(state, path.stem)
    return "damaged" not in path.name


def _dagster_has_run(state: Path, run_id: str) -> bool:
    """Whether Dagster still lists the run: one that a person deleted leaves no events behind."""
    with contextlib.suppress(sqlite3.Error, UnicodeDecodeError), contextlib.closing(_open(state / "dagster/history/runs.db")) as connection:
        return connection.execute("SELECT 1 FROM runs WHERE run_id = ?", (run_id,)).fetchone() is not None
    return False


def _out_of_place(project: Project, seals: Collection[str]) -> Iterator[Finding]:
    """Folders where files belong, databases that were set aside, and stores of which nothing is left but what was beside them."""
    state = project.paths.state
    for name in _TABLES.keys() - seals:
        if (state / name).is_dir():
            yield _finding(project, name, "state_damaged", "is a folder, where a database belongs")
    for path in sorted(state.glob("state.db.damaged-*")):
        if not path.name.endswith(("-wal", "-shm")):
            detail = "is the damaged log of what was made here; a new one was begun, and that one's entries are not in it"
            yield Finding(
                "state_set_aside",
                f".figment/{path.name}",
                detail,
                "`figment doctor --repair` moves it to .figment/set-aside",
                _put_aside(project, path),
            )
    for path in [*(state / "locks").glob("*.lock"), *(state / "memory").rglob("*.json"), *map(state.joinpath, seals)]:
        if path.is_dir():
            yield _finding(project, path.relative_to(state).as_posix(), "state_damaged", "is a folder, where a file belongs")
    for folder, _, names in os.walk(state):
        for path in (Path(folder, name) for name in names):
            if not path.is_symlink() and (problem := unfit(path.name, path.lstat())):
                yield _finding(project, path.relative_to(state).as_posix(), "state_damaged", problem)
    history = state / "dagster/history"
    if history.is_dir() and (history / "runs.db").exists() != (history / "runs/index.db").exists():
        gone = "dagster/history/runs/index.db" if (history / "runs.db").exists() else "dagster/history/runs.db"
        yield _finding(project, gone, "state_missing", "is gone, while the other half of Dagster's records is there")


def _finding(project: Project, name: str, kind: str, detail: str) -> Finding:
    """The remedy follows from whose file it is."""
    path = project.paths.state / name
    if name.startswith("dagster/"):
        remedy = "end `figment up`, then restore it from a backup, or move it away: `figment doctor --repair` tells Dagster what dvc.lock has"
        return Finding(kind, f".figment/{name}", detail, remedy)
    if name.startswith("mlflow/"):
        remedy = (
            "restore it from a backup; where it cannot be, move the store away and remove the `sent.json` below .figment/tracking: it is sent again"
        )
        return Finding(kind, f".figment/{name}", detail, remedy)
    if name.startswith("tracking/"):
        return Finding(kind, f".figment/{name}", detail, "restore it from a backup; MLflow has a copy of what it said")
    if kind == "state_missing":
        remedy = "restore it from a backup, or remove .figment/seals.json to take things as they are: what it remembered is worked out again"
        return Finding(kind, f".figment/{name}", detail, remedy)
    if kind == "state_unreadable":
        return Finding(kind, f".figment/{name}", detail, "make it readable, or remove it: it is made again")
    remedy = "`figment doctor --repair` moves it to .figment/set-aside; it is made again from what it was made from"
    return Finding(kind, f".figment/{name}", detail, remedy, _put_aside(project, path))


def _put_aside(project: Project, path: Path) -> Callable[[], str]:
    def mend() -> str:
        if not path.exists():
            raise CannotMendError(f"{path} is gone already")
        where = set_aside(project, path, "state")
        for end in ("-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                path.with_name(path.name + end).rename(where.with_name(where.name + end))
        return f"moved {path.relative_to(project.root)} to {where.relative_to(project.root)}"

    return mend


# ---- one file ------------------------------------------------------------------------------------------------------------------------


def _trouble(state: Path, name: str) -> str:
    """What is wrong with the file by its own format, in words; empty where nothing is, or no format is known."""
    path, suffix = state / name, PurePosixPath(name).suffix
    if suffix == ".db" and "damaged" not in name:
        return _trouble_of_database(state, name)
    if name.startswith(("mlflow/", "dagster/")):
        return ""  # what stages printed and logged, by any name
    if name.startswith("memory/") and suffix == ".json":
        # The code's memory is plain JSON; what the bridge keeps carries a checksum.
        return (
            _trouble_of_json(path) if name.startswith("memory/code/") else "" if recall(path) is not None else "its checksum is not that of its text"
        )
    checks: Mapping[str, Callable[[Path], str]] = {
        ".json": _trouble_of_json,
        ".jsonl": _trouble_of_lines,
        ".pt": _trouble_of_trailer if name.startswith("checkpoints/") else lambda _: "",
        ".npz": _trouble_of_zip,
        ".zip": _trouble_of_zip,
        ".parquet": _trouble_of_parquet,
    }
    return checks[suffix](path) if suffix in checks else ""


def _trouble_of_json(path: Path) -> str:
    try:
        json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        return f"is no JSON: {error}"
    return ""


def _trouble_of_lines(path: Path) -> str:
    lines = path.read_bytes().split(b"\n")
    # A last line without an end is one that was being written.
    for number, line in enumerate(lines[:-1], start=1):
        if line.strip():
            try:
                json.loads(line)
            except (ValueError, RecursionError):
                return f"line {number} is no JSON"
    return ""


def _trouble_of_trailer(path: Path) -> str:
    content = path.read_bytes()
    body, mark, digest = content[: -len(_MARK) - _SHA256_BYTES], content[-len(_MARK) - _SHA256_BYTES : -_SHA256_BYTES], content[-_SHA256_BYTES:]
    if mark != _MARK:
        return "is no checkpoint, or cut short: the mark at its end is missing"
    return "" if hashlib.sha256(body).digest() == digest else "its SHA-256 is not the one written at its end"


def _trouble_of_zip(path: Path) -> str:
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError, ValueError, RuntimeError) as error:
        return f"is no archive that can be read: {error}"
    return f"its member {bad} has another checksum than the one on record" if bad else ""


def _trouble_of_parquet(path: Path) -> str:
    content = path.read_bytes()
    if not content.endswith(b"PAR1"):
        whole = content[:-_SHA256_BYTES].endswith(b"PAR1") and hashlib.sha256(content[:-_SHA256_BYTES]).digest() == content[-_SHA256_BYTES:]
        return "" if whole else "is no Parquet, or its SHA-256 is not the one written at its end"
    from pyarrow import ArrowException, BufferReader, parquet

    try:
        parquet.ParquetFile(BufferReader(content)).read()
    except (ArrowException, OSError, ValueError) as error:
        return f"is no Parquet that can be read: {str(error).partition(chr(10))[0]}"
    return ""


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=10.0)


def _trouble_of_database(state: Path, name: str) -> str:
    path = state / name
    table = _TABLES.get(name) or (_RUN_TABLE if name.startswith("dagster/history/runs/") else "")
    try:
        with contextlib.closing(_open(path)) as connection:
            connection.text_factory = functools.partial(str, encoding="utf-8", errors="replace")
            (said,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
            if said != "ok":
                return f"SQLite finds it damaged: {said}"
            tables = {found for (found,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
            if table and table not in tables:
                return f"is another database, or empty: it has no table {table}"
            return _trouble_of_rows(connection, name, table)
    except (sqlite3.Error, UnicodeDecodeError) as error:
        # One that is being written is well enough for that.
        is_busy = getattr(error, "sqlite_errorcode", None) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
        return "" if is_busy else f"SQLite cannot read it: {error}"


def _trouble_of_rows(connection: sqlite3.Connection, name: str, table: str) -> str:
    """Rows that say nothing: JSON that is none, entries of the log whose checksum is another."""
    pair = _JSON.get(name) or (("event_logs", "event") if table == _RUN_TABLE else None)
    if pair:
        (count,) = connection.execute(f"SELECT count(*) FROM {pair[0]} WHERE NOT json_valid({pair[1]})").fetchone()  # noqa: S608 - names of ours
        if count:
            return f"{count} of its {pair[0]} cannot be read: they are no JSON"
    if name == "state.db":
        rows = connection.execute("SELECT number, stage, id, at, door, outcome, detail, sum FROM events")
        wrong = [number for number, *values, said in rows if said is not None and said != event_sum(values)]
        if wrong:
            return f"entry {wrong[0]} of its log has another checksum than the one on record"
    return ""
