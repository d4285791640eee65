"""Remember what each stored page says, so that the next build reads only pages it has not seen.

A pure function written down: (page, page object, its code and its libraries) → what the page says, links apart. It lies outside the output; without
it, or with a damaged one, every page is read again and the same bytes come out.
"""

import dataclasses
import hashlib
import importlib.metadata
import json
import sys
import unicodedata
from collections.abc import Sequence
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa

from assets.papers.items import PageObject, Paper, Parsed, Problem, Withdrawal
from assets.papers.raw_pages import StoredPage
from stages.files import replacing, sha256_of, write_file_atomically
from stages.source_code import code_of, program_fingerprint

_LIBRARIES = ("lxml", "w3lib", "parsel", "pyyaml", "brotli")
_SCHEMA = pa.schema([("key", pa.string()), ("parsed", pa.string())])
_ENTRIES_PER_BATCH = 1_000


def version_of(name: str, read: PageObject) -> str:
    """Names everything that decides what the page object `name` says of a page: its code with all it imports, and the libraries it may use."""
    module = read.__module__
    code = program_fingerprint(module) if module.partition(".")[0] == "assets" else code_of(sys.modules[module])
    facts = [name, code, f"python {sys.version_info[:2]}", f"unicode {unicodedata.unidata_version}", *map(_library, _LIBRARIES)]
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()


class ParsedMemo:
    """What pages said in the last build, by `key`; new entries are put in, and `publish` keeps those that this build asked for."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "parsed.arrow"
        self._known = _read(self._path)
        self._asked: dict[str, str] = {}
        self.reused = self.added = 0

    @staticmethod
    def key(record: StoredPage, version: str) -> str:
        """Names a stored answer as it is read by a page object of that version."""
        facts = [version, record.source, record.url, record.kind, record.content_type, record.content_sha256, record.warc, str(record.offset)]
        return hashlib.sha256("\n".join(facts).encode()).hexdigest()

    def lookup(self, key: str) -> Parsed | None:
        """What the page said; None when it is not known."""
        text = self._asked.get(key) or self._known.get(key)
        if text is None:
            return None
        self._asked[key] = text
        self.reused += 1
        return _from_json(text)

    def put(self, key: str, parsed: Parsed) -> None:
        self._asked[key] = _to_json(parsed)
        self.added += 1

    def publish(self) -> None:
        """Write what was asked for, unless that is what is there already."""
        if self._asked.keys() == self._known.keys():
            return
        entries = sorted(self._asked.items())
        with (
            replacing(self._path) as temporary,
            pa.OSFile(str(temporary), "wb") as sink,
            pa.ipc.new_file(sink, _SCHEMA, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer,
        ):
            for start in range(0, len(entries), _ENTRIES_PER_BATCH):
                batch = entries[start : start + _ENTRIES_PER_BATCH]
                writer.write_batch(pa.record_batch([[key for key, _ in batch], [text for _, text in batch]], schema=_SCHEMA))
        write_file_atomically(self._path.with_suffix(".sha256"), sha256_of(self._path).encode())


def _read(path: Path) -> dict[str, str]:
    """The entries of a memo whose bytes are those that were written; none otherwise."""
    try:
        if path.with_suffix(".sha256").read_text(encoding="ascii") != sha256_of(path):
            return {}
    except (FileNotFoundError, UnicodeDecodeError):
        return {}
    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    return dict(zip(table["key"].to_pylist(), table["parsed"].to_pylist(), strict=True))


@cache
def _library(name: str) -> str:
    try:
        return f"{name} {importlib.metadata.version(name)}"
    except importlib.metadata.PackageNotFoundError:
        return f"{name} absent"


def _to_json(parsed: Parsed) -> str:
    papers = [{name: value for name, value in dataclasses.asdict(paper).items() if value} for paper in parsed.papers]
    said: dict[str, Sequence[Any]] = {
        "papers": papers,
        "withdrawals": [dataclasses.astuple(notice) for notice in parsed.withdrawals],
        "problems": [dataclasses.astuple(problem) for problem in parsed.problems],
    }
    return json.dumps(said, default=date.isoformat)


def _from_json(text: str) -> Parsed:
    said = json.loads(text)
    return Parsed(
        papers=tuple(_paper(values) for values in said["papers"]),
        withdrawals=tuple(Withdrawal(*values) for values in said["withdrawals"]),
        problems=tuple(Problem(*values) for values in said["problems"]),
    )


def _paper(values: dict[str, Any]) -> Paper:
    if "date" in values:
        values["date"] = date.fromisoformat(values["date"])
    return Paper(**({"key": "", "url": ""} | values))
