"""What stands between the crawl and a hostile or reluctant site: one Scrapy downloader middleware a danger.

A middleware that does not let something pass raises `Refused`: nothing is stored, and the refusal becomes a row of problems.parquet. It finds the
parameters at `self.spider.config`, the source of a request at `self.spider.source_of(request)`, and its kind (robots, index, api,
article, image) in `request.meta["kind"]`. Bodies are as they were sent at positions above 590 (our `Decoding`), and plain below. What
`process_response` of a middleware here refuses does not reach the store, but for redirects: they are stored as they come (at 860) and followed only
then (at 600).
Not here: politeness (assets/papers/crawl/politeness.py) and what to ask for.
"""

from typing import TYPE_CHECKING, Self, cast

from scrapy.crawler import Crawler

if TYPE_CHECKING:
    from assets.papers.crawl.spider import JournalSpider


class Middleware:
    """A downloader middleware of ours, made by Scrapy for one crawl."""

    def __init__(self, crawler: Crawler) -> None:
        self.crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        return cls(crawler)

    @property
    def spider(self) -> "JournalSpider":
        return spider_of(self.crawler)


# Class -> position among Scrapy's own (small: near the spider; large: near the network), as in DOWNLOADER_MIDDLEWARES.
MIDDLEWARES: dict[str, int] = {
    "assets.papers.crawl.guard.allowed_hosts.AllowedHosts": 60,
    "assets.papers.crawl.guard.public_addresses.PublicAddresses": 70,
    "assets.papers.crawl.guard.bot_walls.BotWalls": 585,
}


def spider_of(crawler: Crawler) -> "JournalSpider":
    """The spider that runs."""
    return cast("JournalSpider", crawler.spider)
