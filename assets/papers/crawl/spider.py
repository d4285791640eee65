"""The spider: from the start addresses along the links that page objects find, asking for what is wanted and keeping what is new."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

from scrapy import Request, Spider, signals
from scrapy.crawler import Crawler
from scrapy.exceptions import (
    CannotResolveHostError,
    DontCloseSpider,
    DownloadCancelledError,
    DownloadTimeoutError,
    IgnoreRequest,
    ResponseDataLossError,
)
from scrapy.http import Response
from scrapy.utils.defer import deferred_from_coro
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure

from assets.papers.crawl.config import JournalPagesConfig, SourceParams
from assets.papers.crawl.credits import Ledger
from assets.papers.crawl.freshness import Freshness
from assets.papers.crawl.harvests import Bounds, Harvests, digest_of, is_linear
from assets.papers.crawl.memory import Memory, Unstored, records_of
from assets.papers.crawl.refusal import Refused
from assets.papers.crawl.reservations import Reservation, is_reserved
from assets.papers.crawl.set_aside import SetAside
from assets.papers.crawl.unfinished import PASSING, Done, Outcome, Unfinished
from assets.papers.guarded_reading import is_beyond, read_guarded
from assets.papers.items import Link, Page, PageKind, Paper, Parsed, Problem, Withdrawal
from assets.papers.page_objects import find_page_object
from assets.papers.parsed_memo import version_of
from assets.papers.raw_pages import GONE, REDIRECTS, RawPages, RawPagesError, StoredPage, address, joined_headers
from assets.papers.warc_store import WarcError
from stages.reporting import Reporter

# Finish what was begun before opening more lists: fewer links wait, and papers are complete early.
_PRIORITY: Mapping[str, int] = {"image": 3, "article": 2, "api": 1, "index": 0}
_PROGRESS_EVERY_S = 10.0


@dataclass
class PaperCounts:
    """Keys of papers that the pages of this crawl tell of; one that several sources tell of counts once. by_source: the keys new to each source."""

    new: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    withdrawn: set[str] = field(default_factory=set)
    by_source: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))


class JournalSpider(Spider):
    """One crawl of all sources. proxies: through which a source is reached, by name. ledger: credits spent today. keys: of sources, by name."""

    name = "journals"

    def __init__(
        self,
        config: JournalPagesConfig,
        *,
        raw: RawPages,
        memory: Memory,
        unfinished: Unfinished,
        set_aside: SetAside,
        proxies: Mapping[str, str],
        ledger: Ledger,
        keys: Mapping[str, str],
        reporter: Reporter,
        **named: Any,
    ) -> None:
        super().__init__(**named)
        self.config = config
        self.raw = raw
        self.memory = memory
        self.unfinished = unfinished
        self.set_aside = set_aside
        self.proxies = proxies
        self.ledger = ledger
        self.keys = keys
        self.reporter = reporter
        self.sources = {source.name: source for source in config.sources}
        # What the hosts told us tonight: pauses, who wants to be left alone, and what is reserved.
        self.crawl_delays_s: dict[str, float] = {}
        self.closed_hosts: dict[str, float] = {}
        self.reservations: dict[str, tuple[Reservation, ...]] = {}
        # What was met and asked for tonight; sources that were not seen whole say nothing about what is gone.
        self.seen: dict[str, set[str]] = defaultdict(set)
        self.asked: set[str] = set()
        self.sent: Counter[str] = Counter()
        self.incomplete: set[str] = set()
        self.offsite: dict[tuple[str, str, bool], str] = {}
        self.papers = PaperCounts()
        self._known_papers = frozenset().union(*memory.papers.values())
        self.page_problems = 0
        self.finish_reason = ""
        self.failure: Exception | None = None
        self._progress = LoopingCall(self._report_progress)
        self._pages: Counter[str] = Counter()
        self._parsed: set[str] = set()
        self._freshness = Freshness(raw, config.revisit_after_days)
        self._page_objects = {source.name: find_page_object(source.page) for source in config.sources}
        self._readers: dict[str, str] = {}
        self.harvests = Harvests(memory.harvests, Bounds(config.max_harvest_requests, config.max_harvest_mib * 2**20, config.max_harvest_s))

    @classmethod
    def from_crawler(cls, crawler: Crawler, *args: Any, **named: Any) -> "JournalSpider":
        spider = super().from_crawler(crawler, *args, **named)
        crawler.signals.connect(spider.on_idle, signal=signals.spider_idle)
        crawler.signals.connect(spider.on_defect, signal=signals.spider_error)
        return spider

    async def start(self) -> AsyncIterator[Request]:
        """The start addresses."""
        self._progress.start(_PROGRESS_EVERY_S, now=False)
        for source in self.config.sources:
            for url in dict.fromkeys(map(address, source.start)):
                for first in self._first_of(source, url):
                    self.seen[first].add("")
                    if first not in self.asked:
                        yield self._ask(first, source, kind=source.start_kind)

    def closed(self, reason: str) -> None:
        """Scrapy's hook."""
        self.finish_reason = reason
        if self._progress.running:
            self._progress.stop()

    def source_of(self, request: Request) -> SourceParams:
        """The source that a request belongs to."""
        return self.sources[request.meta["source"]]

    def previous(self, url: str) -> StoredPage | None:
        """The newest response that earlier crawls stored for exactly that address."""
        history = self.raw.history(url)
        return history[-1] if history else None

    def validators(self, request: Request, previous: StoredPage) -> tuple[str | None, str | None]:
        """(entity tag, date of last change) by which to ask whether what is stored, or an answer that said the same, still stands."""
        chain = self.harvests.chain_of(request.meta["link"])
        if chain is not None and chain.is_fresh and chain.is_linear:
            return None, None
        newer = self.memory.unstored.get(previous.url)
        if newer is not None:
            # The body is not there for another page object to read: it asks by what is stored, and sees for itself.
            is_read = newer.reader == self.reader_of(request.meta["source"])
            return (newer.etag, newer.last_modified) if is_read else (None, None)
        return previous.etag, previous.last_modified

    def reader_of(self, source: str) -> str:
        """The version of the page object of a source: of all that decides what it reads."""
        if source not in self._readers:
            self._readers[source] = version_of(self.sources[source].page, self._page_objects[source])
        return self._readers[source]

    # Going along links

    def follow(self, link: Link, source: SourceParams, *, has_changed: bool = False) -> Iterator[Request]:
        """The request for a link, if it is wanted and was not made in this crawl yet."""
        try:
            url = address(link.url)
            host = urlsplit(url).hostname or ""
        except ValueError:
            self.page_problems += 1
            return
        if not source.allows(host, is_image=link.kind == "image"):
            place = (source.name, host, link.kind == "image")
            self.offsite[place] = min(url, self.offsite.get(place, url))
            return
        # Seen counts also for what is not asked for: a page that is still linked to is not gone.
        self.seen[url].add(link.fingerprint)
        if url in self.asked:
            return
        # Asked for once a crawl, if the rules of freshness want it and the source has pages left.
        known = self.memory.linked(url, source.name, link.kind)
        is_wanted = self._freshness.is_wanted(link, known, today=self.unfinished.day_of(source.name), has_changed=has_changed)
        # What was judged not worth storing, by a page object that has changed since, is looked at once more.
        newer = self.memory.unstored.get(url)
        is_wanted = is_wanted or (newer is not None and newer.reader != self.reader_of(source.name))
        if is_wanted and self._is_within_max_pages(link, source):
            yield self._ask(url, source, kind=link.kind)

    def request_for(self, url: str, source: SourceParams, *, kind: PageKind) -> Request:
        """A request of that source, with all that the middlewares need to know of it."""
        meta: dict[str, Any] = {"source": source.name, "kind": kind, "link": url, "render": source.render and kind in {"index", "article"}}
        if proxy := self.proxies.get(source.name):
            meta["proxy"] = proxy
        headers = {"User-Agent": self.config.user_agent(source)} if source.contact else None
        return Request(url, callback=self.on_response, errback=self.on_failure, dont_filter=True, priority=_PRIORITY.get(kind, 0), meta=meta,
                       headers=headers)  # fmt: skip

    def on_idle(self) -> None:
        """Nothing is left to follow: look after the pages that no page links to any more, and the images that could not be had the last time."""
        partial = self.incomplete | self.harvests.partial_sources()
        # First pictures that failed the last time; then pages that nothing links to any more, of sources that were crawled to their end.
        known_here = [known for known in self.memory.known.values() if known.source in self.sources and known.url not in self.asked]
        requests = [
            request for known in known_here if known.kind == "image" for request in self.follow(Link(known.url, "image"), self.sources[known.source])
        ]
        requests += [
            self._ask(known.url, self.sources[known.source], kind="index" if known.kind == "index" else "article")
            for known in known_here
            if known.kind in {"index", "article"}
            and known.url not in self.seen
            and known.source not in partial
            and self._freshness.is_worth_a_look(known, today=self.unfinished.day_of(known.source))
        ]
        for request in requests:
            self.crawler.engine.crawl(request)
        if requests:
            raise DontCloseSpider

    def _ask(self, url: str, source: SourceParams, *, kind: PageKind) -> Request:
        self.asked.add(url)
        if kind != "image":
            self._pages[source.name] += 1
        return self.request_for(url, source, kind=kind)

    def _is_within_max_pages(self, link: Link, source: SourceParams) -> bool:
        most = source.max_pages if source.max_pages is not None else self.config.max_pages
        if link.kind == "image" or most is None or self._pages[source.name] < most:
            return True
        self.incomplete.add(source.name)
        self.harvests.stopped(address(link.url))
        return False

    def _first_of(self, source: SourceParams, url: str) -> list[str]:
        if source.start_kind != "api":
            return [url]
        reader = self.reader_of(source.name) if is_linear(source.page) else ""
        nights = self.config.sweep_nights_of(source)
        return self.harvests.begin(source.name, source.page, url, sweep_nights=nights, reader=reader, is_fresh=not source.is_local)

    # Responses

    def on_response(self, response: Response) -> Iterator[Request]:
        """Keep it, read it, and go on along its links."""
        request = response.request
        assert request is not None
        done: Done = request.meta["done"]
        if done.outcome == "failed":
            yield from self._after_failure(done)
            return
        if response.status == 200 and done.kind in {"index", "api", "article"} and done.url not in self._parsed:
            self._parsed.add(done.url)
            headers = _joined(response)
            page = Page(done.url, response.body, done.kind, done.source, headers.get("content-type", ""), headers)
            yield from self._read(page, done, request.meta.get("parsed"))

    def on_failure(self, failure: Failure) -> Iterator[Request]:
        """No response came, or it was refused."""
        request: Request = failure.request  # type: ignore[attr-defined]
        yield from self._after_failure(self.note_failure(request, failure.value))

    def on_defect(self, failure: Failure) -> None:
        """The store cannot be read, or there is a defect of ours: a crawl that went on would say less than it should."""
        self._stop(failure.value)

    def keep(self, request: Request, status: int, body: bytes) -> Done:
        """Store a response if it is new, and note it either way. body: without content encodings."""
        # Served from the store: it was kept when it came.
        if served := request.meta.get("served"):
            return served
        previous, exchange = request.meta["previous"], request.meta["exchange"]
        outcome: Outcome
        problem = words = ""
        digest, reserved, link = "", None, request.meta["link"]
        # What becomes of it: not modified, worth keeping (200, 404 and 410, redirects that lead somewhere), or a failure. A token that leads nowhere
        # is no page that is gone.
        if request.meta.get("is_not_modified"):
            outcome = "unchanged"
        elif status in GONE and self.harvests.is_on_its_way(link) and link not in map(address, self.sources[request.meta["source"]].start):
            outcome, problem, words = "failed", f"http_{status}", f"the server answered {status}"
        elif status == 200 or status in GONE or (status in REDIRECTS and "location" in joined_headers(exchange.headers)):
            digest = hashlib.sha256(body).hexdigest()
            outcome = self._outcome(previous, status, digest, exchange.headers)
            headers = joined_headers(exchange.headers)
            reserved = is_reserved(exchange.url, headers, body, self.reservations.get(urlsplit(exchange.url).netloc, ()))
            if outcome == "stored" and status == 200 and request.meta["kind"] in {"index", "api", "article"}:
                page = Page(exchange.url, body, request.meta["kind"], request.meta["source"], headers.get("content-type", ""), headers)
                outcome = self._outcome_as_read(request, page, reserved)
            # The newest answer is the stored one again, or becomes it.
            if outcome != "same":
                self.memory.unstored.pop(exchange.url, None)
        else:
            outcome, problem, words = "failed", f"http_{status}", f"the server answered {status}"
        # Sites answer for a missing picture with a friendly page and status 200.
        if outcome == "stored" and status == 200 and request.meta["kind"] == "image" and _is_html(body):
            outcome, problem, words = "failed", "not_an_image", "a page of HTML was sent where an image was expected"
        done = Done(url=exchange.url, link=link, source=request.meta["source"], kind=request.meta["kind"], outcome=outcome,
                    tries=self.sent.pop(exchange.url, 0), origin=self.unfinished.origins[request.meta["source"]], status=status, problem=problem,
                    words=words)  # fmt: skip
        try:
            if outcome == "stored":
                return self.unfinished.keep(exchange, done, content_sha256=digest, tdm_reserved=reserved, parts=request.meta.get("parts", ()))
            self.unfinished.note(done)
        except OSError as error:
            self._stop(error)
            raise
        return done

    def note_failure(self, request: Request, error: BaseException) -> Done:
        """Note why an address could not be had."""
        if isinstance(error, RawPagesError | WarcError):
            self._stop(error)
        problem, words = _why(error)
        source = request.meta["source"]
        url = address(request.url)
        done = Done(url=url, link=request.meta["link"], source=source, kind=request.meta["kind"], outcome="failed",
                    tries=self.sent.pop(url, 0), origin=self.unfinished.origins[source], problem=problem, words=words)  # fmt: skip
        if earlier := self.unfinished.done.get(url):
            # It was had before, as a redirect that led nowhere or in a program that was killed.
            if earlier.problem or earlier.outcome == "failed" or not _is_redirect(earlier):
                return earlier
            done = replace(earlier, problem=problem, words=words)
        if self.failure is not None:
            return done
        try:
            self.unfinished.note(done)
        except OSError as full:
            self._stop(full)
        return done

    def _outcome(self, previous: StoredPage | None, status: int, digest: str, headers: Iterable[tuple[str, str]]) -> Outcome:
        if previous is None or (previous.status != status and not (previous.is_gone and status in GONE)):
            return "stored"
        if previous.is_gone:
            # A page that is missing twice in a row is gone for good; a third time tells nothing new, nor does a second one of an image or robots.txt,
            # or of a list that was never there: nothing can be withdrawn with it.
            was_there = previous.kind == "article" or (previous.kind in {"index", "api"} and len(self.raw.history(previous.url)) > 1)
            return "stored" if was_there and not self.raw.is_gone(previous.url) else "still_gone"
        if previous.is_redirect:
            is_same = self.raw.headers(previous).get("location") == joined_headers(headers).get("location")
        else:
            is_same = previous.content_sha256 == digest
        return "unchanged" if is_same else "stored"

    def _outcome_as_read(self, request: Request, page: Page, reserved: bool | None) -> Outcome:
        """Whether an answer with other bytes than the stored one says anything else, to the page object and of mining."""
        previous: StoredPage | None = request.meta["previous"]
        # Of a registry counts what it says of each record, in whichever answer; the first answer of all shows that it is there.
        if page.kind == "api" and is_linear(self.sources[page.source].page):
            parsed = request.meta["parsed"] = self._parsed_page(page)
            is_first = previous is None and request.meta["link"] in map(address, self.sources[page.source].start)
            has_news = bool(parsed.papers or parsed.withdrawals) and self.memory.says_anew(page.source, parsed, page.url)
            return "stored" if is_first or has_news else "same"
        place = (200, page.kind, page.source, page.headers.get("x-robots-tag"), reserved)
        if previous is None or place != (previous.status, previous.kind, previous.source, previous.robots_tag, previous.tdm_reserved):
            return "stored"
        # A page in which nothing can be read is compared by its bytes alone.
        parsed = request.meta["parsed"] = self._parsed_page(page)
        if not (parsed.papers or parsed.links or parsed.withdrawals):
            return "stored"
        reader, said = self.reader_of(page.source), _digest(parsed)
        newer = self.memory.unstored.get(page.url)
        if (newer is None or (newer.reader, newer.said) != (reader, said)) and _digest(self._parsed_page(self.raw.page(previous))) != said:
            return "stored"
        self.memory.unstored[page.url] = Unstored(page.headers.get("etag", ""), page.headers.get("last-modified", ""), reader, said)
        return "same"

    def _after_failure(self, done: Done) -> Iterator[Request]:
        if done.kind not in {"index", "api"}:
            return
        self.incomplete.add(done.source)
        again = self.harvests.failed(done.link, status=done.status, problem=done.problem, words=done.words, is_passing=done.problem in PASSING)
        for link in again:
            yield from self.follow(link, self.sources[done.source])

    def _stop(self, error: Exception) -> None:
        if self.failure is None:
            self.failure = error
            # What waits for its turn at a host would still be asked for, and could not be kept.
            for slot in self.crawler.engine.downloader.slots.values():
                while slot.queue:
                    slot.queue.popleft()[1].errback(Failure(IgnoreRequest("the crawl stops")))
            deferred_from_coro(self.crawler.engine.close_spider_async(reason="failed"))

    # What pages say

    def _read(self, page: Page, done: Done, parsed: Parsed | None) -> Iterator[Request]:
        # Read what it says now, and what its last stored version said, by the same page object.
        source = self.sources[page.source]
        parsed = parsed or self._parsed_page(page)
        self.page_problems += len(parsed.problems)
        earlier = self.previous(page.url) if done.outcome == "stored" else None
        before = self._parsed_page(self.raw.page(earlier)) if earlier is not None and earlier.status == 200 else None
        changed = self._count_papers(page.source, parsed, before) if done.outcome == "stored" else set()
        if done.kind == "api" and done.outcome == "stored":
            self.memory.said[page.source].update(records_of(parsed, page.url))
        # An article page that changed may show another picture under the same address, and one of which its listing says something else, too; of a
        # listing, the papers that changed are known by key.
        is_news = not self.seen.get(done.link, set()) <= set(self.memory.linked(done.link, source.name, done.kind).fingerprints)
        if done.kind == "article" and (before is not None or (done.outcome == "same" and is_news)):
            for link in parsed.links:
                yield from self.follow(link, source, has_changed=True)
        else:
            for link in self.harvests.onward(done.link, source.name, page.body, parsed, today=self.unfinished.day_of(source.name)):
                yield from self.follow(link, source, has_changed=link.paper_key in changed)

    def _parsed_page(self, page: Page) -> Parsed:
        reader = self.reader_of(page.source)
        if words := self.set_aside.words(page, reader):
            self.incomplete.add(page.source)
            return Parsed(problems=(Problem(page.url, words),))
        parsed = read_guarded(self._page_objects[page.source], page, log=self.reporter.log)
        if is_beyond(parsed):
            self.set_aside.add(page, reader, parsed.problems[0].words)
            self.incomplete.add(page.source)
        return parsed

    def _count_papers(self, source: str, parsed: Parsed, before: Parsed | None) -> set[str]:
        """Count what a changed page says anew; gives the keys of the papers that are known and have changed."""
        known, old = self.memory.papers[source], {paper.key: paper for paper in before.papers} if before else {}
        old_withdrawals = set(before.withdrawals) if before else set[Withdrawal]()
        changed = set()
        # New is what no source has told of; new to this source alone is remembered; known here and told otherwise than before is changed.
        for paper in parsed.papers:
            if paper.key not in self._known_papers:
                self.papers.new.add(paper.key)
            if paper.key not in known:
                self.papers.by_source[source].add(paper.key)
            elif paper.key in old and old[paper.key] != paper:
                changed.add(paper.key)
                if _is_withdrawn_now(paper, old[paper.key]):
                    self.papers.withdrawn.add(paper.key)
        self.papers.changed.update(changed)
        self.papers.withdrawn.update(notice.key for notice in parsed.withdrawals if notice not in old_withdrawals)
        return changed

    def _report_progress(self) -> None:
        waiting = len(self.asked) - len(self.unfinished.done)
        self.reporter.progress_words(f"journal_pages: {len(self.unfinished.done):,} addresses done, about {max(waiting, 0):,} waiting")


