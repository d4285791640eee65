"""What the crawls so far know of each address besides its responses: when it was last asked for, and what its listing said then.

It is a cache in .figment/: where it is lost, or the store is another than the one that it was written for, it is read again out of the stored pages.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from assets.papers.items import Page, PageKind, Parsed
from assets.papers.raw_pages import RawPages, StoredPage, address
from formats.tables import columns, table_from_rows, write_table
from stages.files import replacing

_SCHEMA = columns(url=str, source=str, kind=str, fingerprints=list[str], asked=date, failures=int, is_listed=bool)
# A paper's key, in the same table as the addresses.
_PAPER = "paper"
_PARSED_KINDS = {"index", "api", "article"}


@dataclass(frozen=True)
class Known:
    """An address that a page linked to.

    fingerprints: what the listings said when it was last had, usually one thing. asked: the crawl day on which it was last asked for.
    failures: crawls since it was last had in which it could not be had.
    is_listed: whether the last crawl saw a link to it.
    """

    url: str
    source: str
    kind: str
    fingerprints: tuple[str, ...] = ()
    asked: date | None = None
    failures: int = 0
    is_listed: bool = True

    def listed(self, is_listed: bool) -> "Known":
        """The same, after a crawl that did or did not see a link to it."""
        return self if self.is_listed == is_listed else replace(self, is_listed=is_listed)


@dataclass
class Memory:
    """known: by address. papers: the keys of all papers seen, by source."""

    known: dict[str, Known] = field(default_factory=dict)
    papers: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def linked(self, url: str, source: str, kind: PageKind) -> Known:
        """What is known of a link, or a new entry for it."""
        return self.known.get(url) or Known(url, source, kind)

    def had(self, url: str, source: str, kind: PageKind, *, fingerprints: Iterable[str], asked: date) -> None:
        """It was asked for, and answered. fingerprints: of the links to it; none when nothing links to it any more."""
        old = self.linked(url, source, kind)
        self.known[url] = replace(old, kind=kind, fingerprints=tuple(sorted(fingerprints)) or old.fingerprints, asked=asked, failures=0)

    def failed(self, url: str, source: str, kind: PageKind, *, asked: date, failures: int = 1) -> None:
        """It was asked for in vain. failures: for how many that counts."""
        old = self.linked(url, source, kind)
        self.known[url] = replace(old, asked=asked, failures=old.failures + failures)


def store_identity(folder: Path) -> str:
    """What a memory belongs to: a digest of the index of the store."""
    index = folder / "index.parquet"
    return hashlib.sha256(index.read_bytes()).hexdigest() if index.is_file() else ""


def load_memory(path: Path, identity: str) -> Memory | None:
    """The memory written for the store of that identity; None when it is missing, damaged or another store's."""
    try:
        table = pq.ParquetFile(path).read()
    except (FileNotFoundError, OSError, pa.ArrowInvalid):
        return None
    # The memory of another store would keep pages from being asked for that this one does not hold.
    if (table.schema.metadata or {}).get(b"store") != identity.encode() or table.schema.names != _SCHEMA.names:
        return None
    memory = Memory()
    for row in table.to_pylist():
        if row["kind"] == _PAPER:
            memory.papers[row["source"]].add(row["url"])
        else:
            memory.known[row["url"]] = Known(**{**row, "fingerprints": tuple(row["fingerprints"])})
    return memory


def save_memory(path: Path, memory: Memory, identity: str) -> None:
    """Write it for the store of that identity."""
    rows: list[dict] = [asdict(known) for known in memory.known.values()]
    rows += [{"url": key, "source": source, "kind": _PAPER} for source, keys in sorted(memory.papers.items()) for key in sorted(keys)]
    table = table_from_rows(_SCHEMA, rows).replace_schema_metadata({"store": identity})
    with replacing(path) as temporary:
        write_table(temporary, table)


def memory_from_store(raw: RawPages, parse: Callable[[Page], Parsed]) -> Memory:
    """What the stored pages tell: the links of every version of every listing, and the newest version of every article."""
    memory = Memory()
    fingerprints: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for record in _worth_parsing(raw):
        parsed = parse(raw.page(record))
        memory.papers[record.source].update(paper.key for paper in parsed.papers)
        for link in parsed.links:
            url = address(link.url)
            fingerprints[url].append((record.crawl, link.fingerprint))
            memory.known[url] = Known(url, record.source, link.kind)
    for url, seen in fingerprints.items():
        if newest := raw.latest(url):
            # The listing that led to it is of the same crawl, or an older one that has not changed since.
            crawl_of_listing = max((crawl for crawl, _ in seen if crawl <= newest.crawl), default=seen[0][0])
            said = {fingerprint for crawl, fingerprint in seen if crawl == crawl_of_listing}
            memory.known[url] = replace(memory.known[url], fingerprints=tuple(sorted(said)), asked=newest.day)
    return memory


def _worth_parsing(raw: RawPages) -> Iterable[StoredPage]:
    for record in raw.records():
        is_newest = raw.history(record.url)[-1] is record
        if record.status == 200 and record.kind in _PARSED_KINDS and (is_newest or record.kind != "article"):
            yield record
