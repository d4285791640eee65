"""Downloader middlewares between Scrapy and the store: what is stored already is not asked for again, and what comes is kept as it came."""

from datetime import UTC, datetime
from typing import cast

from scrapy import Request
from scrapy.http import Headers, Response

from assets.papers.crawl.guard import Middleware
from assets.papers.crawl.refusal import Refused
from assets.papers.raw_pages import REDIRECTS, StoredPage, address
from assets.papers.warc_store import Exchange, WarcError, decode_body

_CONDITIONS = ("If-None-Match", "If-Modified-Since")
_KNOWN_ENCODINGS = {"gzip", "x-gzip", "deflate", "br", "identity"}


class StoredResponses(Middleware):
    """Nearest to the network. Serves what this crawl has had before it was killed; asks conditionally for what an earlier crawl stored."""

    def process_request(self, request: Request) -> Response | None:
        spider, url = self.spider, address(request.url)
        if _is_part(request):
            return None
        # A redirected request brings along what was said of the address before it.
        for name in ("served", "exchange", "previous", "is_not_modified", "parsed", "parts"):
            request.meta.pop(name, None)
        for name in _CONDITIONS:
            request.headers.pop(name, None)
        request.meta["previous"] = previous = spider.previous(url)
        # Had by this crawl before it was killed: its failures stand, its responses come from its own WARC file, or, unchanged ones, from the store.
        done = spider.unfinished.done.get(url)
        if done is not None and done.outcome == "failed":
            raise Refused(done.problem, done.words)
        if done is not None and (done.page or previous):
            request.meta["served"] = done
            return _response(request, spider.unfinished.read(done.page) if done.page else spider.raw.exchange(cast("StoredPage", previous)))
        # Written but not logged: as good as just received.
        if lost := spider.unfinished.take_lost(url):
            return self._received(request, _response(request, lost), lost)
        if previous is not None and not previous.is_gone:
            for name, value in zip(_CONDITIONS, spider.validators(request, previous), strict=True):
                if value:
                    request.headers[name] = value
        spider.sent[url] += 1
        return None

    def process_response(self, request: Request, response: Response) -> Response:
        spider = self.spider
        if _is_part(request):
            request.meta["parts"].append(exchange_of(request, response))
            return response
        if "served" in request.meta or "exchange" in request.meta:
            return response
        spider.unfinished.note_date(request.meta["source"], (response.headers.get("Date") or b"").decode("latin-1"))
        previous: StoredPage | None = request.meta["previous"]
        # Not modified: the spider reads the stored response in its place.
        if response.status == 304 and previous is not None:
            request.meta["is_not_modified"] = True
            exchange = spider.raw.exchange(previous)
            return self._received(request, _response(request, exchange), exchange)
        return self._received(request, response, exchange_of(request, response))

    def _received(self, request: Request, response: Response, exchange: Exchange) -> Response:
        request.meta["exchange"] = exchange
        if response.status in REDIRECTS and b"Location" in response.headers:
            # Scrapy's middleware turns it into another request, and nobody else sees it.
            try:
                body = decode_body(exchange.body, exchange.headers, max_bytes=self.crawler.settings.getint("DOWNLOAD_MAXSIZE"))
            except WarcError as error:
                raise Refused("bad_encoding", f"of a redirect, {error}") from None
            self.spider.keep(request, response.status, body)
        return response


class Keeping(Middleware):
    """Nearest to the spider, so that a response is stored as soon as nothing has an objection, and few are lost where the program is killed."""

    def process_response(self, request: Request, response: Response) -> Response:
        if not _is_part(request):
            request.meta["done"] = self.spider.keep(request, response.status, response.body)
        return response


class Decoding(Middleware):
    """Undoes content encodings, in place of Scrapy's own middleware: the store is read by the same function, so both see the same bytes."""

    def process_response(self, request: Request, response: Response) -> Response:  # noqa: ARG002 (Scrapy's signature)
        encodings = [("Content-Encoding", value.decode("latin-1")) for value in response.headers.getlist("Content-Encoding")]
        if not encodings:
            return response
        # What cannot be decoded cannot be read, and its digest would change with the encoding: it is refused.
        names = {name.strip().lower() for _, value in encodings for name in value.split(",") if name.strip()}
        if unknown := names - _KNOWN_ENCODINGS:
            raise Refused("unknown_encoding", f"the body is encoded as {', '.join(sorted(unknown))[:40]}, which was not asked for")
        try:
            body = decode_body(response.body, encodings, max_bytes=self.crawler.settings.getint("DOWNLOAD_MAXSIZE"))
        except WarcError as error:
            raise Refused("too_large" if "holds more" in str(error) else "bad_encoding", str(error)) from None
        headers = Headers(response.headers)
        del headers["Content-Encoding"]
        return response.replace(body=body, headers=headers)


def _is_part(request: Request) -> bool:
    """Whether it is for a page that is being drawn, with which it is stored."""
    return "parts" in request.meta and not request.meta["render"]


def exchange_of(request: Request, response: Response) -> Exchange:
    """What is stored of them."""
    return Exchange(
        url=address(request.url),
        fetched_at=datetime.now(UTC),
        status=response.status,
        headers=_pairs(response.headers),
        body=response.body,
        request_headers=_pairs(request.headers),
        ip_address="" if request.meta.get("proxy") or response.ip_address is None else str(response.ip_address),
    )


def _pairs(headers: Headers) -> tuple[tuple[str, str], ...]:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, values in headers.items() for value in values)


def _response(request: Request, exchange: Exchange) -> Response:
    headers = Headers()
    for name, value in exchange.headers:
        headers.appendlist(name, value.encode("latin-1"))
    return Response(request.url, status=exchange.status, headers=headers, body=exchange.body, request=request)
