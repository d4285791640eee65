"""The harvested items as they lie on disk: read what was there, publish what is there now."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from assets.books.items import TABLES, ItemsError, read_rows
from formats.tables import table_from_rows, write_table
from stages.output_folder import OutputFolder

Row = dict[str, Any]


@dataclass
class Store:
    """items: by identifier. files: of those that have some, by identifier. rejected: what was set aside, by source and identifier."""

    items: dict[str, Row] = field(default_factory=dict)
    files: dict[str, list[Row]] = field(default_factory=dict)
    rejected: dict[tuple[str, str], list[Row]] = field(default_factory=dict)

    def copy(self) -> "Store":
        return Store({name: dict(row) for name, row in self.items.items()}, dict(self.files), dict(self.rejected))

    @property
    def paths(self) -> set[str]:
        """Of all files, inside the folder."""
        return {row["path"] for rows in self.files.values() for row in rows}

    def living(self) -> list[Row]:
        return [row for row in self.items.values() if row["status"] == "here"]

    def rows(self, table: str) -> list[Row]:
        """Of the table, in the order in which they are written."""
        if table == "items":
            return sorted(self.items.values(), key=lambda row: row["serial"])
        if table == "files":
            return sorted((row for rows in self.files.values() for row in rows), key=lambda row: (row["serial"], row["name"]))
        return sorted((row for rows in self.rejected.values() for row in rows), key=lambda row: (row["source"], row["identifier"], row["name"]))


def read_store(folder: Path) -> Store:
    """What the last harvest left; empty where there was none. Raises ItemsError where a part is missing or no table."""
    if not any((folder / f"{name}.parquet").is_file() for name in TABLES):
        return Store()
    rows = {name: read_rows(folder, name) for name in TABLES}
    files, rejected = defaultdict(list), defaultdict(list)
    for row in rows["files"]:
        files[row["identifier"]].append(row)
    for row in rows["rejected"]:
        rejected[row["source"], row["identifier"]].append(row)
    return Store({row["identifier"]: row for row in rows["items"]}, dict(files), dict(rejected))


def is_at_hand(folder: Path, row: Row) -> bool:
    """Whether the file of that row lies in the folder, by name and size; `figment doctor` reads the bytes."""
    path = folder / row["path"]
    return path.is_file() and path.stat().st_size == row["bytes"]


def publish(target: Path, old: Store, new: Store, downloads: Mapping[str, Path]) -> bool:
    """Write the harvest, all at once; gives whether that changed a byte of it.

    downloads: where new files lie, by their path inside the folder. Where nothing is new, nothing is written, not even the same bytes once more.
    """
    is_complete = all((target / f"{name}.parquet").is_file() for name in TABLES)
    if is_complete and not downloads and all(old.rows(name) == new.rows(name) for name in TABLES):
        return False
    lost = next((path for path in sorted(new.paths - set(downloads)) if not (target / path).is_file()), None)
    if lost is not None:
        raise ItemsError(f"{target / lost}: missing, and the archive does not give it now; restore it with `dvc checkout`, or try again later")
    with OutputFolder(target) as output:
        for path in sorted(new.paths):
            if path in downloads:
                output.take(downloads[path], path)
            else:
                output.keep(path)
        for name, schema in TABLES.items():
            write_table(output.file(f"{name}.parquet"), table_from_rows(schema, new.rows(name)))
    return True