def _digest(parsed: Parsed) -> str:
    return digest_of(parsed.papers, parsed.links, parsed.withdrawals, parsed.problems)


def _is_withdrawn_now(paper: Paper, before: Paper) -> bool:
    return paper.status != "published" and before.status == "published"


def _is_redirect(done: Done) -> bool:
    return done.status in REDIRECTS


def _joined(response: Response) -> dict[str, str]:
    pairs = ((name.decode("latin-1"), value.decode("latin-1")) for name, values in response.headers.items() for value in values)
    return joined_headers(pairs)


def _is_html(body: bytes) -> bool:
    return body[:512].lstrip().lower().startswith((b"<!doctype html", b"<html", b"<head", b"<body"))


def _why(error: BaseException) -> tuple[str, str]:
    """(kind of problem, words) of an exception of the downloader."""
    if isinstance(error, Refused):
        return error.kind, error.words
    if isinstance(error, DownloadTimeoutError):
        return "timeout", "no whole answer came within timeout_s"
    if isinstance(error, CannotResolveHostError):
        return "unknown_host", "the name of the host cannot be resolved"
    if isinstance(error, ResponseDataLossError):
        return "cut_off", "the answer ended before it was whole"
    if isinstance(error, DownloadCancelledError):
        return "too_large", "the answer is larger than max_body_mib"
    if isinstance(error, IgnoreRequest):
        return "refused", str(error)[:200] or "refused"
    return "unreachable", f"no answer: {type(error).__name__}"
