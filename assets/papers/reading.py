"""Read every stored page through the page object of its source, version by version."""

from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field

from assets.images.columns import UNKNOWN_LICENCE
from assets.papers.items import PageObject, Parsed, Problem
from assets.papers.merging import PageHistory, Version
from assets.papers.page_objects import read_page
from assets.papers.parsed_memo import ParsedMemo, version_of
from assets.papers.pictures import is_reserved
from assets.papers.raw_pages import RawPages, StoredPage
from formats.plain_text import clean

_WORDS_KEPT = 500


class UnknownPage(Exception):
    """A source of the raw store names a page object that does not exist."""


@dataclass
class ReadPages:
    """What all stored pages say. rejected: problems of their newest versions. pages: addresses by source."""

    histories: list[PageHistory] = field(default_factory=list)
    rejected: list[dict] = field(default_factory=list)
    pages: Counter = field(default_factory=Counter)
    sources_left_out: list[str] = field(default_factory=list)


def read_pages(raw: RawPages, memo: ParsedMemo, find: Callable[[str], PageObject]) -> ReadPages:
    """Every stored page with what its versions say, ordered by (source, url). find: gives the page object of a name, or raises ValueError.

    Raises UnknownPage, RawPagesError.
    """
    sources = raw.sources()
    order = {name: place for place, name in enumerate(sources)}
    objects = {}
    for name, source in sources.items():
        try:
            objects[name] = find(source.page)
        except ValueError as error:
            raise UnknownPage(f"source '{name}' of journal_pages: {error}; mend `page` of that source in params.yaml") from None
    # Named once a source: the closure of a page object's code is walked for it.
    versions = {name: version_of(sources[name].page, read) for name, read in objects.items()}
    # Stored pages by address. Those of a source that left params.yaml stay in the store, and out of `papers`.
    records: dict[tuple[str, str], list[StoredPage]] = defaultdict(list)
    left_out: set[str] = set()
    for record in raw.records():
        if record.source not in sources:
            left_out.add(record.source)
        elif record.kind in ("index", "api", "article"):
            records[record.source, record.url].append(record)
    result = ReadPages(pages=Counter(dict.fromkeys(sources, 0)), sources_left_out=sorted(left_out))
    # A fixed order, and each page's versions oldest first, as `merge` replays them.
    for (name, url), mine in sorted(records.items()):
        mine.sort(key=lambda record: record.crawl)
        told = [_version(raw, record, objects[name], memo, versions[name]) for record in mine]
        licence = sources[name].licence or UNKNOWN_LICENCE
        result.histories.append(PageHistory(name, order[name], licence, url, mine[-1].kind, told))
        result.pages[name] += 1
        _note_problems(name, mine[-1], told[-1], result.rejected)
    return result


def _version(raw: RawPages, record: StoredPage, read: PageObject, memo: ParsedMemo, version: str) -> Version:
    if record.is_gone:
        return Version(record.crawl, record.day, "missing")
    if record.is_redirect:
        return Version(record.crawl, record.day, "moved")
    # The body is read and parsed only where the memo does not know what these bytes say.
    key = memo.key(record, version)
    parsed = memo.lookup(key)
    if parsed is None:
        parsed = _parse(raw, record, read)
        memo.put(key, parsed)
    return Version(record.crawl, record.day, "there", parsed, is_reserved(record))


def _parse(raw: RawPages, record: StoredPage, read: PageObject) -> Parsed:
    parsed = read_page(read, raw.page(record))
    # Without a key a paper could be taken for any other that has none.
    named = tuple(paper for paper in parsed.papers if paper.key.strip())
    nameless = Problem(record.url, f"{len(parsed.papers) - len(named)} papers without a key (DOI, identifier or address); they are left out")
    return Parsed(named, (), parsed.withdrawals, (*parsed.problems, nameless) if len(named) < len(parsed.papers) else parsed.problems)


def _note_problems(source: str, record: StoredPage, version: Version, rejected: list[dict]) -> None:
    parsed = version.parsed
    if parsed is None:
        return
    # Only the newest version is complained about: what was wrong with a page that has been mended since helps nobody.
    rejected += [rejected_row(source, problem.where, record.crawl, "problem_on_page", problem.words) for problem in parsed.problems]
    if record.kind == "article" and not (parsed.papers or parsed.withdrawals or parsed.problems):
        rejected.append(rejected_row(source, record.url, record.crawl, "no_paper_on_page", "an article page on which no paper was found"))


def rejected_row(source: str, where: str, crawl: int, reason: str, words: str, id: str | None = None) -> dict:
    """A record of rejected.parquet."""
    return {"source": source, "where": bounded(where), "id": id, "crawl": crawl, "reason": reason, "words": bounded(words)}


def bounded(text: str) -> str:
    """Foreign words for a table: clean, and of bounded length."""
    return clean(text[: 2 * _WORDS_KEPT])[:_WORDS_KEPT]
