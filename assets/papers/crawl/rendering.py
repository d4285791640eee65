"""Pages that a site makes with scripts, drawn by a headless Chromium before they are read: only for sources with `render: true`.

The browser has no network. The page came as any other comes; the scripts, styles and answers that it asks for are fetched by the crawl itself, so
that all its rules hold for them: hosts and addresses, robots.txt, pauses, redirects, sizes. Whatever the browser would open by its own hands
(WebSockets, WebRTC, prefetches, names to resolve) leads nowhere, and where the system allows, it lives in an empty network namespace and in its
sandbox. It solves nothing: a bot wall is a bot wall. Stored is the page after its scripts have run, marked as such, and beside it in the WARC file
what it was made from. Needs the extra `render`, and a Chromium (the system's, or `playwright install chromium`).
"""

import asyncio
import contextlib
import os
import shlex
import shutil
from collections import defaultdict
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from time import monotonic
from typing import Any, Self, TypeVar
from urllib.parse import urlsplit

from scrapy import Request, signals
from scrapy.crawler import Crawler
from scrapy.exceptions import DownloadTimeoutError, NotConfigured
from scrapy.http import HtmlResponse, Response
from scrapy.http.request import NO_CALLBACK

from assets.papers.crawl.guard import Middleware, spider_of
from assets.papers.crawl.refusal import Refused
from assets.papers.crawl.stored_responses import exchange_of
from assets.papers.raw_pages import address
from assets.papers.warc_store import Exchange, WarcError, decode_body

