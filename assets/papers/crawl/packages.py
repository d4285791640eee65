"""Pictures that lie in packages: an address with `!/` is answered from the package before it, which is asked for once, as any other address is."""

import mimetypes
from typing import cast
from urllib.parse import quote

from scrapy import Request
from scrapy.crawler import Crawler
from scrapy.http import Response
from scrapy.http.request import NO_CALLBACK
from twisted.internet.defer import Deferred

from assets.papers.crawl.guard import Middleware
from assets.papers.crawl.refusal import Refused
from assets.papers.packages import PackageError, find_picture, member_names, package_of, read_members
from assets.papers.raw_pages import address

MARK = "X-Extracted-From"


class PackageMembers(Middleware):
    """Next to the network, which it stands in for: what it answers is stored with a header that names the package and the member."""

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self._under_way: dict[str, Deferred[None]] = {}

    async def process_request(self, request: Request) -> Response | None:
        package, stated = package_of(request.url)
        if not stated or request.meta["kind"] != "image":
            return None
        # Nothing is sent to the site for it: it is no request of the night's count.
        self.spider.sent.pop(address(request.url), None)
        body = await self._package(address(package), request)
        try:
            name = find_picture(member_names(body), stated)
            if not name:
                raise Refused("not_in_package", f"the package {package} has no picture called '{stated[:100]}'")
            data = read_members(body, name.__eq__)[name]
        except PackageError as error:
            raise Refused("bad_package", f"the package {package} is set aside: {error}") from None
        kind = mimetypes.guess_type(name)[0] or "application/octet-stream"
        return Response(request.url, status=200, headers={"Content-Type": kind, MARK: f"{package} {quote(name)}"}, body=data, request=request)

    async def _package(self, url: str, request: Request) -> bytes:
        """The package's bytes as this night has them. Raises Refused where it cannot be had."""
        # Several pictures of one package wait for the same answer; the second finds it in the store.
        while waiting := self._under_way.get(url):
            await waiting
        self._under_way[url] = waiting = Deferred()
        spider = self.spider
        previous = spider.previous(url)
        asking = spider.request_for(url, spider.source_of(request), kind=previous.kind if previous else "api")
        asking = asking.replace(callback=NO_CALLBACK, errback=None)
        spider.asked.add(url)
        try:
            response = await self.crawler.engine.download_async(asking)
        except Exception as error:  # noqa: BLE001 - of Twisted, OpenSSL or ours: uncaught, every picture of the package would wait for ever
            done = spider.note_failure(asking, error)
            raise Refused("no_package", f"the package {url} could not be had: {done.problem}: {done.words}") from None
        finally:
            del self._under_way[url]
            waiting.callback(None)
        done = cast("Request", response.request).meta["done"]
        if done.outcome == "failed" or response.status != 200:
            raise Refused("no_package", f"the server has no package {url}: it answered {response.status}")
        return response.body
