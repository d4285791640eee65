"""A small threaded HTTP/1.1 server that is a proxy for the host names of one site, on 127.0.0.1 and a free port.

It takes `GET http://host/path` as a proxy does, and `GET /path` with a Host header as an origin server does. It forwards nothing: a host that
is not the site's is refused. Entity tags, conditional requests, ranges, HEAD and persistent connections are its business; what is said is the site's.
"""

import contextlib
import hashlib
import http.client
import re
import socket
import socketserver
import threading
import urllib.parse
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from pathlib import Path
from typing import IO, cast

from assets.demo_sites.exchange import Logged, Request, Response, Site, error_page

_MAX_LINE, _MAX_HEADERS, _MAX_BODY = 16_384, 200, 1_048_576
_IDLE_S = 60.0


class RunningSite:
    """A site that is being served. proxy: `http://127.0.0.1:<port>`; log: every request so far, in the order of the answers."""

    def __init__(self, site: Site, *, log_file: Path | None = None) -> None:
        self.site = site
        self.log: list[Logged] = []
        self._log_lock = threading.Lock()
        self._log_file = open(log_file, "a", encoding="utf-8", buffering=1) if log_file else None  # noqa: SIM115 - open until stop()
        self._server = _Server(self)
        self.proxy = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, name="embedded-site", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Return when the port is closed and no connection is being answered any more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        self._server.drop_connections()
        if self._log_file:
            self._log_file.close()

    def remember(self, entry: Logged) -> None:
        with self._log_lock:
            self.log.append(entry)
            if self._log_file:
                self._log_file.write(f"{entry.method} {entry.url} {entry.status} {entry.bytes_sent}\n")


