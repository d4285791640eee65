"""Copy tables between databases row by row, and compare what came of it: counted, and by a sum over every value of every row."""

import contextlib
import hashlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

_BATCH = 1000

Row = dict[str, Any]


class MoveError(Exception):
    """Something cannot be moved, or is not the same afterwards; one line that says which and what to do."""


@dataclass(frozen=True)
class Moved:
    """A table that is the same on both sides now; or, before anything was copied, one that would be."""

    name: str
    rows: int


@dataclass(frozen=True)
class Source:
    """A table's rows as they shall be in the other store, each time anew, in an order in which they may be inserted."""

    table: sa.Table
    rows: Callable[[], Iterable[Row]]


@contextlib.contextmanager
def sqlite(path: Path) -> Iterator[sa.Connection]:
    """The SQLite file, for reading."""
    engine = sa.create_engine(f"sqlite:///file:{path.resolve()}?mode=ro&uri=true")
    with engine.connect() as connection:
        yield connection
    engine.dispose()


def rows_of(connection: sa.Connection, table: sa.Table) -> Iterator[Row]:
    """All rows of a table, by its key."""
    statement = sa.select(table).order_by(*table.primary_key.columns)
    yield from (dict(row) for row in connection.execution_options(yield_per=_BATCH).execute(statement).mappings())


def refuse_unknown(connection: sa.Connection, known: Mapping[str, sa.Table], path: Path, *, but: Iterable[str]) -> None:
    """Raises MoveError where the file has rows in a table that nobody would copy, or a column that the library does not know any more."""
    inspector = sa.inspect(connection)
    for name in inspector.get_table_names():
        count = connection.execute(sa.text(f'SELECT count(*) FROM "{name}"')).scalar_one()  # noqa: S608 (a name out of the database itself)
        if not count or name in but:
            continue
        if name not in known:
            raise MoveError(f"{path}: table {name} has {count} rows, and the installed release does not know it; install the release that wrote it")
        if unknown := {column["name"] for column in inspector.get_columns(name)} - set(known[name].columns.keys()):
            raise MoveError(f"{path}: table {name} has columns that the installed release does not know: {', '.join(sorted(unknown))}")


def copy(source: Source, target: sa.Engine, hear: Callable[[str, int], None]) -> Moved:
    """Add the rows that the target lacks, batch by batch, so that a second try goes on behind the last one; then compare. Raises MoveError."""
    table, copied = source.table, 0
    rows = iter(source.rows())
    while batch := list(islice(rows, _BATCH)):
        with target.begin() as connection:
            try:
                connection.execute(insert(table).on_conflict_do_nothing(index_elements=list(table.primary_key.columns)), batch)
            except (sa.exc.DBAPIError, ValueError) as error:
                reason = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
                raise MoveError(f"table {table.name}: {reason}; what was copied stays, and the next try goes on there") from error
        copied += len(batch)
        hear(table.name, copied)
    _set_sequence(table, target)
    expected = _sum(source.rows())
    with target.connect() as connection:
        found = _sum(rows_of(connection, table))
    if found != expected:
        detail = f"{expected[0]} rows here, {found[0]} there" if found[0] != expected[0] else f"{found[0]} rows on both sides, of which some differ"
        raise MoveError(f"table {table.name} is not the same there: {detail}; the store here is as it was, empty the other one and move again")
    return Moved(table.name, found[0])


def count(source: Source) -> Moved:
    """What `copy` would copy."""
    return Moved(source.table.name, sum(1 for _ in source.rows()))


def has_rows(target: sa.Engine, tables: Iterable[str]) -> list[str]:
    """Those of the tables that are there and not empty."""
    present = set(sa.inspect(target).get_table_names())
    with target.connect() as connection:
        return [name for name in tables if name in present and connection.execute(sa.text(f'SELECT 1 FROM "{name}" LIMIT 1')).first()]  # noqa: S608


def empty(target: sa.Engine, tables: Iterable[sa.Table]) -> None:
    """Remove what a new store is made with, such as MLflow's experiment `Default`: the old one has its own."""
    with target.begin() as connection:
        for table in tables:
            connection.execute(table.delete())


def _set_sequence(table: sa.Table, target: sa.Engine) -> None:
    """The next number is the one behind the last that was copied."""
    with target.begin() as connection:
        for column in table.primary_key.columns:
            if isinstance(column.type, sa.Integer):
                name = connection.execute(sa.select(sa.func.pg_get_serial_sequence(f'"{table.name}"', column.name))).scalar_one()
                last = connection.execute(sa.select(sa.func.max(column))).scalar_one()
                if name and last is not None:
                    connection.execute(sa.select(sa.func.setval(name, max(last, 1))))


def _sum(rows: Iterable[Row]) -> tuple[int, int]:
    """How many rows, and the sum of their digests: the same in whatever order two databases sort text."""
    number = total = 0
    for row in rows:
        digest = hashlib.sha256(repr(sorted((name, _plain(value)) for name, value in row.items())).encode("utf-8", "surrogatepass")).digest()
        number, total = number + 1, (total + int.from_bytes(digest[:16])) % 2**128
    return number, total


def _plain(value: Any) -> Any:
    """The value as both databases tell it."""
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, float):
        return "nan" if math.isnan(value) else value
    return value
