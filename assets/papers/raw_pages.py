"""The raw store `journal_pages`: every response worth keeping, as it came, and an index to reach each by one seek.

    crawl-00001.warc.gz …   one file a crawl that stored something
    index.parquet           one row a stored response, ordered by (crawl, url)
    sources.parquet         what `papers` needs to know of each source
    problems.parquet        what could not be had, and why

What is not here: how responses are fetched (assets/papers/crawl) and what pages say (assets/papers/pages).
"""

import hashlib
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import date, datetime
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

import numpy
import pyarrow as pa
import pyarrow.compute as pc

from assets.papers.items import Page, PageKind
from assets.papers.warc_store import Exchange, Place, WarcError, decode_body, read_exchange
from formats.tables import columns, read_table, table_from_rows, write_table

INDEX = columns(
    url=str, source=str, kind=str, crawl=int, day=date, fetched_at=datetime, status=int, content_sha256=str, content_type=str, etag=str,
    last_modified=str, robots_tag=str, tdm_reserved=bool, warc=str, offset=int, length=int,
)  # fmt: skip
SOURCES = columns(name=str, page=str, licence=str, start=list[str])
PROBLEMS = columns(url=str, source=str, crawl=int, kind=str, words=str)

GONE = frozenset({404, 410})
REDIRECTS = frozenset({301, 302, 303, 307, 308})
_LONGEST_REDIRECT_CHAIN = 10
# Far beyond what any crawl lets in: a store comes from elsewhere, too.
_MOST_BODY = 2**30
# An index comes with its store from elsewhere: a name in it never leads out of its folder.
_WARC_NAME = re.compile(r"crawl-[0-9]{5,}\.warc\.gz")


class RawPagesError(Exception):
    """The raw store is missing, damaged, or disagrees with its index."""


@dataclass(frozen=True)
class StoredPage:
    """One row of the index: one stored response.

    crawl: from 1. day: the day of that crawl at that source. status: 200, 404, 410 or a redirect. content_sha256: of the body without content
    encodings. robots_tag: X-Robots-Tag, None when it was not sent. tdm_reserved: whether text and data mining is reserved (TDM-Reservation, the TDM
    Reservation Protocol), None when the site does not say. warc, offset, length: the file of the record and the bytes of its gzip member.
    """

    url: str
    source: str
    kind: PageKind
    crawl: int
    day: date
    fetched_at: datetime
    status: int
    content_sha256: str
    content_type: str
    etag: str | None
    last_modified: str | None
    robots_tag: str | None
    tdm_reserved: bool | None
    warc: str
    offset: int
    length: int

    @property
    def place(self) -> Place:
        return Place(self.offset, self.length)

    @property
    def is_gone(self) -> bool:
        return self.status in GONE

    @property
    def is_redirect(self) -> bool:
        return self.status in REDIRECTS


@dataclass(frozen=True)
class SourceInfo:
    """What `papers` needs to know of a source. page: its page object. start: where its crawl begins."""

    name: str
    page: str
    licence: str
    start: tuple[str, ...] = ()


@dataclass(frozen=True, order=True)
class StoredProblem:
    """Something that could not be had. kind: one word (robots_disallowed, bot_wall, not_an_image, too_large, redirect_refused, server_error, …).

    crawl: in which it was seen first; a problem that lasts keeps it, and one that is over leaves the table.
    """

    url: str
    source: str
    crawl: int
    kind: str
    words: str


