"""Ask no host that the source's entry in params.yaml does not name, wherever links and redirects lead, nor one whose pages cost too much to read."""

from urllib.parse import urlsplit

from scrapy import Request
from scrapy.http import Response

from assets.papers.crawl.guard import Middleware
from assets.papers.crawl.refusal import Refused
from assets.papers.crawl.set_aside import MOST_OF_A_SOURCE
from assets.papers.raw_pages import address


class AllowedHosts(Middleware):
    """Redirects come through it again."""

    def process_request(self, request: Request) -> None:
        source = self.spider.source_of(request)
        self._leave_alone(request)
        parts, kind = urlsplit(request.url), request.meta["kind"]
        if parts.scheme not in {"http", "https"}:
            raise Refused("scheme_not_allowed", f"{parts.scheme}: addresses are not asked for; only http and https are")
        if kind != "robots" and not source.allows(parts.hostname or "", is_image=kind == "image"):
            key = "image_hosts" if kind == "image" else "allowed_hosts"
            raise Refused("host_not_allowed", f"{parts.hostname} is not among the hosts of source '{source.name}'; add it to its {key} to allow it")

    def process_response(self, request: Request, response: Response) -> Response:
        """What was under way meanwhile is neither stored nor read: the next crawl asks for it again."""
        self._leave_alone(request)
        return response

    def _leave_alone(self, request: Request) -> None:
        # What is stored is read where that was begun, so that it is known what it costs.
        source = self.spider.source_of(request)
        if self.spider.set_aside.is_left_alone(source.name) and address(request.url) not in self.spider.unfinished.done:
            raise Refused("too_costly", f"{MOST_OF_A_SOURCE} pages of source '{source.name}' took more than they may; the next crawl asks it again")
