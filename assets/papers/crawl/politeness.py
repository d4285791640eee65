"""How the crawl behaves towards a host: robots.txt, pauses, and what to do when it is told to wait."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import monotonic
from urllib.parse import urlsplit

from scrapy import Request, Spider, signals
from scrapy.core.downloader import Slot
from scrapy.crawler import Crawler
from scrapy.downloadermiddlewares.retry import RetryMiddleware
from scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
from scrapy.exceptions import IgnoreRequest
from scrapy.extensions.throttle import AutoThrottle
from scrapy.http import Response
from scrapy.http.request import NO_CALLBACK
from scrapy.robotstxt import ProtegoRobotParser, RobotParser
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from assets.downloads.contact import PRODUCT
from assets.papers.crawl.config import SourceParams
from assets.papers.crawl.guard import spider_of
from assets.papers.crawl.refusal import Refused
from assets.papers.crawl.reservations import WELL_KNOWN, read_reservations
from assets.papers.crawl.unfinished import Done

# A server that says it has too much to do is asked again after so many seconds, doubled at every try, where it does not say when.
_BACKOFF_S = 1.0
_BUSY = frozenset({429, 500, 502, 503, 504})
_LONGEST_CRAWL_DELAY_S = 300.0
# Of robots.txt so much is read: what RFC 9309, 2.5 asks for at least.
_MOST_RULES_BYTES = 500 * 1024
_INTERVAL = re.compile(r"([0-9]{1,6}(?:\.[0-9]{1,6})?)\s*(ms|s|m|h|)")
_UNITS_S = {"ms": 0.001, "s": 1.0, "": 1.0, "m": 60.0, "h": 3600.0}


class NothingAllowed(RobotParser):
    """The rules of a host whose robots.txt cannot be had: a server in trouble is left alone (RFC 9309, 2.3.1.4)."""

    def __init__(self, why: str) -> None:
        self.why = why

    @classmethod
    def from_crawler(cls, crawler: Crawler, robotstxt_body: bytes) -> "NothingAllowed":  # noqa: ARG003 (Scrapy's signature)
        return cls("")

    def allowed(self, url: str | bytes, user_agent: str | bytes) -> bool:  # noqa: ARG002 (Scrapy's signature)
        return False


class Robots(RobotsTxtMiddleware):
    """Scrapy's own middleware, with three differences: robots.txt is stored like any response; where it answers 429 or 5xx, or not at all, nothing
    is asked of the host in this crawl; and its Crawl-delay is kept. Beside it the host's reservations of text and data mining are read.
    """

    def process_request_2(self, rp: RobotParser | None, request: Request) -> None:
        if isinstance(rp, NothingAllowed):
            raise Refused("robots_unreachable", f"{rp.why}; nothing is asked of this host until its robots.txt can be read")
        try:
            super().process_request_2(rp, request)
        except IgnoreRequest:
            raise Refused("robots_disallowed", f"robots.txt does not allow it to {PRODUCT}") from None

    async def robot_parser(self, request: Request) -> RobotParser | None:
        url = urlsplit(request.url)
        if url.netloc in self._parsers:
            return await super().robot_parser(request)
        # Requests that come while robots.txt is on its way wait for the same answer.
        waiting: Deferred[RobotParser | None] = Deferred()
        self._parsers[url.netloc] = waiting
        root, source = f"{url.scheme}://{url.netloc}", spider_of(self.crawler).source_of(request)
        rules = await self._fetch_rules(f"{root}/robots.txt", source)
        # Hosts of pages are asked for their reservations too, where robots.txt lets us; hosts of images alone are not worth one more request.
        if request.meta["kind"] != "image" and not source.is_local and rules.allowed(f"{root}{WELL_KNOWN}", PRODUCT):
            await self._fetch_reservations(f"{root}{WELL_KNOWN}", source)
        self._parsers[url.netloc] = rules
        waiting.callback(rules)
        return rules

    async def _fetch_rules(self, url: str, source: SourceParams) -> RobotParser:
        response = await self._fetch(url, source)
        if isinstance(response, Done):
            return NothingAllowed(f"robots.txt could not be had: {response.words}")
        # RFC 9309 §2.3.1: 4xx means that there are no rules, 5xx (and 429, which is our own reading) that nothing may be asked.
        if response.status == 429 or response.status >= 500:
            return NothingAllowed(f"robots.txt answered {response.status}")
        parser = ProtegoRobotParser.from_crawler(self.crawler, response.body[:_MOST_RULES_BYTES] if response.status == 200 else b"")
        delay_s = parser.rp.crawl_delay(PRODUCT)
        if delay_s:
            spider_of(self.crawler).crawl_delays_s[urlsplit(url).hostname or ""] = min(float(delay_s), _LONGEST_CRAWL_DELAY_S)
        return parser

    async def _fetch_reservations(self, url: str, source: SourceParams) -> None:
        response = await self._fetch(url, source)
        if isinstance(response, Response) and response.status == 200:
            spider_of(self.crawler).reservations[urlsplit(url).netloc] = read_reservations(response.body)

    async def _fetch(self, url: str, source: SourceParams) -> Response | Done:
        """The response, stored as any other, or why there is none."""
        asking = spider_of(self.crawler).request_for(url, source, kind="robots")
        asking = asking.replace(callback=NO_CALLBACK, priority=self.DOWNLOAD_PRIORITY, errback=None)
        asking.meta["dont_obey_robotstxt"] = True
        try:
            return await self.crawler.engine.download_async(asking)
        except Exception as error:  # noqa: BLE001 - of Twisted, OpenSSL or ours: uncaught, every request of this host would wait for ever
            return spider_of(self.crawler).note_failure(asking, error)


class Patience(RetryMiddleware):
    """Scrapy's own retries, but a host that asks for more patience than a crawl has is given up for this crawl."""

    def process_request(self, request: Request) -> None:
        wait_s = spider_of(self.crawler).closed_hosts.get(urlsplit(request.url).hostname or "")
        if wait_s is not None:
            raise _told_to_wait(wait_s)