@dataclass
class RawPages:
    """Reads the raw store in `folder`. A folder that does not exist is a store without pages.

    Bodies are checked against the index on every read. Not to be shared between processes: it keeps files open.
    """

    folder: Path
    _descriptors: dict[str, int] = field(default_factory=dict, repr=False)
    _index: pa.Table | None = field(default=None, repr=False)
    _records: list[StoredPage] | None = field(default=None, repr=False)
    _histories: dict[str, list[StoredPage]] | None = field(default=None, repr=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the files that reading opened."""
        while self._descriptors:
            os.close(self._descriptors.popitem()[1])

    def records(self) -> list[StoredPage]:
        """Every stored response, ordered by (crawl, url)."""
        if self._records is None:
            self._records = [StoredPage(**row) for row in self.index().to_pylist()]
        return self._records

    def index(self) -> pa.Table:
        """The index itself, a row a stored response, ordered by (crawl, url): for those who need few of its columns or rows."""
        if self._index is None:
            index = self._table("index.parquet", INDEX).combine_chunks()
            for name in pc.unique(index["warc"]).to_pylist():
                if not _WARC_NAME.fullmatch(name):
                    raise RawPagesError(f"{self.folder / 'index.parquet'}: expected files named {warc_name(1)}, found {name[:100]!r}; {_REMEDY}")
            self._index = index
        return self._index

    def records_at(self, rows: Sequence[int] | numpy.ndarray) -> list[StoredPage]:
        """The stored responses in these rows of `index`."""
        return [StoredPage(**row) for row in self.index().take(pa.array(rows, pa.int64())).to_pylist()]

    def sources(self) -> dict[str, SourceInfo]:
        """By name, in the order of the parameters."""
        rows = self._rows("sources.parquet", SOURCES)
        return {row["name"]: SourceInfo(row["name"], row["page"], row["licence"], tuple(row["start"])) for row in rows}

    def problems(self) -> list[StoredProblem]:
        """What could not be had, ordered by (url, source, crawl)."""
        return [StoredProblem(**row) for row in self._rows("problems.parquet", PROBLEMS)]

    def history(self, url: str) -> list[StoredPage]:
        """Every stored response of that address, oldest first."""
        if self._histories is None:
            histories = defaultdict(list)
            for record in self.records():
                histories[record.url].append(record)
            self._histories = dict(histories)
        return self._histories.get(address(url), [])

    def latest(self, url: str) -> StoredPage | None:
        """The newest response of that address; stored redirects are followed, so that it is one of status 200, 404 or 410, or None."""
        for _ in range(_LONGEST_REDIRECT_CHAIN):
            history = self.history(url)
            if not history or not history[-1].is_redirect:
                return history[-1] if history else None
            url = urljoin(url, self.headers(history[-1]).get("location", ""))
        return None

    def is_gone(self, url: str) -> bool:
        """Whether the last two crawls that asked for it found nothing there (404 or 410 twice)."""
        newest = self.latest(url)
        last_two = self.history(newest.url)[-2:] if newest else []
        return len(last_two) == 2 and all(record.is_gone for record in last_two)

    def body(self, record: StoredPage) -> bytes:
        """The response's body without content encodings. Raises RawPagesError naming file and place when it is not what the index says."""
        return self._decoded(record, self.exchange(record))

    def _decoded(self, record: StoredPage, exchange: Exchange) -> bytes:
        # The digest is of the decoded body: a server that compresses otherwise tonight has sent nothing new.
        try:
            body = decode_body(exchange.body, exchange.headers, max_bytes=_MOST_BODY)
        except WarcError as error:
            raise RawPagesError(f"{self.folder / record.warc}: {record.url}: {error}; {_REMEDY}") from None
        found = hashlib.sha256(body).hexdigest()
        if found != record.content_sha256:
            raise RawPagesError(
                f"{self.folder / record.warc} at byte {record.offset:,}: {record.url} has sha256 {found}, "
                f"the index says {record.content_sha256}; {_REMEDY}"
            )
        return body

    def headers(self, record: StoredPage) -> dict[str, str]:
        """The response's headers, names in lower case; values of one that was sent several times are joined by `, `."""
        return joined_headers(self.exchange(record).headers)

    def page(self, record: StoredPage) -> Page:
        """The response as a page object takes it."""
        exchange = self.exchange(record)
        body, headers = self._decoded(record, exchange), joined_headers(exchange.headers)
        return Page(record.url, body, record.kind, record.source, record.content_type, headers)

    def exchange(self, record: StoredPage) -> Exchange:
        """The response as it was sent, content encodings and all."""
        path = self.folder / record.warc
        try:
            if record.warc not in self._descriptors:
                self._descriptors[record.warc] = os.open(path, os.O_RDONLY)
            exchange = read_exchange(path, record.place, descriptor=self._descriptors[record.warc])
        except FileNotFoundError:
            raise RawPagesError(f"{path}: no such file, but the index names it for {record.url}; {_REMEDY}") from None
        except WarcError as error:
            raise RawPagesError(f"{self.folder}: {error}; {_REMEDY}") from None
        if exchange.url != record.url:
            raise RawPagesError(f"{path} at byte {record.offset:,}: found {exchange.url}, the index says {record.url}; {_REMEDY}")
        return exchange

    def _rows(self, name: str, schema: pa.Schema) -> list[dict]:
        return self._table(name, schema).to_pylist()

    def _table(self, name: str, schema: pa.Schema) -> pa.Table:
        path = self.folder / name
        if not path.is_file():
            return schema.empty_table()
        try:
            table = read_table(path)
        except (OSError, pa.ArrowInvalid) as error:
            raise RawPagesError(f"{path}: cannot be read ({error}); {_REMEDY}") from None
        if table.schema.names != schema.names:
            raise RawPagesError(f"{path}: expected the columns {', '.join(schema.names)}, found {', '.join(table.schema.names)}; {_REMEDY}")
        return table


_REMEDY = "restore it with `dvc checkout data/journal_pages`"


def address(url: str) -> str:
    """The one spelling of `url` under which the store knows it: no fragment, host in lower case (IDNA), what is not ASCII percent-encoded.

    Raises ValueError for what is no address at all.
    """
    parts = urlsplit(url.strip())
    host, colon, port = parts.netloc.rpartition("@")[2].partition(":")
    # IDNA as browsers do it; `quote` below is for what people type into parameters.
    if not host.isascii():
        host = host.encode("idna").decode("ascii")
    path, query = (quote(part, safe=_KEPT_IN_ADDRESSES) for part in (parts.path or "/", parts.query))
    return urlunsplit((parts.scheme.lower(), f"{host.lower()}{colon}{port}", path, query, ""))


# Reserved characters stay as they are written, percent signs too: what is encoded already is not encoded twice.
_KEPT_IN_ADDRESSES = "%/:=&?~+!$,;'@()*[]"


def joined_headers(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Names in lower case; the values of one that was sent several times joined by `, `."""
    joined: dict[str, str] = {}
    for name, value in headers:
        key = name.lower()
        joined[key] = f"{joined[key]}, {value}" if key in joined else value
    return joined


def warc_name(crawl: int) -> str:
    """The file of that crawl."""
    return f"crawl-{crawl:05d}.warc.gz"


def write_index(path: Path, records: Iterable[StoredPage]) -> None:
    """Write index.parquet, ordered by (crawl, url)."""
    names = [column.name for column in fields(StoredPage)]
    rows = ({name: getattr(record, name) for name in names} for record in sorted(records, key=lambda record: (record.crawl, record.url)))
    write_table(path, table_from_rows(INDEX, rows))


def write_sources(path: Path, sources: Iterable[SourceInfo]) -> None:
    """Write sources.parquet, in the order given."""
    write_table(path, table_from_rows(SOURCES, ({**asdict(source), "start": list(source.start)} for source in sources)))


def write_problems(path: Path, problems: Iterable[StoredProblem]) -> None:
    """Write problems.parquet, ordered by (url, source, crawl)."""
    write_table(path, table_from_rows(PROBLEMS, (asdict(problem) for problem in sorted(problems))))


def stored_page(
    headers: Iterable[tuple[str, str]],
    place: Place,
    *,
    url: str,
    source: str,
    kind: PageKind,
    crawl: int,
    day: date,
    fetched_at: datetime,
    status: int,
    content_sha256: str,
    tdm_reserved: bool | None,
) -> StoredPage:
    """The index row of a response just written to the WARC file of `crawl`; what its headers say is read from them."""
    said = joined_headers(headers)
    return StoredPage(
        url=url,
        source=source,
        kind=kind,
        crawl=crawl,
        day=day,
        fetched_at=fetched_at,
        status=status,
        content_sha256=content_sha256,
        content_type=said.get("content-type", ""),
        etag=said.get("etag"),
        last_modified=said.get("last-modified"),
        robots_tag=said.get("x-robots-tag"),
        tdm_reserved=tdm_reserved,
        warc=warc_name(crawl),
        offset=place.offset,
        length=place.length,
    )
