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
from assets.papers.crawl.credits import Ledger, places_to_go_on
from assets.papers.crawl.freshness import Freshness
from assets.papers.crawl.memory import Memory
from assets.papers.crawl.refusal import Refused
from assets.papers.crawl.reservations import Reservation, is_reserved
from assets.papers.crawl.unfinished import Done, Outcome, Unfinished
from assets.papers.items import Link, Page, PageKind, Paper, Parsed, Withdrawal
from assets.papers.page_objects import find_page_object, read_page
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
            # Where credits ran out, the rest comes first: what lies before it was had, and says nothing tonight about what is gone.
            begun = places_to_go_on(source, self.raw.problems())
            if begun:
                self.incomplete.add(source.name)
            for url in dict.fromkeys(map(address, begun or source.start)):
                self.seen[url].add("")
                if url not in self.asked:
                    yield self._ask(url, source, kind=source.start_kind)

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
            and known.source not in self.incomplete
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
        return False

    # Responses

    def on_response(self, response: Response) -> Iterator[Request]:
        """Keep it, read it, and go on along its links."""
        request = response.request
        assert request is not None
        done: Done = request.meta["done"]
        if done.outcome == "failed":
            self._note_incomplete(done)
            return
        if response.status == 200 and done.kind in {"index", "api", "article"} and done.url not in self._parsed:
            self._parsed.add(done.url)
            headers = _joined(response)
            page = Page(done.url, response.body, done.kind, done.source, headers.get("content-type", ""), headers)
            yield from self._read(page, done)

    def on_failure(self, failure: Failure) -> None:
        """No response came, or it was refused."""
        request: Request = failure.request  # type: ignore[attr-defined]
        self._note_incomplete(self.note_failure(request, failure.value))

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
        digest = ""
        # What becomes of it: not modified, worth keeping (200, 404 and 410, redirects that lead somewhere), or a failure.
        if request.meta.get("is_not_modified"):
            outcome = "unchanged"
        elif status == 200 or status in GONE or (status in REDIRECTS and "location" in joined_headers(exchange.headers)):
            digest = hashlib.sha256(body).hexdigest()
            outcome = self._outcome(previous, status, digest, exchange.headers)
        else:
            outcome, problem, words = "failed", f"http_{status}", f"the server answered {status}"
        # Sites answer for a missing picture with a friendly page and status 200.
        if outcome == "stored" and status == 200 and request.meta["kind"] == "image" and _is_html(body):
            outcome, problem, words = "failed", "not_an_image", "a page of HTML was sent where an image was expected"
        done = Done(url=exchange.url, link=request.meta["link"], source=request.meta["source"], kind=request.meta["kind"], outcome=outcome,
                    tries=self.sent.pop(exchange.url, 0), origin=self.unfinished.origins[request.meta["source"]], status=status, problem=problem,
                    words=words)  # fmt: skip
        try:
            if outcome == "stored":
                reserved = is_reserved(exchange.url, joined_headers(exchange.headers), body, self.reservations.get(urlsplit(exchange.url).netloc, ()))
                return self.unfinished.keep(exchange, done, content_sha256=digest, tdm_reserved=reserved)
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
            # A page that is missing twice in a row is gone for good; a third time tells nothing new, nor does a second one of an image or robots.txt.
            return "stored" if previous.kind in {"index", "api", "article"} and not self.raw.is_gone(previous.url) else "still_gone"
        if previous.content_sha256 != digest:
            return "stored"
        if previous.is_redirect and self.raw.headers(previous).get("location") != joined_headers(headers).get("location"):
            return "stored"
        return "unchanged"

    def _note_incomplete(self, done: Done) -> None:
        if done.kind in {"index", "api"}:
            self.incomplete.add(done.source)

    def _stop(self, error: Exception) -> None:
        if self.failure is None:
            self.failure = error
            # What waits for its turn at a host would still be asked for, and could not be kept.
            for slot in self.crawler.engine.downloader.slots.values():
                while slot.queue:
                    slot.queue.popleft()[1].errback(Failure(IgnoreRequest("the crawl stops")))
            deferred_from_coro(self.crawler.engine.close_spider_async(reason="failed"))

    # What pages say

    def _read(self, page: Page, done: Done) -> Iterator[Request]:
        # Read what it says now, and what its last stored version said, by the same page object.
        source = self.sources[page.source]
        parsed = self._parsed_page(page)
        self.page_problems += len(parsed.problems)
        earlier = self.previous(page.url) if done.outcome == "stored" else None
        before = self._parsed_page(self.raw.page(earlier)) if earlier is not None and earlier.status == 200 else None
        changed = self._count_papers(page.source, parsed, before) if done.outcome == "stored" else set()
        # An article page that changed may show another picture under the same address; of a listing, the papers that changed are known by key.
        if done.kind == "article" and before is not None:
            for link in parsed.links:
                yield from self.follow(link, source, has_changed=True)
        else:
            for link in parsed.links:
                yield from self.follow(link, source, has_changed=link.paper_key in changed)

    def _parsed_page(self, page: Page) -> Parsed:
        return read_page(self._page_objects[page.source], page, log=self.reporter.log)

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
