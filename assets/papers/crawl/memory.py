"""What the crawls so far know of each address besides its responses: when it was last asked for, and what its listing said then.

It is a cache in .figment/: where it is lost, or the store is another than the one that it was written for, it is read again out of the stored pages.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, replace
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from assets.papers.crawl.harvests import Harvest, digest_of, from_rows, to_rows
from assets.papers.items import Page, PageKind, Paper, Parsed, Withdrawal
from assets.papers.raw_pages import RawPages, StoredPage, address
from formats.tables import columns, table_from_rows, write_table
from stages.files import replacing

_SCHEMA = columns(url=str, source=str, kind=str, fingerprints=list[str], asked=date, failures=int, is_listed=bool, absences=int)
# A paper's key, and an answer that was not stored, in the same table as the addresses.
_PAPER, _UNSTORED = "paper", "unstored"
_DIGEST_BYTES = hashlib.sha256().digest_size
_PARSED_KINDS = {"index", "api", "article"}


@dataclass(frozen=True)
class Known:
    """An address that a page linked to.

    fingerprints: what the listings said when it was last had, usually one thing. asked: the crawl day on which it was last asked for.
    failures: crawls since it was last had in which it could not be had.
    is_listed: whether the last crawl saw a link to it.
    absences: crawls in a row in which it was asked for and not there (404 or 410).
    """

    url: str
    source: str
    kind: str
    fingerprints: tuple[str, ...] = ()
    asked: date | None = None
    failures: int = 0
    is_listed: bool = True
    absences: int = 0

    def listed(self, is_listed: bool) -> "Known":
        """The same, after a crawl that did or did not see a link to it."""
        return self if self.is_listed == is_listed else replace(self, is_listed=is_listed)


@dataclass(frozen=True)
class Unstored:
    """The newest answer of an address, of which the page object read nothing that the stored one does not say.

    etag, last_modified: by which to ask whether it still stands. reader: version of the page object that judged so; another one has to see for
    itself. said: a digest of what it read.
    """

    etag: str
    last_modified: str
    reader: str
    said: str


@dataclass
class Memory:
    """known, unstored: by address. papers: the keys of all papers seen, by source. said: what a registry last said of each record, as digests, by
    source and key. harvests: by source and start address.
    """

    known: dict[str, Known] = field(default_factory=dict)
    papers: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    unstored: dict[str, Unstored] = field(default_factory=dict)
    said: dict[str, dict[str, str]] = field(default_factory=lambda: defaultdict(dict))
    harvests: dict[tuple[str, str], Harvest] = field(default_factory=dict)

    def linked(self, url: str, source: str, kind: PageKind) -> Known:
        """What is known of a link, or a new entry for it."""
        return self.known.get(url) or Known(url, source, kind)

    def had(self, url: str, source: str, kind: PageKind, *, fingerprints: Iterable[str], asked: date, is_gone: bool = False) -> None:
        """It was asked for, and answered. fingerprints: of the links to it; none when nothing links to it any more."""
        old = self.linked(url, source, kind)
        absences = old.absences + 1 if is_gone else 0
        said = tuple(sorted(fingerprints)) or old.fingerprints
        self.known[url] = replace(old, kind=kind, fingerprints=said, asked=asked, failures=0, absences=absences)

    def says_anew(self, source: str, parsed: Parsed, url: str) -> dict[str, str]:
        """The records of an answer of which the source last said something else, or nothing: key → digest."""
        known = self.said[source]
        return {key: digest for key, digest in records_of(parsed, url).items() if known.get(key) != digest}

    def failed(self, url: str, source: str, kind: PageKind, *, asked: date, failures: int = 1) -> None:
        """It was asked for in vain. failures: for how many that counts."""
        old = self.linked(url, source, kind)
        self.known[url] = replace(old, asked=asked, failures=old.failures + failures)


def records_of(parsed: Parsed, url: str) -> dict[str, str]:
    """What the answer at that address says of each record, as digests by key; of one that it tells to be withdrawn as well, both."""
    told: dict[str, list[Paper | Withdrawal]] = defaultdict(list)
    for paper in parsed.papers:
        # A record without an address of its own has that of the answer, which is another one in every harvest.
        told[paper.key].append(replace(paper, url="") if paper.url == url else paper)
    for notice in parsed.withdrawals:
        told[notice.key].append(notice)
    return {key: digest_of(records) for key, records in told.items()}


def store_identity(folder: Path) -> str:
    """What a memory belongs to: a digest of the index of the store."""
    index = folder / "index.parquet"
    return hashlib.sha256(index.read_bytes()).hexdigest() if index.is_file() else ""


def load_memory(path: Path, identity: str) -> Memory | None:
    """The memory written for the store of that identity; None when it is missing, damaged or another store's."""
    try:
        content = path.read_bytes()
        # Parquet checks little of what it reads: a flipped bit would be a fact about a page. One that ends as Parquet does is of the time before.
        if not content.endswith(b"PAR1"):
            content, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
            if hashlib.sha256(content).digest() != digest:
                return None
        table = pq.ParquetFile(pa.BufferReader(content)).read()
    except (OSError, pa.ArrowException):
        return None
    # The memory of another store would keep pages from being asked for that this one does not hold.
    if (table.schema.metadata or {}).get(b"store") != identity.encode() or table.schema.names != _SCHEMA.names:
        return None
    harvests = json.loads((table.schema.metadata or {}).get(b"harvests", b"[]"))
    memory = Memory(harvests=from_rows(harvests))
    for row in table.to_pylist():
        if row["kind"] == _PAPER:
            if row["is_listed"]:
                memory.papers[row["source"]].add(row["url"])
            if row["fingerprints"]:
                memory.said[row["source"]][row["url"]] = row["fingerprints"][0]
        elif row["kind"] == _UNSTORED:
            memory.unstored[row["url"]] = Unstored(*row["fingerprints"])
        else:
            memory.known[row["url"]] = Known(**{**row, "fingerprints": tuple(row["fingerprints"])})
    return memory