MARK = "X-Rendered-By"
Found = TypeVar("Found")
# Of a page the parts that its scripts need; pictures, media, fonts, frames and other documents are never read.
_LOADED = frozenset({"script", "stylesheet", "xhr", "fetch"})
_MOST_PARTS = 200
# Of the whole crawl: pages of one site share their scripts, which are asked for once.
_REMEMBERED_BYTES = 64 * 2**20
# A page that waits for nothing may take timeout_s, and so many times that where it waits for its parts, which come with the pauses of its host.
_PATIENCE = 10
_SENT_ON = frozenset({"accept", "origin", "x-requested-with"})
_TOLD_ON = ("content-type", "content-security-policy", "x-content-type-options", "access-control-")
_KEPT = ("date", "x-robots-tag", "tdm-reservation", "tdm-policy", "cf-mitigated", "retry-after")
_FLAGS = (
    # No name and no number leads anywhere, and what is asked for is asked through a proxy that there is none of, loopback as well.
    "--host-resolver-rules=MAP * ~NOTFOUND",
    "--proxy-server=http://nowhere.invalid:9",
    "--proxy-bypass-list=<-loopback>",
    # UDP goes through proxies alone, and so nowhere.
    "--webrtc-ip-handling-policy=disable_non_proxied_udp",
    "--force-webrtc-ip-handling-policy=disable_non_proxied_udp",
    *("--disable-quic", "--dns-prefetch-disable", "--no-pings"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run", "--disable-gpu"),
    "--js-flags=--max-old-space-size=512",
)
# In a world of its own, where the page has redefined nothing.
_MARKUP = """(document.doctype ? new XMLSerializer().serializeToString(document.doctype) : '')
  + (document.documentElement ? document.documentElement.outerHTML : '')"""


@dataclass
class _Drawing:
    """One page on its way. parts: all that was asked for it, itself first. began, moved: when it was given to the browser, when a part last came."""

    request: Request
    document: Response
    body: bytes
    timeout_s: float
    most_bytes: int
    parts: list[Exchange]
    asked: int = 0
    under_way: int = 0
    is_begun: bool = False
    began: float = 0.0
    moved: float = 0.0

    @property
    def seconds_left(self) -> float:
        """Until it is given up: time in which the crawl fetches its parts is not held against it, up to a bound."""
        whole = self.began + _PATIENCE * self.timeout_s
        return (whole if self.under_way else min(whole, self.moved + self.timeout_s)) - monotonic()


class Rendering(Middleware):
    """Next to the network. The browser starts with the first page that needs it, and ends with the crawl."""

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self._browser: Any = None
        self._playwright: Any = None
        self._starting = asyncio.Lock()
        self._turns: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._remembered: dict[tuple[str, str], Response] = {}
        self._room = _REMEMBERED_BYTES
        self._is_told = False

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Raises NotConfigured, which switches it off, where no source asks for it."""
        if not any(source.render for source in spider_of(crawler).config.sources):
            raise NotConfigured
        middleware = super().from_crawler(crawler)
        crawler.signals.connect(middleware.close, signal=signals.spider_closed)
        return middleware

    async def process_response(self, request: Request, response: Response) -> Response:
        """The drawn page in place of the one that came, for requests that ask for drawing; redirects and errors are drawn by nobody."""
        is_stored = "served" in request.meta or "exchange" in request.meta
        is_page = response.status == 200 and b"html" in (response.headers.get("Content-Type") or b"html").lower()
        if not request.meta.get("render") or is_stored or not is_page:
            return response
        most = self.crawler.settings.getint("DOWNLOAD_MAXSIZE")
        exchange = exchange_of(request, response)
        try:
            body = decode_body(response.body, exchange.headers, max_bytes=most)
        except WarcError as error:
            raise Refused("bad_encoding", str(error)) from None
        drawing = _Drawing(request, response, body, self.crawler.settings.getfloat("DOWNLOAD_TIMEOUT"), most, [exchange])
        # One page of a host at a time: what others of it would ask for meanwhile would only wait for the same pauses.
        async with self._turns[urlsplit(request.url).hostname or ""]:
            drawn = await self._draw(drawing)
        request.meta["parts"] = drawing.parts
        return drawn

    async def close(self) -> None:
        """End the browser."""
        browser, self._browser = self._browser, None
        if browser is not None:
            await browser.close()
            await self._playwright.stop()

    async def _draw(self, drawing: _Drawing) -> Response:
        await self._start()
        from playwright.async_api import Error

        spider, request = self.spider, drawing.request
        # A context a page: no cookies, stores, workers or windows from others.
        context = await self._browser.new_context(
            user_agent=spider.config.user_agent(spider.source_of(request)), accept_downloads=False, service_workers="block", locale="en"
        )
        drawing.began = drawing.moved = monotonic()
        try:
            await context.route("**/*", lambda route: self._answer(route, drawing))
            page = await context.new_page()
            markup = await _within(drawing, self._markup(context, page, drawing))
        except TimeoutError:
            raise DownloadTimeoutError from None
        except Error as error:
            raise Refused("not_drawn", f"the browser could not draw it: {' '.join(error.message.split())[:200]}") from None
        finally:
            await self._end(context)
            spider.sent[address(request.url)] += drawing.asked
        body = markup.encode("utf-8", "replace")
        if len(body) > drawing.most_bytes:
            raise Refused("too_large", f"the drawn page has more than the {drawing.most_bytes:,} bytes allowed")
        return HtmlResponse(request.url, headers=self._headers(drawing.document), body=body, encoding="utf-8", request=request,
                            ip_address=drawing.document.ip_address)  # fmt: skip

    async def _markup(self, context: Any, page: Any, drawing: _Drawing) -> str:
        from playwright.async_api import TimeoutError as TooSlowError

        # Loaded, and then quiet for half a second: that is when scripts have put the page together. A site that never stops asking is read as it is,
        # and so is one that wants to be elsewhere, which is never told that it is loaded.
        await page.goto(drawing.request.url, timeout=0, wait_until="commit")
        is_loading = True
        while is_loading:
            try:
                await page.wait_for_load_state("load", timeout=500 * drawing.timeout_s)
                is_loading = False
            except TooSlowError:
                is_loading = drawing.under_way > 0
        with contextlib.suppress(TooSlowError):
            await page.wait_for_load_state("networkidle", timeout=min(500 * drawing.timeout_s, 10_000))
        session = await context.new_cdp_session(page)
        frame = (await session.send("Page.getFrameTree"))["frameTree"]["frame"]["id"]
        world = (await session.send("Page.createIsolatedWorld", {"frameId": frame}))["executionContextId"]
        asked = {"expression": f"({_MARKUP}).slice(0, {drawing.most_bytes + 1})", "contextId": world, "returnByValue": True}
        found = await session.send("Runtime.evaluate", asked)
        return str(found["result"].get("value", ""))

    def _headers(self, document: Response) -> dict[str, str]:
        """What the server said, without what no longer holds for the drawn page."""
        said = {name: value for name in _KEPT if (value := (document.headers.get(name) or b"").decode("latin-1"))}
        said.setdefault("date", format_datetime(datetime.now(UTC), usegmt=True))
        return {**said, "content-type": "text/html; charset=utf-8", MARK: f"Chromium {self._browser.version}"}

    async def _answer(self, route: Any, drawing: _Drawing) -> None:
        """Give the page what the crawl has fetched for it. Nothing is ever passed on to the browser's own network."""
        wanted = route.request
        if not drawing.is_begun and wanted.is_navigation_request():
            drawing.is_begun = True
            await _fulfil(route, drawing.document, drawing.body)
            return
        if wanted.is_navigation_request():
            await route.fulfill(status=204)  # by which a page stays where it is; another document is not what its address shows
            return
        if wanted.resource_type in _LOADED and wanted.method == "GET" and (part := await self._part(wanted, drawing)) is not None:
            await _fulfil(route, part, part.body)
        else:
            await route.abort()

    async def _part(self, wanted: Any, drawing: _Drawing) -> Response | None:
        """The response to what a page asks for; None where it may not have it."""
        spider = self.spider
        source = spider.source_of(drawing.request)
        try:
            url = address(wanted.url)
        except ValueError:
            return None
        if drawing.asked >= _MOST_PARTS or urlsplit(url).scheme not in {"http", "https"}:
            return None
        if (known := self._remembered.get((source.name, url))) is not None:
            return known
        asking = spider.request_for(url, source, kind="api").replace(callback=NO_CALLBACK, errback=None)
        asking.meta["parts"] = drawing.parts
        for name, value in wanted.headers.items():
            if name in _SENT_ON:
                asking.headers[name] = value
        drawing.asked += 1
        drawing.under_way += 1
        try:
            response = await self.crawler.engine.download_async(asking)
        except Exception:  # noqa: BLE001 - refused, of Twisted or OpenSSL: the page does without
            return None
        finally:
            drawing.under_way -= 1
            drawing.moved = monotonic()
        if sum(len(part.body) for part in drawing.parts) > drawing.most_bytes:
            drawing.asked = _MOST_PARTS
            return None
        if len(response.body) <= self._room:
            self._room -= len(response.body)
            self._remembered[source.name, url] = response
        return response

    async def _end(self, context: Any) -> None:
        from playwright.async_api import Error

        try:
            await asyncio.wait_for(context.close(), 10)
        except (TimeoutError, Error):
            # It does not even let itself be closed: the next page gets another browser.
            browser, self._browser = self._browser, None
            if browser is not None:
                await asyncio.wait({asyncio.ensure_future(browser.close())}, timeout=10)

    async def _start(self) -> None:
        async with self._starting:
            if self._browser is not None and self._browser.is_connected():
                return
            try:
                from playwright.async_api import Error, async_playwright
            except ImportError:
                raise Refused("not_drawn", "a source has `render: true`, but playwright is not installed; install the extra `render`") from None
            if self._playwright is None:
                self._playwright = await async_playwright().start()
            chromium = self._playwright.chromium
            executable = _chromium() or chromium.executable_path
            # From the strongest walls to none but the flags, until one stands.
            walled = self._walled(executable)
            for program, has_sandbox in [(walled, True), (executable, True), (walled, False), (executable, False)]:
                try:
                    if program:
                        self._browser = await chromium.launch(executable_path=program, args=list(_FLAGS), chromium_sandbox=has_sandbox)
                        break
                except Error as error:
                    words = error.message.splitlines()[0][:120]
            else:
                remedy = "install it with your package manager or `playwright install chromium`"
                raise Refused("not_drawn", f"no Chromium could be started ({words}); {remedy}")
            if not has_sandbox and not self._is_told:
                self._is_told = True
                self.spider.reporter.notice(
                    "journal_pages: this system gives Chromium no sandbox (user namespaces are forbidden), so that a page that breaks out of it "
                    "acts as you; run the crawl as a user who may use them, or without `render: true`"
                )

    def _walled(self, executable: str) -> str | None:
        """A program that starts Chromium as nobody of importance, without network; None where the system knows no namespaces."""
        unshare = shutil.which("unshare")
        if unshare is None:
            return None
        program = self.spider.unfinished.folder / "chromium"
        # Not as root even for root, whom Chromium gives no sandbox: inside its namespace it is user 1000, and files are reached by who started it.
        words = shlex.join([unshare, "--user", "--map-user=1000", "--map-group=1000", "--net", "--", executable])
        program.write_text(f'#!/bin/sh\nexec {words} "$@"\n', encoding="utf-8")
        program.chmod(0o700)
        return os.fspath(program.resolve())


async def _within(drawing: _Drawing, work: Awaitable[Found]) -> Found:
    """Its result. Raises TimeoutError when the drawing has no time left."""
    task = asyncio.ensure_future(work)
    while not task.done():
        if drawing.seconds_left <= 0:
            task.cancel()
            raise TimeoutError
        await asyncio.wait({task}, timeout=min(drawing.seconds_left, 1.0))
    return task.result()


async def _fulfil(route: Any, response: Response, body: bytes) -> None:
    said = {name.decode("latin-1").lower(): b", ".join(values).decode("latin-1") for name, values in response.headers.items()}
    headers = {name: value for name, value in said.items() if name.startswith(_TOLD_ON)}
    await route.fulfill(status=response.status, headers=headers, body=body)


def _chromium() -> str | None:
    """The system's Chromium; None = the one playwright has installed."""
    return next((path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None)
