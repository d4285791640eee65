"""Ask no host that the source's entry in params.yaml does not name, wherever links and redirects lead."""

from typing import Self
from urllib.parse import urlsplit

from scrapy import Request
from scrapy.crawler import Crawler

from assets.papers.crawl.guard import Refused, spider_of


class AllowedHosts:
    """A downloader middleware; redirects come through it again."""

    def __init__(self, crawler: Crawler) -> None:
        self._crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    def process_request(self, request: Request) -> None:
        source = spider_of(self._crawler).source_of(request)
        parts, kind = urlsplit(request.url), request.meta["kind"]
        if parts.scheme not in {"http", "https"}:
            raise Refused("scheme_not_allowed", f"{parts.scheme}: addresses are not asked for; only http and https are")
        if kind != "robots" and not source.allows(parts.hostname or "", is_image=kind == "image"):
            key = "image_hosts" if kind == "image" else "allowed_hosts"
            raise Refused("host_not_allowed", f"{parts.hostname} is not among the hosts of source '{source.name}'; add it to its {key} to allow it")
