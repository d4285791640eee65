"""Ask nothing inside one's own network, whatever names and redirects say: the address that was checked is the one that is connected to."""

import ipaddress
from typing import Any, Self
from urllib.parse import urlsplit

from scrapy import Request
from scrapy.crawler import Crawler
from scrapy.exceptions import CannotResolveHostError
from scrapy.resolver import CachingThreadedResolver
from twisted.internet.base import ReactorBase

from assets.papers.crawl.guard import Middleware
from assets.papers.crawl.refusal import Refused
from stages.addresses import is_public

# Hosts of the crawl's own proxies: chosen by a person, not by a page.
TRUSTED_HOSTS = "FIGMENT_TRUSTED_HOSTS"
ALLOW_PRIVATE = "FIGMENT_ALLOW_PRIVATE_ADDRESSES"
_REMEDY = "set allow_private_addresses: true if the server is your own"


class PrivateAddressError(CannotResolveHostError):
    """A name leads to an address that is not public."""


class PublicAddresses(Middleware):
    """Against addresses written as numbers. Names are judged by `PublicResolver` when they are resolved."""

    def process_request(self, request: Request) -> None:
        host = urlsplit(request.url).hostname or ""
        if self.crawler.settings.getbool(ALLOW_PRIVATE) or not _is_number(host) or is_public(_plain(host)):
            return
        raise Refused("private_address", f"{host} is not a public address; {_REMEDY}")


class PublicResolver(CachingThreadedResolver):
    """Scrapy's resolver, except that a name which leads into a private network has no address. Twisted connects to what is given here."""

    def __init__(self, reactor: ReactorBase, cache_size: int, timeout: float, *, trusted: frozenset[str], allows_all: bool) -> None:
        super().__init__(reactor, cache_size, timeout)
        self._trusted = trusted
        self._allows_all = allows_all

    @classmethod
    def from_crawler(cls, crawler: Crawler, reactor: ReactorBase) -> Self:
        settings = crawler.settings
        size = settings.getint("DNSCACHE_SIZE") if settings.getbool("DNSCACHE_ENABLED") else 0
        trusted = frozenset(settings.getlist(TRUSTED_HOSTS))
        return cls(reactor, size, settings.getfloat("DNS_TIMEOUT"), trusted=trusted, allows_all=settings.getbool(ALLOW_PRIVATE))

    def getHostByName(self, name: str, timeout: Any = ()) -> Any:  # noqa: N802 (Twisted's name)
        found = super().getHostByName(name, timeout)
        return found if self._allows_all or name in self._trusted else found.addCallback(self._checked, name)

    def _checked(self, address: str, name: str) -> str:
        if not is_public(address):
            raise PrivateAddressError(f"{name} leads to {address}, which is not a public address; {_REMEDY}")
        return address


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(_plain(host))
    except ValueError:
        return False
    return True


def _plain(host: str) -> str:
    """The address as Python reads it. The C library also takes `127.1`, `0x7f000001` and `2130706433`, and so would a connection."""
    import socket

    try:
        return socket.inet_ntoa(socket.inet_aton(host))
    except (OSError, UnicodeEncodeError):
        return host.strip("[]").partition("%")[0]
