"""Read `archive_items`: what is here, in the order in which it came, and what is not here any more."""

import datetime
from collections import defaultdict
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from assets.books.tables import FILES, ITEMS
from formats.tables import read_table

Status = Literal["here", "dark", "left", "without_file"]


class ItemsError(Exception):
    """The folder is not a harvest, or a part of it is missing."""


@dataclass(frozen=True)
class ItemFile:
    """A file of an item. path: where it lies; its name is the SHA-256 of its bytes. name: as the archive calls it, never to be used as a path."""

    name: str
    kind: Literal["pdf", "jp2_zip"]
    format: str
    bytes: int
    sha256: str
    path: Path


@dataclass(frozen=True)
class Item:
    """An item as assets/books/tables.py describes it; files by name, none unless its status is `here`."""

    identifier: str
    serial: int
    title: str
    creators: list[str]
    date: str
    languages: list[str]
    collections: list[str]
    licence: str
    source: str
    url: str
    first_seen: datetime.date
    last_changed: datetime.date
    status: Status
    words: str
    files: tuple[ItemFile, ...] = ()


def open_items(folder: Path) -> list[Item]:
    """The living items of a harvest, by serial, each with at least one file. Raises ItemsError."""
    return [item for item in all_items(folder) if item.status == "here"]


def all_items(folder: Path) -> list[Item]:
    """Every item that ever came, by serial: the living, those without a file, and the tombstones. Raises ItemsError."""
    files: defaultdict[str, list[ItemFile]] = defaultdict(list)
    for row in _rows(folder / "files.parquet", FILES):
        path = folder / row["path"]
        if not path.is_file():
            raise ItemsError(f"{path}: the file '{row['name']}' of item {row['identifier']} is missing; run `python -m assets.books.harvest` again")
        files[row["identifier"]].append(ItemFile(**{field.name: row[field.name] for field in fields(ItemFile)} | {"path": path}))
    names = [field.name for field in fields(Item) if field.name != "files"]
    rows = sorted(_rows(folder / "items.parquet", ITEMS), key=lambda row: row["serial"])
    return [Item(**{name: row[name] for name in names}, files=tuple(sorted(files[row["identifier"]], key=lambda file: file.name))) for row in rows]


def _rows(path: Path, schema: Any) -> list[dict[str, Any]]:
    if not path.is_file():
        raise ItemsError(f"{path}: no such file; expected a harvest there: run `python -m assets.books.harvest`")
    rows: list[dict[str, Any]] = read_table(path, schema.names).to_pylist()
    return rows
