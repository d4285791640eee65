"""A folder of `papers` with the rows that a test names."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from assets.papers.tables import PAPERS
from formats.tables import table_from_rows, write_table


def paper(serial: int, **columns) -> dict:
    """A paper with a title of its own, and whatever else is given."""
    nothing = dict.fromkeys(PAPERS.names)
    return {
        **nothing,
        "id": f"{serial:016x}",
        "serial": serial,
        "title": f"The {serial}th of all titles",
        "licence": "CC0-1.0",
        "source": "some",
        **columns,
    }


def write_papers(folder: Path, rows: Sequence[dict], *, per_shard: int = 5_000) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for shard in sorted({row["serial"] // per_shard for row in rows}) or [0]:
        members = [row for row in rows if row["serial"] // per_shard == shard]
        write_table(folder / f"papers-{shard:05d}.parquet", table_from_rows(PAPERS, members))
    return folder


def all_bytes(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
