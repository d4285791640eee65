"""Write raw stores of journal pages by hand."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from types import TracebackType
from typing import Self

from assets.papers.items import PageKind
from assets.papers.raw_pages import SourceInfo, StoredPage, StoredProblem, stored_page, warc_name, write_index, write_problems, write_sources
from assets.papers.warc_store import Exchange, WarcWriter, decode_body


@dataclass
class RawPagesWriter:
    """Writes a whole small store into a new folder; the crawl itself appends to WARC files as responses come.

    with RawPagesWriter(folder, sources=[SourceInfo("letters", "acs", "CC-BY-4.0")]) as writer:
        writer.add("http://letters.example/1", b"<html>…", kind="article", source="letters")
        writer.add("http://letters.example/1", b"", kind="article", source="letters", crawl=2, day=date(2026, 1, 2), status=404)
    """

    folder: Path
    sources: Sequence[SourceInfo] = ()
    _records: list[StoredPage] = field(default_factory=list, repr=False)
    _problems: list[StoredProblem] = field(default_factory=list, repr=False)
    _writers: dict[int, WarcWriter] = field(default_factory=dict, repr=False)

    def __enter__(self) -> Self:
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        for writer in self._writers.values():
            writer.close()
        if kind is None:
            write_index(self.folder / "index.parquet", self._records)
            write_sources(self.folder / "sources.parquet", self.sources)
            write_problems(self.folder / "problems.parquet", self._problems)

    def add(
        self,
        url: str,
        body: bytes,
        *,
        kind: PageKind,
        source: str,
        crawl: int = 1,
        day: date = date(2026, 1, 1),
        status: int = 200,
        content_type: str = "text/html; charset=utf-8",
        headers: Mapping[str, str] | None = None,
        tdm_reserved: bool | None = None,
        fetched_at: datetime | None = None,
    ) -> StoredPage:
        """Store one response. body: as sent, so encoded if `headers` hold a Content-Encoding."""
        # The row is read from the same headers as in a real crawl, so that a made-up store differs from a crawled one in nothing.
        moment = fetched_at or datetime(day.year, day.month, day.day, tzinfo=UTC)
        sent = (("Content-Type", content_type), *(headers or {}).items())
        if crawl not in self._writers:
            self._writers[crawl] = WarcWriter(self.folder / warc_name(crawl), about={"software": "figment"})
        place = self._writers[crawl].write(Exchange(url, moment, status, sent, body))
        record = stored_page(sent, place, url=url, source=source, kind=kind, crawl=crawl, day=day, fetched_at=moment, status=status,
                             content_sha256=hashlib.sha256(decode_body(body, sent)).hexdigest(), tdm_reserved=tdm_reserved)  # fmt: skip
        self._records.append(record)
        return record

    def add_problem(self, url: str, words: str, *, kind: str, source: str, crawl: int = 1) -> None:
        """Note one problem."""
        self._problems.append(StoredProblem(url, source, crawl, kind, words))
