"""A folder as `archive_items` writes it, of files made by tests, and builds of `book_pages` from it."""

import hashlib
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

from assets.books.pages.build import PagesFacts, build_pages
from assets.books.pages.config import BookPagesConfig
from assets.books.pages.drawing import SetAside, finish
from assets.books.pages.jp2 import Jp2Pages
from assets.books.pages.pdf import PdfPages
from assets.books.pages.supervising import FACTS, FileFacts, Page, member
from assets.books.tables import FILES, ITEMS
from formats.stored_zip import StoredZipWriter
from formats.tables import read_table, table_from_rows, write_table
from stages.reporting import Reporter

SMALL: dict[str, Any] = {"page_px": 48, "max_pages": 8, "images_per_shard": 16, "memory_mib": 512}
DAY = date(2026, 11, 28)


class Archive:
    """Items and files by identifier and name; numbers are given as they come, and never again."""

    def __init__(self) -> None:
        self.items: dict[str, dict[str, Any]] = {}
        self.files: dict[tuple[str, str], tuple[int, bytes]] = {}
        self._serials = 0

    def put(self, identifier: str, content: bytes, name: str = "book.pdf", **stated: Any) -> "Archive":
        """Add an item with a file, another file of it, or other bytes of a file."""
        facts = {"licence": "CC0-1.0", "source": "tests", "status": "here", "first_seen": DAY, "last_changed": DAY, "words": None}
        known = self.items.setdefault(identifier, {"identifier": identifier, "serial": len(self.items), **facts})
        known |= {"url": f"https://archive.example/details/{identifier}", **stated}
        if (identifier, name) not in self.files:
            self._serials += 1
        serial = self.files.get((identifier, name), (self._serials - 1, b""))[0]
        self.files[identifier, name] = (serial, content)
        return self

    def darken(self, identifier: str) -> "Archive":
        """The archive shows the item no more."""
        self.items[identifier] |= {"status": "dark", "last_changed": date(2026, 11, 29), "words": "found is_dark"}
        self.files = {key: file for key, file in self.files.items() if key[0] != identifier}
        return self

    def write(self, folder: Path) -> Path:
        """As `archive_items` does."""
        (folder / "files").mkdir(parents=True, exist_ok=True)
        rows = []
        for (identifier, name), (serial, content) in self.files.items():
            sha256 = hashlib.sha256(content).hexdigest()
            kind = "jp2_zip" if name.endswith(".zip") else "pdf"
            path = f"files/{sha256}.{name.rpartition('.')[2]}"
            (folder / path).write_bytes(content)
            rows.append({"identifier": identifier, "serial": serial, "name": name, "kind": kind, "sha256": sha256, "path": path})
        for table, schema, content_rows in (("items", ITEMS, list(self.items.values())), ("files", FILES, rows)):
            (folder / f"{table}.parquet").unlink(missing_ok=True)
            write_table(folder / f"{table}.parquet", table_from_rows(schema, content_rows))
        return folder


class Words(Reporter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.checks: dict[str, bool] = {}

    def log(self, message: str) -> None:
        self.lines.append(message)

    def check(self, name: str, passed: bool, *, severity: str = "ERROR", **values: Any) -> None:
        del severity, values
        self.checks[name] = passed


def build(
    archive: Archive, root: Path, *, requests: list | None = None, workers: int = 1, reporter: Reporter | None = None, **settings
) -> PagesFacts:
    """Build `root/book_pages`, with its memory in `root/scratch`."""
    return build_pages(
        BookPagesConfig(**(SMALL | settings)),
        archive.write(root / "archive_items"),
        requests or [],
        root / "book_pages",
        scratch=root / "scratch",
        workers=workers,
        reporter=reporter or Words(),
    )


def table(root: Path, name: str) -> list[dict[str, Any]]:
    return read_table(root / f"book_pages/{name}.parquet").to_pylist()


def contents(root: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((root / "book_pages").iterdir())}


def draw_here(path: Path, kind: str, config: BookPagesConfig, target: Path, *, is_unwanted: Callable[[], bool] = lambda: False) -> FileFacts:
    """What `draw_file` does for well-behaved files, without a process for each."""
    del is_unwanted
    facts = FileFacts()
    with StoredZipWriter(target) as archive:
        try:
            with (PdfPages if kind == "pdf" else Jp2Pages)(path, config) as pages:
                facts.pages = len(pages)
                for number in range(1, len(pages) + 1):
                    _draw_page(pages, number, config, archive, facts)
        except SetAside as refusal:
            facts.aside.append((None, refusal.reason, refusal.words))
        archive.add(FACTS, json.dumps(facts.to_json()).encode())
    return facts


def _draw_page(pages: Any, number: int, config: BookPagesConfig, archive: StoredZipWriter, facts: FileFacts) -> None:
    try:
        drawn = pages.draw(number)
        png, text = finish(drawn.image, config), drawn.text.encode()
    except SetAside as refusal:
        facts.aside.append((number, refusal.reason, refusal.words))
        return
    archive.add(member(number, "png"), png)
    if text:
        archive.add(member(number, "txt"), text)
    facts.drawn.append(Page(number, hashlib.sha256(png).hexdigest(), drawn.engine, bool(text)))
