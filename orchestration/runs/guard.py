"""What stands before a web interface that can run programs: an ASGI middleware that lets in only the person who started it.

A server on loopback is open to every page that a browser shows and to every user of the machine. So a request must name this server as its host
(against DNS rebinding), carry the token of this start, and come from a page of this server where it could change something. A person brings the token
in the address that was printed, once; a cookie keeps it. A program sends it as `Authorization: Bearer`.

Browsers keep cookies by host, not by port: a server of another user on the same loopback address would be shown the cookie by whoever visits it.
"""

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Collection, MutableMapping, Sequence
from html import escape
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

TOKEN_PARAMETER = "figment_token"  # noqa: S105 (the name of it)
SAFE_METHODS = frozenset({"GET", "HEAD"})
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
# Nothing may frame these pages, open them and keep a handle, or learn their addresses.
_HEADERS = (
    (b"content-security-policy", b"frame-ancestors 'none'"),
    (b"x-frame-options", b"DENY"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_GRAPHQL = "/graphql"


class _RefusedError(Exception):
    """A request that does not get in: its HTTP status, and what a person reads, as HTML."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Guard:
    """`application` for those who know `token` and come by one of `hosts` ("127.0.0.1:3000"); others get 401, 403, 405 or 421 and a word why."""

    def __init__(self, application: Application, *, token: str, hosts: Collection[str]) -> None:
        self._application = application
        self._token = token
        self._hosts = frozenset(hosts)
        # Two projects on one machine share a host, and so a jar of cookies.
        self._cookie = f"figment_{hashlib.sha256(token.encode()).hexdigest()[:8]}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._application(scope, receive, send)
            return
        headers = _Headers(scope["headers"])
        try:
            self._check_host(headers)
            fresh = None if scope["type"] == "websocket" else self._without_token(scope)
            if fresh is not None:
                await self._let_in(fresh, send)
                return
            self._check_token(scope, headers)
            self._check_origin(scope, headers)
            _check_graphql(scope, headers)
        except _RefusedError as refusal:
            await _refuse(scope, refusal, send)
            return
        await self._application(scope, receive, _with_headers(send))

    def _check_host(self, headers: "_Headers") -> None:
        if headers.one("host") not in self._hosts:
            raise _RefusedError(421, f"this server is known as {' and '.join(sorted(self._hosts))} only; `figment up --allow-host` adds a name")

    def _without_token(self, scope: Scope) -> str | None:
        """The address without the token, where a right one stands in it."""
        query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
        given = [value for name, value in query if name == TOKEN_PARAMETER]
        if scope["method"] not in SAFE_METHODS or len(given) != 1 or not self._is_token(given[0]):
            return None
        rest = urlencode([pair for pair in query if pair[0] != TOKEN_PARAMETER])
        # More than one slash at the start would name another host.
        path = "/" + scope["path"].lstrip("/\\")
        return f"{_quoted(path)}?{rest}" if rest else _quoted(path)

    def _check_token(self, scope: Scope, headers: "_Headers") -> None:
        kind, _, given = headers.one("authorization").partition(" ")
        if kind.lower() == "bearer" and self._is_token(given.strip()):
            return
        if any(self._is_token(value) for value in headers.cookies(self._cookie)):
            return
        # A link from another site is followed without the cookie (SameSite=Strict); the same link on a page of our own is followed with it.
        again = f' If you did, <a href="{escape(_address(scope), quote=True)}">go on</a>.' if scope["type"] == "http" else ""
        raise _RefusedError(401, f"Open the address that `figment up` printed: it carries the token of this start.{again}")

    def _check_origin(self, scope: Scope, headers: "_Headers") -> None:
        """Only pages of this server may change something, read answers or open a channel; anybody may link to a page."""
        origin, site = headers.one("origin"), headers.one("sec-fetch-site")
        is_page = headers.one("sec-fetch-mode") == "navigate" and headers.one("sec-fetch-dest") == "document"
        is_link = scope["type"] == "http" and scope["method"] in SAFE_METHODS and is_page
        if origin and urlsplit(origin).netloc not in self._hosts:
            raise _RefusedError(403, f"a page of {escape(origin)} may not ask this server")
        if site not in ("", "same-origin", "none") and not is_link:
            raise _RefusedError(403, f"a page of another origin may not ask this server (Sec-Fetch-Site: {escape(site)})")

    async def _let_in(self, address: str, send: Send) -> None:
        cookie = f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Strict"
        headers = [("location", address), ("set-cookie", cookie), ("referrer-policy", "no-referrer"), ("cache-control", "no-store")]
        await _answer(303, b"", headers, send)

    def _is_token(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), self._token.encode())


def hosts_of(port: int, more: Sequence[str] = ()) -> list[str]:
    """What a browser may call a server on `port` of this machine, and `more` names (with their port, where it is not the scheme's)."""
    return [*(f"{name}:{port}" for name in LOOPBACK_NAMES), *more]


class _Headers:
    """The headers of a request, by lower-case name."""

    def __init__(self, raw: Sequence[tuple[bytes, bytes]]) -> None:
        self._raw = [(name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in raw]

    def one(self, name: str) -> str:
        """The value; empty where there is none. Two that differ are none: which one counts would be anybody's guess."""
        values = {value for found, value in self._raw if found == name}
        return values.pop() if len(values) == 1 else ""

    def cookies(self, name: str) -> list[str]:
        found = []
        for header, value in self._raw:
            # One cookie that cannot be read, of some other server of this host, must not hide ours.
            for part in value.split(";") if header == "cookie" else []:
                try:
                    cookie = SimpleCookie(part).get(name)
                except CookieError:
                    continue
                found += [cookie.value] if cookie else []
        return found


def _check_graphql(scope: Scope, headers: _Headers) -> None:
    """GraphQL runs what an address says where it is asked by GET, and takes any form that a page can send where it does not insist on JSON."""
    if scope["type"] != "http" or not scope["path"].rstrip("/").endswith(_GRAPHQL):
        return
    if scope["method"] != "POST":
        raise _RefusedError(405, "GraphQL is asked by POST")
    if headers.one("content-type").partition(";")[0].strip().lower() != "application/json":
        raise _RefusedError(415, "GraphQL is asked in application/json")


def _address(scope: Scope) -> str:
    query = scope["query_string"].decode("latin-1")
    path = _quoted("/" + scope["path"].lstrip("/\\"))
    return f"{path}?{query}" if query else path


def _quoted(path: str) -> str:
    return quote(path, safe="/:@!$&'()*+,;=~")


def _with_headers(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.accept"):
            # A policy beside another one: both hold.
            message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
        await send(message)

    return sending


async def _refuse(scope: Scope, refusal: _RefusedError, send: Send) -> None:
    if scope["type"] == "websocket":
        # Before it is accepted, closing is answered as 403.
        await send({"type": "websocket.close", "code": 1008, "reason": "refused"})
        return
    page = f"<!doctype html><meta charset=utf-8><title>Figment</title><p>{refusal}</p>"
    await _answer(refusal.status, page.encode(), [("content-type", "text/html; charset=utf-8"), ("cache-control", "no-store")], send)


async def _answer(status: int, body: bytes, headers: Sequence[tuple[str, str]], send: Send) -> None:
    raw = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    await _with_headers(send)({"type": "http.response.start", "status": status, "headers": [*raw, (b"content-length", str(len(body)).encode())]})
    await send({"type": "http.response.body", "body": body})
