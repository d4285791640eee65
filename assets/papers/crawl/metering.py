"""Keep a source to its credits, and let an interface know it by its key.

A key comes from the environment (`key_env`) and joins an address on the wire only: stored requests, problems and logs never hold it.
"""

from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from scrapy import Request
from scrapy.core.downloader.handlers.http11 import HTTP11DownloadHandler
from scrapy.crawler import Crawler
from scrapy.http import Response

from assets.papers.crawl.config import SourceParams
from assets.papers.crawl.credits import EXHAUSTED
from assets.papers.crawl.guard import Middleware, spider_of
from assets.papers.crawl.refusal import Refused
from assets.papers.raw_pages import address
from assets.papers.warc_store import WarcError, decode_body

# A full-text search costs ten times a list at OpenAlex; what an answer says that it cost counts from then on.
_COST, _SEARCH_COST = 1, 10


class Credits(Middleware):
    """Near the network: what is served from the store costs nothing."""

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self._costs: dict[str, int] = {}
        self._closed: dict[str, str] = {}

    def process_request(self, request: Request) -> None:
        source = self.spider.source_of(request)
        if source.daily_credits is None or request.meta["kind"] == "robots":
            return
        # Reserved before it is asked, so that requests under way cannot pass the limit together.
        cost = max(self._costs.get(source.name, 0), _SEARCH_COST if "search" in dict(parse_qsl(urlsplit(request.url).query)) else _COST)
        spent = self.spider.ledger.spent(source.name)
        if spent + cost > source.daily_credits:
            raise _exhausted(source, self._closed.get(source.name) or f"{spent:,} of its daily_credits ({source.daily_credits:,}) are spent")
        request.meta["credits"] = cost
        self.spider.ledger.spend(source.name, cost)

    def process_response(self, request: Request, response: Response) -> Response:
        source = self.spider.source_of(request)
        reserved = request.meta.pop("credits", None)
        if reserved is None or source.daily_credits is None:
            return response
        cost, left = _number(response, "X-RateLimit-Credits-Used"), _number(response, "X-RateLimit-Remaining")
        if cost is not None:
            self._costs[source.name] = cost
            self.spider.ledger.spend(source.name, cost - reserved)
        # The server's own count outranks ours: others may use the same key.
        if left is not None and left < max(self._costs.get(source.name, _COST), response.status == 429):
            reset = _number(response, "X-RateLimit-Reset")
            self._closed[source.name] = "the server says that none are left" + (f" for {reset / 3600:.1f} h" if reset else "")
            self.spider.ledger.spend(source.name, source.daily_credits - self.spider.ledger.spent(source.name))
        if response.status == 429 and source.name in self._closed:
            raise _exhausted(source, self._closed[source.name])
        return response


class KeyedHandler(HTTP11DownloadHandler):
    """Scrapy's own, which adds a source's key to the address that goes over the wire, to the hosts where that source begins alone."""

    async def download_request(self, request: Request) -> Response:
        spider = spider_of(self._crawler)
        source = spider.source_of(request)
        key = spider.keys.get(source.name, "")
        if not key or request.meta["kind"] == "robots" or _origin(request.url) not in {_origin(address(url)) for url in source.start}:
            return await super().download_request(request)
        parts = urlsplit(request.url)
        query = "&".join(filter(None, (parts.query, urlencode({source.key_name: key}))))
        keyed = request.replace(url=urlunsplit(parts._replace(query=query)))
        response = await super().download_request(keyed)
        request.meta.update({name: keyed.meta[name] for name in ("download_latency",) if name in keyed.meta})
        # An answer that repeats the key (a redirect, an error in words) would carry it into the store.
        if _tells(response, key):
            raise Refused("key_repeated", f"the answer repeats the key of {source.key_env}, and is not stored")
        return response.replace(url=request.url, request=request)


def _exhausted(source: SourceParams, words: str) -> Refused:
    return Refused(EXHAUSTED, f"source '{source.name}' is done for today: {words}; the next crawl after midnight UTC goes on here")


def _tells(response: Response, key: str) -> bool:
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, values in response.headers.items() for value in values]
    try:
        body = decode_body(response.body, headers, max_bytes=2**28)
    except WarcError:
        body = response.body
    return key.encode() in body or any(key in value for _, value in headers)


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc


def _number(response: Response, name: str) -> int | None:
    text = (response.headers.get(name) or b"").decode("latin-1").strip()
    return int(text[:12]) if text.isdecimal() else None
