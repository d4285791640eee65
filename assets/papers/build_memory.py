"""What one build of `papers` leaves for the next, so that a night costs what changed in it: one SQLite file, and a receipt.

Nothing here decides what is written: without it, or with a damaged one, everything is merged again from what the pages say, and the same bytes come
out. The file is believed only where its SHA-256 is the one noted beside it, it was made by the same code from the same parameters, and the index of
the store begins with the rows that it was made from. Changes are one transaction, so a build that is killed leaves it as it was.
"""

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from assets.papers import groups, text_index
from stages.files import sha256_of, write_file_atomically

# papers: what is made of each group. rejects: what is set aside, by page or group. named: when a page first named a picture, shown: what
# it showed since then.
_TABLES = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT);
CREATE TABLE papers (id TEXT, grp INTEGER, first_crawl INTEGER, serial INTEGER, fate TEXT, source TEXT, sha256 TEXT, family TEXT, class INTEGER,
    repeats TEXT, statements INTEGER, has_abstract INTEGER, has_image INTEGER, is_translation INTEGER, tombstone TEXT, names TEXT);
CREATE INDEX papers_by_serial ON papers (serial);
CREATE INDEX papers_by_id ON papers (id);
CREATE INDEX papers_by_group ON papers (grp);
CREATE INDEX papers_by_picture ON papers (sha256);
CREATE INDEX papers_by_class ON papers (class);
CREATE TABLE rejects (page TEXT, grp INTEGER, said TEXT);
CREATE INDEX rejects_by_page ON rejects (page);
CREATE INDEX rejects_by_group ON rejects (grp);
CREATE TABLE moves (target TEXT, url TEXT, PRIMARY KEY (target, url)) WITHOUT ROWID;
CREATE TABLE named (url TEXT, source TEXT, crawl INTEGER, day TEXT, PRIMARY KEY (url, source)) WITHOUT ROWID;
CREATE TABLE shown (url TEXT, source TEXT, sha256 TEXT, crawl INTEGER, day TEXT, PRIMARY KEY (url, source, sha256)) WITHOUT ROWID;
CREATE TABLE pictures (sha256 TEXT PRIMARY KEY, serial INTEGER, crawl INTEGER, day TEXT);
"""
# Changes wait in memory, up to 64 MiB; a file that a power cut leaves unwritten is not the one that was noted.
_IN_MEMORY = "PRAGMA cache_size = -65536; PRAGMA synchronous = OFF;"
# What of an answer decides what is made of it; its place stands for its bytes and headers.
_DECISIVE = ("crawl", "url", "source", "kind", "day", "status", "content_sha256", "content_type", "robots_tag", "tdm_reserved", "warc", "offset")


class BuildMemory:
    """The memory in `folder` of builds of that identity, empty where there is none to believe. `save` keeps what changed."""

    def __init__(self, folder: Path, identity: str) -> None:
        self._path, self._noted = folder / "night.sqlite", folder / "night.sha256"
        self._digest_of_rows = ""
        self._identity = identity
        self.db = self._connect()
        if not self._is_sound() or self.fact("identity") != identity:
            self.forget()
        else:
            self.db.executescript(_IN_MEMORY)

    def fact(self, name: str) -> Any:
        """Something noted by `note`; None where it is not known."""
        row = self.db.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return json.loads(row[0]) if row else None

    def note(self, **facts: Any) -> None:
        self.db.executemany("INSERT OR REPLACE INTO facts VALUES (?, ?)", ((name, json.dumps(value)) for name, value in facts.items()))

    def forget(self) -> None:
        """Begin anew."""
        self.db.close()
        self._remove()
        self.db = self._connect()
        self.db.executescript(_IN_MEMORY + _TABLES + groups.TABLES + text_index.TABLES)
        self.note(identity=self._identity)

    def known_rows(self, index: pa.Table) -> int:
        """How many rows of the index are known; 0, and nothing is known any more, where it is not the same store with crawls added."""
        count, digest = self.fact("rows") or 0, self.fact("rows_digest")
        of_known, self._digest_of_rows = _digests_of(index, count)
        crawls = index["crawl"]
        has_grown = 0 < count <= len(index) and (count == len(index) or crawls[count].as_py() > crawls[count - 1].as_py())
        if has_grown and of_known == digest:
            return int(count)
        if count:
            self.forget()
        return 0

    def save(self, index: pa.Table) -> None:
        """Keep what is known now, of the index that `known_rows` was asked about."""
        self.note(rows=len(index), rows_digest=self._digest_of_rows)
        self.db.commit()
        write_file_atomically(self._noted, sha256_of(self._path).encode())

    def close(self) -> None:
        self.db.close()

    def _is_sound(self) -> bool:
        try:
            # A killed build's transaction is undone by the first look; only then the file is what was noted.
            self.db.execute("SELECT count(*) FROM facts").fetchone()
            return self._noted.read_text(encoding="ascii") == sha256_of(self._path)
        except (OSError, UnicodeDecodeError, sqlite3.DatabaseError):
            return False

    def _connect(self) -> sqlite3.Connection:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        return sqlite3.connect(self._path)

    def _remove(self) -> None:
        for path in (self._path, self._path.with_name(f"{self._path.name}-journal"), self._noted):
            path.unlink(missing_ok=True)


def _digests_of(index: pa.Table, count: int) -> tuple[str, str]:
    """Of the first so many rows, and of all, what decides: equal rows have equal digests, however they lie in memory."""
    columns = [index[name].cast(pa.large_string()) for name in _DECISIVE]
    lines = pc.binary_join_element_wise(*columns, pa.scalar("\n", pa.large_string()), null_handling="replace", null_replacement="\0")
    digest, found = hashlib.sha256(), []
    for part in (lines.slice(0, count), lines.slice(count)):
        for chunk in part.chunks:
            if len(chunk):
                _, offsets, data = chunk.buffers()
                ends = memoryview(offsets).cast("q")
                digest.update(memoryview(data)[ends[chunk.offset] : ends[chunk.offset + len(chunk)]])
        found.append(digest.hexdigest())
    return found[0], found[1]


def write_receipt(folder: Path, inputs: str, facts: Mapping[str, Any]) -> None:
    """Note that the output in place was made of these inputs, with the facts that a build of the same again would tell. `files`: SHA-256 by name."""
    text = json.dumps({"inputs": inputs, **facts}, default=str)
    write_file_atomically(folder / "receipt.json", f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}".encode())


def read_receipt(folder: Path, inputs: str, target: Path) -> dict[str, Any] | None:
    """What was noted of a build of these inputs whose output lies in `target` as it was written; None otherwise."""
    try:
        digest, _, text = (folder / "receipt.json").read_text(encoding="utf-8").partition("\n")
    except (OSError, UnicodeDecodeError):
        return None
    if hashlib.sha256(text.encode()).hexdigest() != digest:
        return None
    facts: dict[str, Any] = json.loads(text)
    return facts if facts.pop("inputs") == inputs and files_of(target) == facts["files"] else None


def files_of(target: Path) -> dict[str, str]:
    """The files of an output and their SHA-256."""
    return {path.name: sha256_of(path) for path in sorted(target.iterdir())} if target.is_dir() else {}
