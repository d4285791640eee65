"""A crawl for which 127.0.0.2 is the Internet and every other address of loopback is inside: imported by the crawl itself, as its page object.

`localhost` resolves to 127.0.0.2 here and to 127.0.0.1 for everybody else; `flips.example` to 127.0.0.2 once, and inside ever after.
"""

import re

from twisted.internet.defer import succeed

from assets.papers.crawl.guard import public_addresses
from assets.papers.items import Page, Paper, Parsed

OUTSIDE, INSIDE = "127.0.0.2", "127.0.0.1"
_is_public = public_addresses.is_public
_asked: list[str] = []


def _resolve(self: object, name: str, timeout: object = ()) -> object:
    _asked.append(name)
    is_outside = name in {"outside.example", "localhost", OUTSIDE} or (name == "flips.example" and _asked.count(name) == 1)
    return succeed(OUTSIDE if is_outside else name if name[:1].isdigit() else INSIDE)


public_addresses.is_public = lambda address: address == OUTSIDE or _is_public(address)
public_addresses.CachingThreadedResolver.getHostByName = _resolve  # type: ignore[method-assign, assignment]


def parse(page: Page) -> Parsed:
    """A paper a page, named by what its scripts have written."""
    said = re.search(rb'id="said">([^<]*)', page.body)
    title = said[1].decode() if said else ""
    return Parsed(papers=(Paper(key=page.url, url=page.url, title=title),))
