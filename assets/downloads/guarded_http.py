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
from collections.abc import Mapping
from functools import partial
from typing import IO, Any
from urllib.parse import urlsplit

from stages.addresses import is_public


class DownloadError(Exception):
    """The file could not be fetched: refused address, error status, too large, or the wrong bytes."""


class ForbiddenAddressError(DownloadError):
    """The address lies inside a private network, or is not http(s)."""


def open_guarded(url: str, headers: Mapping[str, str], *, timeout_s: float, allow_private_addresses: bool) -> Any:
    """The answer to a GET, as a context manager.

    timeout_s: for connecting, for the whole head of an answer, and from one piece of its body to the next.
    Raises HTTPError for an error status, ForbiddenAddressError (or a URLError of one), and OSError or HTTPException where the connection fails.
    """
    opener = urllib.request.OpenerDirector()
    kinds = (_Redirects(), _Http(allow_private_addresses), _Https(allow_private_addresses), urllib.request.UnknownHandler())
    for handler in (*kinds, urllib.request.HTTPDefaultErrorHandler(), urllib.request.HTTPErrorProcessor()):
        opener.add_handler(handler)
    return opener.open(urllib.request.Request(url, headers=dict(headers)), timeout=timeout_s)  # noqa: S310 - the opener knows http(s) only


class _Redirects(urllib.request.HTTPRedirectHandler):
    max_redirections = 8

    def redirect_request(self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: http.client.HTTPMessage, newurl: str) -> Any:
        if urlsplit(newurl).scheme not in {"http", "https"}:
            raise ForbiddenAddressError(f"{req.full_url}: redirects to {newurl[:200]}, which is not http or https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Http(urllib.request.HTTPHandler):
    def __init__(self, allow_private_addresses: bool) -> None:
        super().__init__()
        self._connection = partial(_connection, http.client.HTTPConnection, allow_private_addresses)

    def http_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._connection, req)


class _Https(urllib.request.HTTPSHandler):
    def __init__(self, allow_private_addresses: bool) -> None:
        super().__init__()
        self._connection = partial(_connection, http.client.HTTPSConnection, allow_private_addresses)

    def https_open(self, req: urllib.request.Request) -> Any:
        return self.do_open(self._connection, req)


def _connection(kind: type[http.client.HTTPConnection], allow_private_addresses: bool, host: str, **options: Any) -> Any:
    """A connection of that kind that chooses its own address, and bounds how long the head of an answer may take."""
    made: Any = kind(host, **options)
    # TLS still checks the certificate against the name: only how the socket is opened changes.
    made._create_connection = lambda address, timeout, _=None: _connect(address, timeout, allow_private_addresses)
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


def _connect(address: tuple[str, int], timeout: float, allow_private_addresses: bool) -> socket.socket:
    """Connect to the first address of the host that answers, all of them having been judged."""
    host, port = address
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for *_, place in found:
        if not allow_private_addresses and not is_public(str(place[0])):
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