@contextlib.contextmanager
def serve(site: Site, *, log_file: Path | None = None) -> Iterator[RunningSite]:
    """Serve `site` for the length of the block. log_file: a line a request is appended, so that it outlives the process."""
    running = RunningSite(site, log_file=log_file)
    try:
        yield running
    finally:
        running.stop()


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 128

    def __init__(self, running: RunningSite) -> None:
        self.running = running
        self._connections: set[socket.socket] = set()
        self._answering: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._is_closing = False
        super().__init__(("127.0.0.1", 0), _Connection)

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.add(connection)
            self._answering = [*(thread for thread in self._answering if thread.is_alive()), threading.current_thread()]
            if self._is_closing:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)

    def drop_connections(self) -> None:
        with self._lock:
            self._is_closing = True
            connections, threads = set(self._connections), self._answering
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        # Also those whose connection has ended by itself, and which are about to.
        for thread in threads:
            thread.join(timeout=5)

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is its own affair; anything else keeps its traceback."""
        import sys

        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Connection(socketserver.BaseRequestHandler):
    server: _Server
    request: socket.socket

    def handle(self) -> None:
        self.server.opened(self.request)
        self.request.settimeout(_IDLE_S)
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            with cast(IO[bytes], self.request.makefile("rb", 65_536)) as stream:
                while self._exchange(stream):
                    pass
        finally:
            self.server.closed(self.request)

    def _exchange(self, stream: IO[bytes]) -> bool:
        """Answer one request; whether the connection stays open."""
        line = stream.readline(_MAX_LINE)
        if not line.strip():
            return bool(line)  # a stray blank line between requests is harmless
        parts = line.decode("latin-1").split()
        headers = _read_headers(stream)
        if len(parts) != 3 or not parts[2].startswith("HTTP/1.") or headers is None:
            self._send("GET", "", {}, error_page(400, "This is not a request I can read."), is_open=False)
            return False
        method, target, version = parts
        wants_open = headers.get("connection", headers.get("proxy-connection", "")).lower()
        is_open = wants_open != "close" if version == "HTTP/1.1" else wants_open == "keep-alive"
        is_open = _skip_body(stream, headers) and is_open
        url, response = self._answer(method, target, headers)
        self._send(method, url, headers, response, is_open=is_open)
        return is_open

    def _answer(self, method: str, target: str, headers: dict[str, str]) -> tuple[str, Response]:
        site = self.server.running.site
        # The origin form (RFC 9112 §3.2.1) names the host in a header, the absolute form in the target itself.
        if target.startswith("/"):
            host = headers.get("host", "")
            target = f"http://{site.hosts[0] if _is_here(host) else host}{target}"
        try:
            parts = urllib.parse.urlsplit(target)
            host = (parts.hostname or "").lower()
        except ValueError:
            return target, error_page(400, "This address is not one.")
        methods = ["GET", "HEAD", *(["POST"] if getattr(site, "takes_posts", False) else [])]
        if method not in methods:
            return target, error_page(405, "This site is for reading.", headers=(("Allow", ", ".join(methods)),))
        if parts.scheme != "http" or host not in site.hosts:
            return target, error_page(403, "This proxy knows one site only, and that address is not on it.")
        path = urllib.parse.unquote(parts.path, errors="replace") or "/"
        query = dict(urllib.parse.parse_qsl(parts.query, keep_blank_values=True))
        return target, site.respond(Request(method, host, path, query, headers))

    def _send(self, method: str, url: str, headers: dict[str, str], response: Response, *, is_open: bool) -> None:
        # What the asker has already is not sent again (RFC 9110 §13): same tag, or not modified since.
        etag = response.etag or (f'"{hashlib.sha256(response.body).hexdigest()[:24]}"' if response.status == 200 else "")
        is_known = response.status == 200 and method != "POST" and _is_known(headers, etag, response.last_modified)
        status, body = (304, b"") if is_known else (response.status, response.body)
        part = _part(headers, etag, response) if status == 200 and method == "GET" else None
        if part is not None:
            status, body = (206, body[part.start : part.stop]) if part else (416, b"")
        lines = [
            f"HTTP/1.1 {status} {http.client.responses.get(status, 'Unknown')}",
            f"Date: {format_datetime(self.server.running.site.now(), usegmt=True)}",
        ]
        if etag:
            lines.append(f"ETag: {etag}")
        if response.last_modified:
            lines.append(f"Last-Modified: {format_datetime(response.last_modified, usegmt=True)}")
        if status != 304:
            lines += [f"Content-Type: {response.content_type}", f"Content-Length: {len(body)}"]
        if response.has_ranges:
            lines.append("Accept-Ranges: bytes")
        if part is not None:
            lines.append(f"Content-Range: bytes {f'{part.start}-{part.stop - 1}' if part else '*'}/{len(response.body)}")
        lines += [f"{name}: {value}" for name, value in response.headers]
        lines.append(f"Connection: {'keep-alive' if is_open else 'close'}")
        head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")
        sent = b"" if method == "HEAD" else body
        # Remembered before it is sent: whoever has the answer finds the request in the log.
        is_conditional = "if-none-match" in headers or "if-modified-since" in headers
        self.server.running.remember(Logged(method, url, status, len(sent), is_conditional, headers.get("user-agent", "")))
        self.request.sendall(head + sent)


def _read_headers(stream: IO[bytes]) -> dict[str, str] | None:
    """Names in lower case; None where they are not headers, or too many."""
    headers: dict[str, str] = {}
    for _ in range(_MAX_HEADERS):
        line = stream.readline(_MAX_LINE)
        if line in (b"\r\n", b"\n"):
            return headers
        name, colon, value = line.decode("latin-1").partition(":")
        if not colon or not line.endswith(b"\n"):
            return None
        headers[name.strip().lower()] = value.strip()
    return None


def _skip_body(stream: IO[bytes], headers: dict[str, str]) -> bool:
    """Read past a request body; False where its end cannot be told, so that the connection has to be closed."""
    length = headers.get("content-length", "0")
    if "transfer-encoding" in headers or not length.isascii() or not length.isdigit() or int(length) > _MAX_BODY:
        return False
    return len(stream.read(int(length))) == int(length)


def _part(headers: dict[str, str], etag: str, response: Response) -> range | None:
    """The bytes asked for: None for all of them, empty where the body has none of those. Of one range only; several are answered with all."""
    found = re.fullmatch(r"bytes=(\d{0,18})-(\d{0,18})", headers.get("range", "").replace(" ", ""))
    if not response.has_ranges or not found or found[0] == "bytes=-" or headers.get("if-range", etag) != etag:
        return None
    size = len(response.body)
    if not found[1]:
        return range(max(0, size - int(found[2])), size)
    if found[2] and int(found[2]) < int(found[1]):
        return None
    return range(int(found[1]), min(size, int(found[2] or size) + 1))


def _is_here(host: str) -> bool:
    return host.rpartition(":")[0] in {"127.0.0.1", "localhost"} or host in {"", "127.0.0.1", "localhost"}


def _is_known(headers: dict[str, str], etag: str, last_modified: datetime | None) -> bool:
    """RFC 9110 §13.2.2: a date is looked at only where no entity tag was sent."""
    if "if-none-match" in headers:
        known = {tag.strip().removeprefix("W/") for tag in headers["if-none-match"].split(",")}
        return etag.removeprefix("W/") in known or "*" in known
    if "if-modified-since" in headers and last_modified:
        try:
            since = parsedate_to_datetime(headers["if-modified-since"])
        except ValueError:
            return False
        return last_modified.replace(microsecond=0) <= (since if since.tzinfo else since.replace(tzinfo=UTC))
    return False
