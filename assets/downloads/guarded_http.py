"""Ask a server over http or https, and never one inside one's own network unless that is allowed.

A parameter file, or an answer with a redirect, may come from somebody else, so an address in it must not reach services that only this machine can
see: every address a name resolves to is judged before connecting, the connection goes to the very address that was judged, and each redirect is
judged again. Proxies of the environment are not used, because a proxy would resolve the name once more by itself.
"""

import contextlib
import http.client
import socket
import threading
import urllib.request
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import IO, Any
from urllib.parse import urlsplit

from stages.addresses import is_public

Connect = Callable[[tuple[str, int], float], socket.socket]


class DownloadError(Exception):
    """The file could not be fetched: refused address, error status, too large, or the wrong bytes. reason: the same in one word, for tables."""

    reason = "refused"


class ForbiddenAddressError(DownloadError):
    """The address lies inside a private network, or is not http(s)."""

    reason = "forbidden_address"


class UnavailableError(DownloadError):
    """Nothing is known to be wrong with the file: its server is in trouble, or asks for patience. A later run may have it."""

    reason = "unavailable"


class TooLargeError(DownloadError):
    """The file is larger than allowed, or than its source said."""

    reason = "too_large"


class WrongBytesError(DownloadError):
    """What came is not what its source said, by checksum, size or kind of file."""

    reason = "wrong_bytes"


@dataclass(frozen=True)
class Secret:
    """An Authorization header, and the hosts that may see it: those and what is under them. It does not follow a redirect to others."""

    authorization: str = field(repr=False)
    hosts: tuple[str, ...]

    def header_for(self, url: str) -> dict[str, str]:
        host = urlsplit(url).hostname or ""
        return {"Authorization": self.authorization} if any(host == name or host.endswith(f".{name}") for name in self.hosts) else {}


def open_guarded(
    url: str,
    headers: Mapping[str, str],
    *,
    timeout_s: float,
    allow_private_addresses: bool,
    trusted: Collection[str] = (),
    secret: Secret | None = None,
    method: str = "GET",
    body: bytes | None = None,
) -> Any:
    """The answer to a request, as a context manager.

    timeout_s: for connecting, for the whole head of an answer, and from one piece of its body to the next. trusted: `host:port` of servers that may
    lie anywhere, being our own.
    Raises HTTPError for an error status, ForbiddenAddressError (or a URLError of one), and OSError or HTTPException where the connection fails.
    """
    opener = urllib.request.OpenerDirector()
    judge = partial(_connect, allow_private_addresses, trusted)
    kinds = (_Redirects(secret), _Http(judge), _Https(judge), urllib.request.UnknownHandler())
    for handler in (*kinds, urllib.request.HTTPDefaultErrorHandler(), urllib.request.HTTPErrorProcessor()):
        opener.add_handler(handler)
    headers = {**headers, **(secret.header_for(url) if secret else {})}
    return opener.open(urllib.request.Request(url, body, headers, method=method), timeout=timeout_s)  # noqa: S310 - the opener knows http(s) only


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = 8

    def __init__(self, secret: Secret | None) -> None:
        self._secret = secret

    def redirect_request(self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str) -> Any:
        if urlsplit(newurl).scheme not in {"http", "https"}:
            raise ForbiddenAddressError(f"{req.full_url}: redirects to {newurl[:200]}, which is not http or https")
        following = super().redirect_request(req, fp, code, msg, headers, newurl)
        if following is not None and self._secret is not None:
            following.remove_header("Authorization")
            # Nor is it told in the clear where it was not before.
            if following.type in {req.type, "https"}:
                following.headers.update(self._secret.header_for(newurl))
        return following


class _Http(urllib.request.HTTPHandler):
    def __init__(self, connect: Connect) -> None:
        super().__init__()
        self._connection = partial(_connection, http.client.HTTPConnection, connect)

    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._connection, req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, connect: Connect) -> None:
        super().__init__()
        self._connection = partial(_connection, http.client.HTTPSConnection, connect)

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._connection, req)


def _connection(kind: type[http.client.HTTPConnection], connect: Connect, host: str, **options: Any) -> Any:
    """A connection of that kind that chooses its own address, and bounds how long the head of an answer may take."""
    made: Any = kind(host, **options)
    # TLS still checks the certificate against the name: only how the socket is opened changes.
    made._create_connection = lambda address, timeout, _=None: connect(address, timeout)
    made.getresponse = partial(_answer_in_time, made, made.getresponse)
    return made


def _answer_in_time(connection: Any, getresponse: Any) -> Any:
    """A server that sends the head byte by byte keeps every single read within its time: so the line is cut when all of it has not come."""

    def cut(line: socket.socket) -> None:
        with contextlib.suppress(OSError):  # It may be closed by now.
            line.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(connection.timeout, cut, [connection.sock])
    timer.start()
    try:
        return getresponse()
    finally:
        timer.cancel()


def _connect(allow_private_addresses: bool, trusted: Collection[str], address: tuple[str, int], timeout: float) -> socket.socket:
    """Connect to the first address of the host that answers, all of them having been judged."""
    host, port = address
    is_anywhere = allow_private_addresses or f"{host}:{port}" in trusted
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for *_, place in found:
        if not is_anywhere and not is_public(str(place[0])):
            raise ForbiddenAddressError(
                f"{host}: resolves to {place[0]}, which is not a public address; set allow_private_addresses: true if the server is your own"
            )
    problem: OSError | None = None
    for family, kind, protocol, _, place in found:
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(timeout)
            connection.connect(place)
            return connection
        except OSError as error:
            connection.close()
            problem = error
    raise problem or OSError(f"{host}: no address found")
