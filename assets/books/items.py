"""The reading of `archive_items`: every item that ever came, in the order in which it came, with the files of those that are here."""

import datetime
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

from assets.books.tables import FILES, ITEMS, REJECTED_ITEMS
from formats.tables import read_table

TABLES = {"items": ITEMS, "files": FILES, "rejected": REJECTED_ITEMS}


class ItemsError(Exception):
    """The folder is not a harvest, or a part of it is missing."""


@dataclass(frozen=True)
class ItemFile:
    """A file of an item. name: as the archive calls it, never to be used as a path. path: where it lies."""

    identifier: str
    serial: int
    name: str
    kind: Literal["pdf", "jp2_zip"]
    sha256: str
    path: Path


@dataclass(frozen=True)
class Item:
    """An item as assets/books/tables.py describes it; files by name, none unless its status is `here`."""

    identifier: str
    serial: int
    title: str
    licence: str
    source: str
    url: str
    first_seen: datetime.date
    last_changed: datetime.date
    status: Literal["here", "dark", "left", "without_file"]
    words: str
    files: tuple[ItemFile, ...]


def read_items(folder: Path) -> list[Item]:
    """Every item, by serial: the living, those without a file, and the tombstones. Raises ItemsError."""
    files: defaultdict[str, list[ItemFile]] = defaultdict(list)
    for row in sorted(read_rows(folder, "files"), key=lambda row: row["name"]):
        path = folder / row["path"]
        if not path.is_file():
            raise ItemsError(
                f"{path}: the file '{row['name']}' of item {row['identifier']} is missing; restore it with `dvc checkout`, or harvest again"
            )
        files[row["identifier"]].append(ItemFile(**_only(ItemFile, row) | {"path": path}))
    rows = sorted(read_rows(folder, "items"), key=lambda row: row["serial"])
    return [Item(**_only(Item, row), files=tuple(files[row["identifier"]])) for row in rows]


def read_rows(folder: Path, name: str) -> list[dict[str, Any]]:
    """A table of the harvest. Raises ItemsError."""
    try:
        return read_table(folder / f"{name}.parquet", TABLES[name].names).to_pylist()
    except (OSError, ValueError, KeyError) as error:
        remedy = "restore it with `dvc checkout`, or remove it and run `python -m assets.books.harvest`"
        raise ItemsError(f"{folder}: not a whole harvest ({str(error)[:200]}); {remedy}") from None


def _only(kind: type, row: Mapping[str, Any]) -> dict[str, Any]:
    return {field.name: row[field.name] for field in fields(kind) if field.name in row}
