"""Pages that a site makes with scripts, drawn by a headless Chromium before they are read: only for sources with `render: true`.

The browser is as polite as the rest: robots.txt was asked before, pauses are kept, it says who it is, and it asks only the hosts of the source,
never for pictures, fonts or media. It solves nothing: a bot wall is a bot wall. Stored is the page after its scripts have run, marked as such.
Needs the extra `render`, and a Chromium (the system's, or `playwright install chromium`).
"""

import asyncio
import shutil
from collections import defaultdict
from datetime import UTC, datetime
from email.utils import format_datetime
from time import monotonic
from typing import Any, Self
from urllib.parse import urlsplit

from scrapy import Request, signals
from scrapy.crawler import Crawler
from scrapy.exceptions import DownloadTimeoutError, NotConfigured
from scrapy.http import HtmlResponse, Response

from assets.papers.crawl.guard import Middleware, spider_of
from assets.papers.crawl.guard.public_addresses import PublicAddresses
from assets.papers.crawl.refusal import Refused

MARK = "X-Rendered-By"
# Nothing of these is read, and each would be a request more.
_NOT_LOADED = {"image", "media", "font", "manifest", "texttrack", "websocket", "eventsource"}
_QUIET = ["--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run", "--disable-quic", "--disable-gpu"]
_SETTLE_MS = 500


class Rendering(Middleware):
    """Next to the network. The browser starts with the first page that needs it, and ends with the crawl."""

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self._addresses = PublicAddresses.from_crawler(crawler)
        self._contexts: dict[str, Any] = {}
        self._browser: Any = None
        self._playwright: Any = None
        self._starting = asyncio.Lock()
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._next: dict[str, float] = {}

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Raises NotConfigured, which switches it off, where no source asks for it."""
        if not any(source.render for source in spider_of(crawler).config.sources):
            raise NotConfigured
        middleware = super().from_crawler(crawler)
        crawler.signals.connect(middleware.close, signal=signals.spider_closed)
        return middleware

    async def process_request(self, request: Request) -> Response | None:
        """The drawn page, for requests that ask for drawing."""
        if not request.meta.get("render"):
            return None
        host = urlsplit(request.url).hostname or ""
        async with self._turns[host]:
            # Scrapy's throttle does not see what the browser asks for: pages of a host take turns here, with the same pauses.
            await asyncio.sleep(max(0.0, self._next.get(host, 0.0) - monotonic()))
            try:
                return await self._draw(request)
            finally:
                spider = self.spider
                pause_s = max(spider.config.delay_of(spider.source_of(request)), spider.crawl_delays_s.get(host, 0.0))
                self._next[host] = monotonic() + pause_s

    async def close(self) -> None:
        """End the browser."""
        if self._browser is not None:
            await self._browser.close()
            await self._playwright.stop()

    async def _draw(self, request: Request) -> Response:
        from playwright.async_api import Error
        from playwright.async_api import TimeoutError as TooSlowError

        context = await self._context(request)
        page = await context.new_page()
        timeout_ms = 1000 * self.crawler.settings.getfloat("DOWNLOAD_TIMEOUT")
        await page.route("**/*", lambda route: self._load_or_not(route, request))
        try:
            # Loaded, and then quiet for half a second: that is when scripts have put the page together.
            answer = await page.goto(request.url, timeout=timeout_ms, wait_until="load")
            try:
                await page.wait_for_load_state("networkidle", timeout=min(timeout_ms, 10_000))
            except TooSlowError:
                await page.wait_for_timeout(_SETTLE_MS)  # A site that never stops asking is read as it is now.
            body = (await page.content()).encode("utf-8")
            if answer is None:
                raise Refused("not_drawn", "the browser had no answer for it")
            headers = await self._headers(answer)
        except TooSlowError:
            raise DownloadTimeoutError from None
        except Error as error:
            raise Refused("not_drawn", f"the browser could not draw it: {' '.join(error.message.split())[:200]}") from None
        finally:
            await page.close()
        most = self.crawler.settings.getint("DOWNLOAD_MAXSIZE")
        if len(body) > most:
            raise Refused("too_large", f"the drawn page has {len(body):,} bytes, more than the {most:,} allowed")
        return HtmlResponse(request.url, status=answer.status, headers=headers, body=body, encoding="utf-8", request=request)

    async def _headers(self, answer: Any) -> dict[str, str]:
        """What the server said, without what no longer holds for the drawn page."""
        said = await answer.all_headers()
        kept = {name: said[name] for name in ("date", "x-robots-tag", "tdm-reservation", "tdm-policy", "cf-mitigated", "retry-after") if name in said}
        kept.setdefault("date", format_datetime(datetime.now(UTC), usegmt=True))
        return {**kept, "content-type": "text/html; charset=utf-8", MARK: f"Chromium {self._browser.version}"}

    async def _load_or_not(self, route: Any, request: Request) -> None:
        """Let the page load what belongs to its source, and nothing else."""
        spider = self.spider
        wanted = route.request
        parts = urlsplit(wanted.url)
        is_ours = parts.scheme in {"http", "https"} and spider.source_of(request).allows(parts.hostname or "")
        if is_ours and wanted.resource_type not in _NOT_LOADED:
            try:
                if "proxy" not in request.meta:
                    self._addresses.process_request(Request(wanted.url))
            except Refused:
                is_ours = False
        await (route.continue_() if is_ours and wanted.resource_type not in _NOT_LOADED else route.abort())

    async def _context(self, request: Request) -> Any:
        spider = self.spider
        source = spider.source_of(request)
        async with self._starting:
            # One browser for the crawl, one context a source: its own user agent and proxy, and no cookies from others.
            if self._browser is None:
                await self._start()
            if source.name not in self._contexts:
                proxy = {"server": request.meta["proxy"]} if "proxy" in request.meta else None
                self._contexts[source.name] = await self._browser.new_context(
                    user_agent=spider.config.user_agent(source), proxy=proxy, accept_downloads=False, service_workers="block", locale="en"
                )
        return self._contexts[source.name]

    async def _start(self) -> None:
        try:
            from playwright.async_api import Error, async_playwright
        except ImportError:
            raise Refused("not_drawn", "a source has `render: true`, but playwright is not installed; install the extra `render`") from None
        self._playwright = await async_playwright().start()
        try:
            self._browser = await self._playwright.chromium.launch(executable_path=_chromium(), args=_QUIET, chromium_sandbox=False)
        except Error as error:
            await self._playwright.stop()
            remedy = "install it with your package manager or `playwright install chromium`"
            raise Refused("not_drawn", f"no Chromium could be started ({error.message.splitlines()[0][:120]}); {remedy}") from None


def _chromium() -> str | None:
    """The system's Chromium; None = the one playwright has installed."""
    return next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
