"""What Dagster keeps in SQLite, as one PostgreSQL database has it.

SQLite has a file of events for every run, and in `index.db` a second copy, with a number of its own, of each event that concerns assets or the
state of a run. PostgreSQL has one table, whose numbers order the events of a run as well as those of an asset. So events are numbered anew, in an
order that keeps both, and everything that names an event by its number in the index names the new one: tags, checks, the newest materialization
of an asset, the pointers to inputs, and the cursors of automation.
"""

import base64
import bisect
import contextlib
import json
import re
import zlib
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from orchestration.moving.tables import MoveError, Row, Source, refuse_unknown, rows_of, sqlite

# Written by every new store about itself.
OWN = ("secondary_indexes", "alembic_version")
_POINTER_TAG = "dagster/input_event_pointer/"
_POINTER = re.compile(rf'("{_POINTER_TAG}[^"]*": ?")(\d+)(")')
_STORAGE_ID = re.compile(r'("(?:storage_id|latest_storage_id|last_event_id|max_storage_id|latest_materialization_storage_id)": ?)(\d+)')


class DagsterFiles:
    """Dagster's home of a project that nobody works in; closed by `close`."""

    def __init__(self, home: Path) -> None:
        self._open = contextlib.ExitStack()
        self._runs = home / "history" / "runs.db"
        self._index = home / "history" / "runs" / "index.db"
        self._schedules = home / "schedules" / "schedules.db"
        self._shards = sorted(path for path in (home / "history" / "runs").glob("*.db") if path != self._index)
        self._metadata = dict(zip((self._runs, self._schedules, self._index), _metadata(), strict=True))
        self._events_table = self._metadata[self._index].tables["event_logs"]
        self._numbers: dict[int, int] = {}
        self._known: list[int] = []

    def close(self) -> None:
        self._open.close()

    def sources(self) -> list[Source]:
        """Every table in an order that respects foreign keys. Raises MoveError for rows that would be left behind."""
        found: list[Source] = []
        for path, metadata in self._metadata.items():
            if not path.is_file():
                continue
            connection = self._open.enter_context(sqlite(path))
            refuse_unknown(connection, metadata.tables, path, but=OWN)
            there = set(sa.inspect(connection).get_table_names())
            if path == self._index:
                self._number(connection)
                found.append(Source(self._events_table, partial(self._events, connection)))
            found += [
                Source(table, partial(self._rows, connection, table))
                for table in metadata.sorted_tables
                if table.name not in OWN and table is not self._events_table and table.name in there
            ]
        return found

    def _rows(self, connection: sa.Connection, table: sa.Table) -> Iterator[Row]:
        return (self._row(table.name, row) for row in rows_of(connection, table))

    def _number(self, index: sa.Connection) -> None:
        """The new number of each event of the index by its old one."""
        for number, (old, _) in enumerate(self._merged(index), start=1):
            if old is not None:
                self._numbers[old] = number
        self._known = sorted(self._numbers)

    def _events(self, index: sa.Connection) -> Iterator[Row]:
        for number, (_, row) in enumerate(self._merged(index), start=1):
            yield self._row("event_logs", {**row, "id": number})

    def _merged(self, index: sa.Connection) -> Iterator[tuple[int | None, Row]]:
        """Each event once, with its number in the index if it is there: by the index, and before each what came before it in the same run."""
        pending: dict[str, deque[Row]] = {}
        for path in self._shards:
            with sqlite(path) as shard:
                refuse_unknown(shard, {"event_logs": self._events_table}, path, but=OWN)
                for row in rows_of(shard, self._events_table):
                    pending.setdefault(row["run_id"], deque()).append(row)
        # An event that was wiped from its run, or that a later release wrote to the index alone, has nothing to wait for.
        left: dict[str, dict[str, int]] = {run: defaultdict(int) for run in pending}
        for run, rows in pending.items():
            for row in rows:
                left[run][row["event"]] += 1
        for row in rows_of(index, self._events_table):
            waiting = pending.get(row["run_id"], deque())
            if left.get(row["run_id"], {}).get(row["event"]):
                while waiting:
                    earlier = waiting.popleft()
                    left[row["run_id"]][earlier["event"]] -= 1
                    if earlier["event"] == row["event"]:
                        break
                    yield None, earlier
            yield row["id"], row
        for waiting in pending.values():
            yield from ((None, row) for row in waiting)

    def _row(self, table: str, row: Row) -> Row:
        """The row with new numbers of events."""
        if table == "asset_event_tags" and row["key"].startswith(_POINTER_TAG) and (row["value"] or "").isdecimal():
            row = {**row, "value": str(self._new(int(row["value"])))}
        renumber = self._renumbering.get(table, {})
        return {name: renumber[name](self, value) if name in renumber and value is not None else value for name, value in row.items()}

    def _new(self, old: int) -> int:
        # An event that was wiped, or has not come yet, lies behind the one before it.
        place = bisect.bisect_right(self._known, old)
        return self._numbers[self._known[place - 1]] if place else 0

    def _text(self, text: str) -> str:
        text = _POINTER.sub(lambda found: f"{found[1]}{self._new(int(found[2]))}{found[3]}", text)
        return _STORAGE_ID.sub(lambda found: f"{found[1]}{self._new(int(found[2]))}", text)

    def _cursors(self, text: str) -> str:
        """The state of a sensor or of the daemon, whose cursor may be text within text, packed or not."""
        with contextlib.suppress(ValueError):
            tree = json.loads(text)
            if isinstance(tree, dict | list):
                changed = self._in_tree(tree)
                return text if changed == tree else json.dumps(changed)
        return self._cursor(text)

    def _in_tree(self, tree: Any) -> Any:
        if isinstance(tree, dict):
            return {key: self._cursor(value) if isinstance(value, str) else self._in_tree(value) for key, value in tree.items()}
        return [self._in_tree(each) for each in tree] if isinstance(tree, list) else tree

    def _cursor(self, text: str) -> str:
        """A cursor of automation is the number of its form, and base64 of zlib of JSON."""
        try:
            plain = zlib.decompress(base64.b64decode(text[1:], validate=True)).decode()
        except (ValueError, zlib.error):
            return self._text(text)
        if text[0] != "0":
            raise MoveError(f"a cursor of automation has the form {text[0]}; unset DAGSTER_WRITE_COMPRESSED_ASSET_DAEMON_CURSOR and run once")
        changed = self._text(plain)
        return text if changed == plain else "0" + base64.b64encode(zlib.compress(changed.encode())).decode()

    _renumbering: dict[str, dict[str, Callable[[Any, Any], Any]]] = {
        "event_logs": {"event": _text},
        "asset_keys": {"last_materialization": _text, "cached_status_data": _text},
        "asset_event_tags": {"event_id": _new},
        "asset_check_executions": {"evaluation_event": _text, "evaluation_event_storage_id": _new, "materialization_event_storage_id": _new},
        "instigators": {"instigator_body": _cursors},
        "jobs": {"job_body": _cursors},
        "job_ticks": {"tick_body": _cursors},
        "kvs": {"value": _cursors},
    }