class Throttle(AutoThrottle):
    """Scrapy's own throttle, with each source's least delay, robots.txt's Crawl-delay, and Retry-After: no request of the host leaves before that."""

    def _spider_opened(self, spider: Spider) -> None:
        super()._spider_opened(spider)
        self._published_pauses_s: dict[str, float] = {}
        self.crawler.signals.connect(self._request_reached_downloader, signal=signals.request_reached_downloader)

    def _request_reached_downloader(self, request: Request, spider: Spider) -> None:
        key, slot = self._get_slot(request, spider)
        if key is not None and slot is not None:
            slot.delay = max(slot.delay, self._least_delay_s(key, request))

    def _response_downloaded(self, response: Response, request: Request, spider: Spider) -> None:
        super()._response_downloaded(response, request, spider)
        key, slot = self._get_slot(request, spider)
        if key is None or slot is None:
            return
        self._keep_published_rate(key, slot, response)
        slot.delay = max(slot.delay, self._least_delay_s(key, request))
        if response.status in _BUSY:
            self._hold(key, slot, _wait_s(response, request.meta.get("retry_times", 0)))

    def _adjust_delay(self, slot: Slot, latency: float, response: Response) -> None:
        # Scrapy lets only a 200 make pauses shorter, since errors come fast. A 304 is as good an answer, and most of a night is 304s: after one slow
        # answer they would all be asked for at its pace.
        super()._adjust_delay(slot, latency, response.replace(status=200) if response.status == 304 else response)

    def _keep_published_rate(self, host: str, slot: Slot, response: Response) -> None:
        """Crossref publishes with every answer how often and how many at a time it may be asked. What it said last counts."""
        pause_s, most = published_rate(response)
        if pause_s is not None:
            # Scrapy's pauses vary by half their length around the mean; a rate is kept by none that is shorter.
            self._published_pauses_s[host], slot.jitter = pause_s, 0.0
        if most is not None:
            slot.concurrency = min(self.crawler.settings.getint("CONCURRENT_REQUESTS_PER_DOMAIN"), most)

    def _hold(self, key: str, slot: Slot, wait_s: float) -> None:
        # More patience than a crawl has: what waits for this host is given up at once, and noted as told_to_wait.
        if wait_s > spider_of(self.crawler).config.max_retry_after_s:
            spider_of(self.crawler).closed_hosts[key] = wait_s
            while slot.queue:
                slot.queue.popleft()[1].errback(Failure(_told_to_wait(wait_s)))
            return
        # The slot waits for `delay` after `lastseen` before it sends its next request; a delay of 0 would not wait at all.
        slot.delay = max(slot.delay, 0.001)
        slot.lastseen = max(slot.lastseen, monotonic() + wait_s)

    def _min_delay(self) -> float:
        return 0.0

    def _least_delay_s(self, host: str, request: Request) -> float:
        spider = spider_of(self.crawler)
        own_s = spider.config.delay_of(spider.source_of(request))
        return max(own_s, spider.crawl_delays_s.get(host, 0.0), self._published_pauses_s.get(host, 0.0))


def published_rate(response: Response) -> tuple[float | None, int | None]:
    """(seconds from one request to the next, requests at a time); None where the response says nothing of it.

    Of X-Rate-Limit-Limit, X-Rate-Limit-Interval (`1s`) and X-Concurrency-Limit.
    """
    said = {name: (response.headers.get(name) or b"").decode("latin-1").strip() for name in ("X-Rate-Limit-Limit", "X-Rate-Limit-Interval")}
    limit, interval = said["X-Rate-Limit-Limit"], _INTERVAL.fullmatch(said["X-Rate-Limit-Interval"])
    has_rate = limit.isdecimal() and int(limit[:9]) > 0 and interval is not None
    pause_s = float(interval[1]) * _UNITS_S[interval[2]] / int(limit[:9]) if has_rate and interval is not None else None
    most = (response.headers.get("X-Concurrency-Limit") or b"").decode("latin-1").strip()
    return pause_s and min(pause_s, _LONGEST_CRAWL_DELAY_S), max(1, int(most[:6])) if most.isdecimal() else None


def _told_to_wait(wait_s: float) -> Refused:
    return Refused("told_to_wait", f"the host asked to be left alone for {wait_s:,.0f} s, more than max_retry_after_s; the next crawl asks it again")


def _wait_s(response: Response, tries: int) -> float:
    """Seconds until the server wants to be asked again, by its Retry-After, or by our own patience."""
    header = (response.headers.get("Retry-After") or b"").decode("latin-1").strip()
    # Retry-After is a number of seconds or a date (RFC 9110 §10.2.3).
    if header.isdigit():
        return float(header[:9])
    try:
        return max(0.0, (parsedate_to_datetime(header) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return float(_BACKOFF_S * 2**tries)
