"""A proxy on loopback behind which sites misbehave, each host in its own way; `asked` counts the requests by address."""

import gzip
import io
import socket
import struct
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import brotli
from PIL import Image

CAPTCHA = b"<html><head><title>Just a moment...</title></head><body><script src='/cdn-cgi/challenge-platform/h/b'></script></body></html>"
# Made beforehand: compressing would count as a slow answer on a busy machine.
GZIP_BOMB = gzip.compress(bytes(24 * 2**20), 1)
BROTLI_BOMB = brotli.compress(bytes(24 * 2**20), quality=1)


def picture(shade: int = 120) -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (64, 48), (shade, 40, 200)).save(stream, "PNG")
    return stream.getvalue()


def issue_page(host: str, images: dict[str, str], *, title: str = "On {}") -> bytes:
    """An ACS-style issue with one paper an image; images: name → its address."""
    items = "".join(
        f'<div class="issue-item clearfix"><h5 class="issue-item_title"><a href="/doi/10.5555/{host}.{name}" title="{title.format(name)}">'
        f'{title.format(name)}</a></h5><img data-src="{url}"/><span class="hlFld-Abstract"><p>About {name}.</p></span></div>'
        for name, url in images.items()
    )
    return f"<!DOCTYPE html><html><body>{items}</body></html>".encode()


class Sites:
    """The sites behind the proxy. `answers[host]` is called with (handler, path) for everything but robots.txt, unless it answers that itself."""

    def __init__(self) -> None:
        self.asked: Counter[str] = Counter()
        self.times: dict[str, list[float]] = {}
        self.answers: dict[str, Callable[[Handler, str], None]] = {}
        self.robots: dict[str, Callable[[Handler], None]] = {}
        sites = self

        class Bound(Handler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                sites.asked[self.path] += 1
                sites.times.setdefault(self.path, []).append(time.monotonic())
                if url.path == "/robots.txt":
                    sites.robots.get(url.netloc, lambda handler: handler.send(404))(self)
                else:
                    sites.answers[url.netloc](self, url.path)

        self._server = _Server(("127.0.0.1", 0), Bound)
        self.proxy = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args: object) -> None:
        pass

    def send(self, status: int, body: bytes = b"", kind: str = "text/html; charset=utf-8", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def reset_mid_body(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(picture())
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True
        self.connection.close()

    def promise_more_than_comes(self) -> None:
        body = picture()
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.send_header("Content-Length", str(len(body) + 500))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = True

    def drip(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.send_header("Content-Length", "5000")
        self.end_headers()
        try:
            for _ in range(200):
                self.wfile.write(b"x")
                self.wfile.flush()
                time.sleep(0.1)
        except OSError:
            pass
        self.close_connection = True

    def gzip_bomb(self) -> None:
        self.send(200, GZIP_BOMB, "image/png", Content_Encoding="gzip")

    def brotli_bomb(self) -> None:
        self.send(200, BROTLI_BOMB, "image/png", Content_Encoding="br")

    def endless(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "image/png")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        chunk = b"x" * 65_536
        try:
            while True:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        except OSError:
            pass
        self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that go away in the middle are part of the game."""
