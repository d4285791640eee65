"""What a site hears and says: one request, one response, and what is remembered of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True)
class Request:
    """path: percent-decoded, without the query. query: the last value of each name. headers: names in lower case."""

    method: str
    host: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Response:
    """etag: with its quotes; left empty, the server makes one from the body of a 200. headers: besides those the server writes itself.

    has_ranges: parts of it may be asked for (RFC 9110 §14), so that a download goes on where it broke off.
    """

    body: bytes = b""
    content_type: str = "text/html; charset=utf-8"
    status: int = 200
    etag: str = ""
    last_modified: datetime | None = None
    headers: tuple[tuple[str, str], ...] = ()
    has_ranges: bool = False


class Site(Protocol):
    """hosts: the names it answers for, in lower case; the first is also what a browser without a proxy sees.

    A site whose addresses are also asked for by POST, as the archive's client does, says so by an attribute `takes_posts = True`.
    """

    @property
    def hosts(self) -> tuple[str, ...]: ...

    def now(self) -> datetime:
        """The site's own clock, which its Date header tells; UTC."""
        ...

    def respond(self, request: Request) -> Response:
        """Never raises for anything a client may send. Called from several threads."""
        ...


@dataclass(frozen=True)
class Logged:
    """One request as the server answered it. is_conditional: it carried If-None-Match or If-Modified-Since."""

    method: str
    url: str
    status: int
    bytes_sent: int
    is_conditional: bool = False
    user_agent: str = ""


def error_page(status: int, words: str, *, headers: tuple[tuple[str, str], ...] = ()) -> Response:
    """A short page that says what is the matter; `words` is HTML of ours."""
    body = f"<!doctype html>\n<html lang=en><head><title>{status}</title></head><body><h1>{status}</h1><p>{words}</p></body></html>\n"
    return Response(body.encode(), status=status, headers=headers)


def text(body: str, content_type: str = "text/plain; charset=utf-8", *, status: int = 200, last_modified: datetime | None = None) -> Response:
    return Response(body.encode(), content_type, status, last_modified=last_modified)
