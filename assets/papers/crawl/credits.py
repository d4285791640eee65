"""What an interface lets one do in a day: credits that a source may spend, and the key that it is known by.

A source with `daily_credits` asks for nothing more once they are spent, or once the server says that none are left; both are a problem of that source
for the night, and the next crawl goes on at the address where this one stopped. Days are UTC, as OpenAlex counts them. What was spent is written
down at once, so that neither a killed crawl nor a second one on the same day spends it twice.

A key comes from the environment (`key_env`) and joins an address on the wire only: stored requests, problems and logs never hold it.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from scrapy import Request
from scrapy.core.downloader.handlers.http11 import HTTP11DownloadHandler
from scrapy.crawler import Crawler
from scrapy.http import Response

from assets.papers.crawl.config import SourceParams
from assets.papers.crawl.guard import Middleware, spider_of
from assets.papers.crawl.refusal import Refused
from assets.papers.raw_pages import StoredProblem, address
from assets.papers.warc_store import WarcError, decode_body
from stages.files import write_file_atomically

EXHAUSTED = "credits_exhausted"
# A full-text search costs ten times a list at OpenAlex; what an answer says that it cost counts from then on.
_COST, _SEARCH_COST = 1, 10
_PLACES = ("cursor", "cursorMark", "page", "offset", "resumptionToken")


class Ledger:
    """The credits that each source has spent today, in a file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            said = json.loads(path.read_bytes())
        except (FileNotFoundError, ValueError):
            said = {}
        self._spent: dict[str, list[Any]] = said if isinstance(said, dict) else {}

    def spent(self, source: str) -> int:
        """Credits that the source has spent since midnight UTC."""
        day, count = self._spent.get(source, ("", 0))
        return int(count) if day == _today() else 0

    def spend(self, source: str, count: int) -> None:
        """Note that so many more are spent; a negative number gives back what was reserved."""
        self._spent[source] = [_today(), max(0, self.spent(source) + count)]
        write_file_atomically(self._path, json.dumps(self._spent).encode())


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


def keys_of(sources: Iterable[SourceParams], environment: Mapping[str, str]) -> dict[str, str]:
    """The key of each source that names a variable which is set."""
    return {source.name: key for source in sources if source.key_env and (key := environment.get(source.key_env, "").strip())}


def places_to_go_on(source: SourceParams, problems: Iterable[StoredProblem]) -> list[str]:
    """Where an earlier crawl of the same start addresses ran out of credits; none where it came to its end."""
    begun = {_without_place(url) for url in map(address, source.start)}
    stopped = [problem.url for problem in problems if problem.kind == EXHAUSTED and problem.source == source.name]
    return [url for url in stopped if _without_place(url) in begun]


def _without_place(url: str) -> tuple[str, tuple[tuple[str, str], ...]]:
    parts = urlsplit(url)
    return parts.netloc + parts.path, tuple(sorted(pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] not in _PLACES))


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


def _today() -> str:
    return datetime.now(UTC).date().isoformat()