def _metadata() -> tuple[sa.MetaData, sa.MetaData, sa.MetaData]:
    """Of runs, of schedules, of events; imported here because they bring most of Dagster."""
    from dagster._core.storage.event_log.schema import SqlEventLogStorageMetadata
    from dagster._core.storage.runs.schema import RunStorageSqlMetadata
    from dagster._core.storage.schedules.schema import ScheduleStorageSqlMetadata

    return RunStorageSqlMetadata, ScheduleStorageSqlMetadata, SqlEventLogStorageMetadata


def make_tables(url: str) -> None:
    """Dagster's tables in a new database, as Dagster makes them. Raises MoveError for those of another release."""
    from dagster_postgres import DagsterPostgresStorage

    storage = DagsterPostgresStorage(url)
    for part in (storage.run_storage, storage.event_log_storage, storage.schedule_storage):
        part.dispose()


def tables() -> Iterable[sa.Table]:
    """All of Dagster's tables but those that a store keeps about itself; those that refer to others first."""
    for metadata in _metadata():
        yield from (table for table in reversed(metadata.sorted_tables) if table.name not in OWN)


def schema(connection: sa.Connection) -> str:
    """The revision of the tables."""
    try:
        return str(connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar_one())
    except (sa.exc.DBAPIError, sa.exc.NoResultFound) as error:
        raise MoveError(f"{connection.engine.url.render_as_string()}: no alembic_version in it; is it a store of Dagster or MLflow?") from error