def save_memory(path: Path, memory: Memory, identity: str) -> None:
    """Write it for the store of that identity."""
    rows: list[dict] = [asdict(known) for known in memory.known.values()]
    # Of a registry also withdrawn records, which are no papers.
    rows += [
        {"url": key, "source": source, "kind": _PAPER, "is_listed": key in memory.papers[source], "fingerprints": told}
        for source in sorted(memory.papers.keys() | memory.said.keys())
        for key in sorted(memory.papers[source] | memory.said[source].keys())
        for told in [[memory.said[source][key]] if key in memory.said[source] else []]
    ]
    rows += [{"url": url, "source": "", "kind": _UNSTORED, "fingerprints": list(vars(answer).values())} for url, answer in memory.unstored.items()]
    table = table_from_rows(_SCHEMA, rows).replace_schema_metadata({"store": identity, "harvests": json.dumps(to_rows(memory.harvests))})
    with replacing(path) as temporary:
        write_table(temporary, table)
        digest = hashlib.sha256(temporary.read_bytes()).digest()
        with temporary.open("ab") as stream:
            stream.write(digest)


def memory_from_store(raw: RawPages, parse: Callable[[Page], Parsed]) -> Memory:
    """What the stored pages tell: the links of every version of every listing, and the newest version of every article."""
    memory = Memory()
    fingerprints: dict[str, list[tuple[int, str]]] = defaultdict(list)
    for record in _worth_parsing(raw):
        parsed = parse(raw.page(record))
        memory.papers[record.source].update(paper.key for paper in parsed.papers)
        if record.kind == "api":
            memory.said[record.source].update(records_of(parsed, record.url))
        for link in parsed.links:
            url = address(link.url)
            fingerprints[url].append((record.crawl, link.fingerprint))
            memory.known[url] = Known(url, record.source, link.kind)
    for url, seen in fingerprints.items():
        if newest := raw.latest(url):
            # The listing that led to it is of the same crawl, or an older one that has not changed since.
            crawl_of_listing = max((crawl for crawl, _ in seen if crawl <= newest.crawl), default=seen[0][0])
            said = {fingerprint for crawl, fingerprint in seen if crawl == crawl_of_listing}
            absences = int(newest.is_gone)
            memory.known[url] = replace(memory.known[url], fingerprints=tuple(sorted(said)), asked=newest.day, absences=absences)
    return memory


def _worth_parsing(raw: RawPages) -> Iterable[StoredPage]:
    for record in raw.records():
        is_newest = raw.history(record.url)[-1] is record
        if record.status == 200 and record.kind in _PARSED_KINDS and (is_newest or record.kind != "article"):
            yield record
