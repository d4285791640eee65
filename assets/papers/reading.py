"""Read every stored page through the page object of its source, version by version."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

import numpy
import pyarrow as pa
import pyarrow.compute as pc

from assets.images.columns import UNKNOWN_LICENCE
from assets.papers.guarded_reading import read_guarded
from assets.papers.items import PageObject, Parsed, Problem
from assets.papers.merging import PageHistory, Version
from assets.papers.parsed_memo import ParsedMemo, version_of
from assets.papers.pictures import is_reserved
from assets.papers.raw_pages import GONE, REDIRECTS, RawPages, StoredPage
from formats.plain_text import clean

_WITH_WORDS = ("index", "api", "article")
_PAGES_TOGETHER = 1_000
_WORDS_KEPT = 500


class UnknownPage(Exception):
    """A source of the raw store names a page object that does not exist."""


class PageReader:
    """Reads the stored pages of the sources in params.yaml, through the memo where the same bytes were read by the same code before.

    find: gives the page object of a name, or raises ValueError. Raises UnknownPage, RawPagesError.
    """

    def __init__(self, raw: RawPages, memo: ParsedMemo, find: Callable[[str], PageObject]) -> None:
        self._raw, self._memo = raw, memo
        self.sources = raw.sources()
        self._order = {name: place for place, name in enumerate(self.sources)}
        self._objects = {}
        for name, source in self.sources.items():
            try:
                self._objects[name] = find(source.page)
            except ValueError as error:
                raise UnknownPage(f"source '{name}' of journal_pages: {error}; mend `page` of that source in params.yaml") from None
        # Named once a source: the closure of a page object's code is walked for it.
        self.versions = {name: version_of(self.sources[name].page, read) for name, read in self._objects.items()}
        # Rows of the index by page, of the pages that were looked for. Pages of a source that left params.yaml stay in the store only.
        self._rows: dict[tuple[str, str], list[int]] = defaultdict(list)
        self._looked_for: set[str] = set()
        # Pages that were asked for as a list and as an article: what they say names papers otherwise than before.
        self.of_two_kinds: set[tuple[str, str]] = set()
        # The keys by which the memo was asked.
        self.asked: set[str] = set()
        index = raw.index()
        self.left_out = sorted(set(index["source"].unique().to_pylist()) - set(self.sources))
        self._is_page = pc.and_(pc.is_in(index["kind"], pa.array(_WITH_WORDS)), pc.is_in(index["source"], pa.array(self.sources, pa.string())))
        is_answer = pc.invert(pc.is_in(index["status"], pa.array(GONE | REDIRECTS, pa.int64())))
        self.answers = pc.sum(pc.and_(self._is_page, is_answer)).as_py() or 0

    def pages(self, *, since: int = 0) -> list[tuple[str, str]]:
        """(source, url) of the pages that have an answer in row `since` of the index or a later one, in order."""
        self._look_for(self._raw.index()["url"].slice(since).filter(self._is_page.slice(since)).to_pylist())
        return sorted(page for page, rows in self._rows.items() if rows[-1] >= since)

    def count(self) -> dict[str, int]:
        """Pages by source, in the order of the parameters; also of a source that has none."""
        pages = self._raw.index().select(["source", "url"]).filter(self._is_page)
        return {name: pc.count_distinct(pages["url"].filter(pc.equal(pages["source"], name))).as_py() for name in self.sources}

    def _look_for(self, urls: Iterable[str]) -> None:
        """Find the rows of the pages at these addresses, those of one page in order."""
        wanted = set(urls) - self._looked_for
        if not wanted:
            return
        self._looked_for |= wanted
        index = self._raw.index()
        mask = pc.and_(self._is_page, pc.is_in(index["url"], pa.array(wanted, pa.string())))
        places = numpy.flatnonzero(mask.to_numpy())
        kinds: dict[tuple[str, str], str] = {}
        found = (index[name].take(places).to_pylist() for name in ("source", "url", "kind"))
        for row, name, url, kind in zip(places.tolist(), *found, strict=True):
            self._rows[name, url].append(row)
            if kinds.setdefault((name, url), kind) != kind:
                self.of_two_kinds.add((name, url))

    def histories(self, pages: Iterable[tuple[str, str]]) -> Iterator[PageHistory]:
        """What all stored answers of these pages say, oldest first."""
        waiting = list(pages)
        self._look_for(url for _, url in waiting)
        for start in range(0, len(waiting), _PAGES_TOGETHER):
            some = waiting[start : start + _PAGES_TOGETHER]
            records = iter(self._raw.records_at([row for page in some for row in self._rows[page]]))
            for source, url in some:
                mine = sorted((next(records) for _ in self._rows[source, url]), key=lambda record: record.crawl)
                licence = self.sources[source].licence or UNKNOWN_LICENCE
                versions = [self._version(record) for record in mine]
                yield PageHistory(source, self._order[source], licence, url, mine[-1].kind, versions)

    def _version(self, record: StoredPage) -> Version:
        if record.is_gone:
            return Version(record.crawl, record.day, "missing")
        if record.is_redirect:
            return Version(record.crawl, record.day, "moved")
        # The body is read and parsed only where the memo does not know what these bytes say.
        key = self._memo.key(record, self.versions[record.source])
        self.asked.add(key)
        parsed = self._memo.lookup(key)
        if parsed is None:
            parsed = _parse(self._raw, record, self._objects[record.source])
            self._memo.put(key, parsed)
        return Version(record.crawl, record.day, "there", parsed, is_reserved(record))


def _parse(raw: RawPages, record: StoredPage, read: PageObject) -> Parsed:
    parsed = read_guarded(read, raw.page(record))
    # Without a key a paper could be taken for any other that has none.
    named = tuple(paper for paper in parsed.papers if paper.key.strip())
    nameless = Problem(record.url, f"{len(parsed.papers) - len(named)} papers without a key (DOI, identifier or address); they are left out")
    return Parsed(named, (), parsed.withdrawals, (*parsed.problems, nameless) if len(named) < len(parsed.papers) else parsed.problems)


def problems_of(page: PageHistory) -> list[dict]:
    """Records of what is wrong with the newest version: what was wrong with a page that has been mended since helps nobody."""
    newest = page.versions[-1]
    parsed = newest.parsed
    if parsed is None:
        return []
    rejected = [rejected_row(page.source, problem.where, newest.crawl, "problem_on_page", problem.words) for problem in parsed.problems]
    if page.kind == "article" and not (parsed.papers or parsed.withdrawals or parsed.problems):
        rejected.append(rejected_row(page.source, page.url, newest.crawl, "no_paper_on_page", "an article page on which no paper was found"))
    return rejected


def rejected_row(source: str, where: str, crawl: int, reason: str, words: str, id: str | None = None) -> dict:
    """A record of rejected.parquet."""
    return {"source": source, "where": bounded(where), "id": id, "crawl": crawl, "reason": reason, "words": bounded(words)}


def bounded(text: str) -> str:
    """Foreign words for a table: clean, and of bounded length."""
    return clean(text[: 2 * _WORDS_KEPT])[:_WORDS_KEPT]
