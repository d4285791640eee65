"""Remember what each stored page says, so that the next build reads only pages it has not seen.

A pure function written down: (page, page object, its code and its libraries) → what the page says, links apart. It lies outside the output; without
it, or with a damaged one, pages are read again and the same bytes come out. Every entry carries a checksum of its own, and is kept soon after it was
made: a build that is killed has lost the last of them.
"""

import contextlib
import dataclasses
import hashlib
import importlib.metadata
import json
import sqlite3
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from assets.papers.guarded_reading import is_beyond
from assets.papers.items import PageObject, Paper, Parsed, Problem, Withdrawal
from assets.papers.raw_pages import StoredPage
from stages.code_memory import CodeMemory
from stages.source_code import Source, SourceTree, code_of, fingerprint

_LIBRARIES = ("lxml", "w3lib", "parsel", "pyyaml", "brotli")
# What every page object passes through besides its own modules; and the list of all page objects, in which a new one changes no other.
_READING = "assets.papers.page_objects"
REGISTRY = "assets/papers/pages/__init__.py"
_ROOT = Path(__file__).resolve().parents[2]
_PUT_TOGETHER = 1_000
_CODEC = pa.Codec("zstd", compression_level=1)


def version_of(name: str, read: PageObject) -> str:
    """Names everything that decides what the page object `name` says of a page: its code with all it imports, and the libraries it may use."""
    module = read.__module__
    is_ours = module.partition(".")[0] == "assets"
    code = code_version(module) if is_ours else code_of(sys.modules[module])
    facts = [name, code, _reading_version(), f"python {sys.version_info[:2]}", f"unicode {unicodedata.unidata_version}", *map(_library, _LIBRARIES)]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


@cache
def _reading_version() -> str:
    return code_version(_READING)


def code_version(module: str) -> str:
    """What the code of a module and of all it imports says, but for the list of all page objects and what is reached through that alone."""
    closure = SourceTree(_ROOT, read=_source).closure(module)
    with contextlib.suppress(OSError):  # a checkout that nobody may write to
        _memory().save()
    return fingerprint((path, source.meaning) for path, source in closure.items())


@cache
def _source(path: Path, relative: str) -> Source:
    return Source("", (), ()) if relative == REGISTRY else _memory().source(path, relative)


@cache
def _memory() -> CodeMemory:
    return CodeMemory(_ROOT)


class ParsedMemo:
    """What pages said, by `key`, in one SQLite file. For one process at a time.

    A file that SQLite cannot read is begun anew; an entry that is not what was put in counts as unknown.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._path = folder / "parsed.sqlite"
        self.added = 0
        try:
            self._open()
        except sqlite3.DatabaseError:
            self._begin_anew()

    def close(self) -> None:
        """Keep what was put in so far."""
        self._connection.commit()
        self._connection.close()

    @staticmethod
    def key(record: StoredPage, version: str) -> str:
        """Names a stored answer as it is read by a page object of that version."""
        facts = [version, record.source, record.url, record.kind, record.content_type, record.content_sha256, record.warc, str(record.offset)]
        return hashlib.sha256("\n".join(facts).encode()).hexdigest()[:32]

    def lookup(self, key: str) -> Parsed | None:
        """What the page said; None when it is not known."""
        try:
            row = self._connection.execute("SELECT said, digest FROM parsed WHERE key = ?", (key,)).fetchone()
        except sqlite3.DatabaseError:
            self._begin_anew()
            return None
        if row is None or row[1] != _digest(key, row[0]):
            return None
        return _from_json(_CODEC.decompress(row[0][4:], int.from_bytes(row[0][:4], "little"), asbytes=True).decode())

    def put(self, key: str, parsed: Parsed) -> None:
        """Remember it."""
        text = _to_json(parsed).encode()
        said = len(text).to_bytes(4, "little") + _CODEC.compress(text, asbytes=True)
        self._connection.execute("INSERT OR REPLACE INTO parsed VALUES (?, ?, ?)", (key, said, _digest(key, said)))
        self.added += 1
        # What cost more than it may is kept at once: the next such page ends the program.
        if self.added % _PUT_TOGETHER == 0 or is_beyond(parsed):
            self._connection.commit()

    def keep_only(self, keys: Iterable[str]) -> None:
        """Forget all others: what nobody will ask for again."""
        self._connection.execute("CREATE TEMP TABLE kept (key TEXT PRIMARY KEY) WITHOUT ROWID")
        self._connection.executemany("INSERT OR IGNORE INTO kept VALUES (?)", ((key,) for key in keys))
        self._connection.execute("DELETE FROM parsed WHERE key NOT IN (SELECT key FROM kept)")
        self._connection.execute("DROP TABLE kept")
        self._connection.commit()

    def _open(self) -> None:
        self._connection = sqlite3.connect(self._path)
        self._connection.execute("CREATE TABLE IF NOT EXISTS parsed (key TEXT PRIMARY KEY, said BLOB, digest BLOB)")

    def _begin_anew(self) -> None:
        self._connection.close()
        self._path.unlink()
        self._path.with_name(f"{self._path.name}-journal").unlink(missing_ok=True)
        self._open()


def _digest(key: str, said: bytes) -> bytes:
    return hashlib.blake2b(said, digest_size=8, key=key.encode()).digest()


@cache
def _library(name: str) -> str:
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{name} absent"


def plain(parsed: Parsed) -> dict[str, Sequence[Any]]:
    """What a page said as plain data for JSON; `parsed_from` reads it."""
    return {
        "papers": [{name: value for name, value in vars(paper).items() if value} for paper in parsed.papers],
        "withdrawals": [dataclasses.astuple(notice) for notice in parsed.withdrawals],
        "problems": [dataclasses.astuple(problem) for problem in parsed.problems],
    }


def parsed_from(said: Mapping[str, Sequence[Any]]) -> Parsed:
    """What `plain` made plain."""
    return Parsed(
        papers=tuple(_paper(values) for values in said["papers"]),
        withdrawals=tuple(Withdrawal(*values) for values in said["withdrawals"]),
        problems=tuple(Problem(*values) for values in said["problems"]),
    )


def _to_json(parsed: Parsed) -> str:
    return json.dumps(plain(parsed), default=date.isoformat)


def _from_json(text: str) -> Parsed:
    return parsed_from(json.loads(text))


def _paper(values: dict[str, Any]) -> Paper:
    if "date" in values:
        values["date"] = date.fromisoformat(values["date"])
    return Paper(**({"key": "", "url": ""} | values))
