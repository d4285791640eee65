"""Ask no host that the source's entry in params.yaml does not name, wherever links and redirects lead."""

from urllib.parse import urlsplit

from scrapy import Request

from assets.papers.crawl.guard import Middleware
from assets.papers.crawl.refusal import Refused


class AllowedHosts(Middleware):
    """Redirects come through it again."""

    def process_request(self, request: Request) -> None:
        source = self.spider.source_of(request)
        parts, kind = urlsplit(request.url), request.meta["kind"]
        if parts.scheme not in {"http", "https"}:
            raise Refused("scheme_not_allowed", f"{parts.scheme}: addresses are not asked for; only http and https are")
        if kind != "robots" and not source.allows(parts.hostname or "", is_image=kind == "image"):
            key = "image_hosts" if kind == "image" else "allowed_hosts"
            raise Refused("host_not_allowed", f"{parts.hostname} is not among the hosts of source '{source.name}'; add it to its {key} to allow it")
