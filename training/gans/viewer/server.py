"""The server behind the page: on this machine alone, a fixed set of addresses, nothing but GET.

    /                the page, with /viewer.css and /viewer.js
    /model.json      name, facts, controls and layers
    /picture.png     ?lane=…&SETTINGS: the picture; X-Draw-Ms says how long it took
    /layer.png       ?lane=…&layer=N&first=N&count=N&SETTINGS: activations of channels, see channels.py

409: a newer request of the same lane came first. 400: what is wrong, in a line.
"""

import json
import re
import sys
import time
import webbrowser
from collections.abc import Callable
from dataclasses import asdict
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socketserver import TCPServer
from typing import Any
from urllib.parse import urlsplit

import numpy

from formats.png import encode_png
from training.gans.viewer.channels import COLUMNS, MOST_CHANNELS, channel_sheet
from training.gans.viewer.controls import SettingsError, Slider, described, query_fields, read_settings
from training.gans.viewer.model import ViewedModel
from training.gans.viewer.turns import SupersededError, Turns

HOST = "127.0.0.1"
_PAGE = Path(__file__).with_name("page")
_FILES = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/viewer.css": ("viewer.css", "text/css; charset=utf-8"),
    "/viewer.js": ("viewer.js", "text/javascript; charset=utf-8"),
}
_LANE = re.compile(r"[a-z0-9-]{1,40}", re.ASCII)
_SILENCE_S = 60.0
# The page loads nothing from elsewhere, and no other page may show or read it.
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class ViewerServer(ThreadingHTTPServer):
    """Listens at once; answers while `serve_forever` runs. port 0: any free one. Raises OSError where the port is taken."""

    daemon_threads = True

    def __init__(self, model: ViewedModel, port: int = 0) -> None:
        self.model, self.turns = model, Turns()
        super().__init__((HOST, port), _Handler)
        # Else a page elsewhere whose name suddenly means this machine (DNS rebinding) could read from it.
        self.hosts = {f"{name}:{self.server_port}" for name in (HOST, "localhost")}

    @property
    def address(self) -> str:
        return f"http://{HOST}:{self.server_port}/"

    def server_bind(self) -> None:
        # HTTPServer's own asks the network for this machine's name, which can take seconds.
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, int(self.server_address[1])

    def server_close(self) -> None:
        super().server_close()
        self.turns.close()

    def handle_error(self, request: Any, client_address: Any) -> None:
        # A page that was closed while it was answered is nobody's error.
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def serve(model: ViewedModel, *, port: int = 0, open_browser: bool = False, say: Callable[[str], None] = print) -> None:
    """Answer on 127.0.0.1 until Ctrl-C. Raises OSError where the port is taken."""
    with ViewerServer(model, port) as server:
        say(f"{model.name} ({', '.join(model.facts)})\n{server.address}\nstop with Ctrl-C")
        try:
            if open_browser:
                webbrowser.open(server.address)
            server.serve_forever()
        except KeyboardInterrupt:
            say("stopped")


class _Handler(BaseHTTPRequestHandler):
    server: ViewerServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "figment", ""
    timeout = _SILENCE_S

    def do_GET(self) -> None:
        if self.headers.get("Host") not in self.server.hosts:
            self._refuse(HTTPStatus.MISDIRECTED_REQUEST, f"this is {self.server.address}; open it under that address")
        elif self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            self._refuse(HTTPStatus.FORBIDDEN, "another site's page may not ask this viewer")
        else:
            self._route()

    def _route(self) -> None:
        place = urlsplit(self.path)
        if place.path in _FILES:
            name, kind = _FILES[place.path]
            self._answer(HTTPStatus.OK, kind, (_PAGE / name).read_bytes())
        elif place.path == "/model.json":
            self._answer(HTTPStatus.OK, "application/json", json.dumps(_description(self.server.model)).encode())
        elif place.path in ("/picture.png", "/layer.png"):
            self._draw(place.path, place.query)
        else:
            self._refuse(HTTPStatus.NOT_FOUND, f"nothing is here; the page is at {self.server.address}")

    def _draw(self, path: str, query: str) -> None:
        try:
            fields = query_fields(query)
            lane = _lane(fields)
            work = _work(self.server.model, path, fields)
            picture, milliseconds = self.server.turns.do(lane, lambda: _timed(work))
        except SettingsError as error:
            self._refuse(HTTPStatus.BAD_REQUEST, str(error))
        except SupersededError:
            self._refuse(HTTPStatus.CONFLICT, "a newer request came first")
        except RuntimeError as error:  # torch's own, such as for memory that is not there
            self._refuse(HTTPStatus.INTERNAL_SERVER_ERROR, f"it could not be drawn: {error}")
        else:
            self._answer(HTTPStatus.OK, "image/png", encode_png(picture), {"X-Draw-Ms": f"{milliseconds:.1f}"})

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self._answer(status, "text/plain; charset=utf-8", f"{' '.join(reason.split())}\n".encode())

    def _answer(self, status: HTTPStatus, kind: str, content: bytes, more: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Type": kind, "Content-Length": str(len(content)), **(more or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: a line for every picture would bury what matters."""


def _description(model: ViewedModel) -> dict[str, Any]:
    return {
        "name": model.name,
        "facts": list(model.facts),
        "controls": [described(control) for control in model.controls],
        "layers": [asdict(layer) for layer in model.layers],
        "sheet": {"columns": COLUMNS, "channels": MOST_CHANNELS},
    }


def _lane(fields: dict[str, str]) -> str:
    lane = fields.pop("lane", "")
    if not _LANE.fullmatch(lane):
        raise SettingsError("lane: expected up to 40 of a-z, 0-9 and -")
    return lane


def _work(model: ViewedModel, path: str, fields: dict[str, str]) -> Callable[[], numpy.ndarray]:
    """What draws the answer, with everything in `fields` checked. Raises SettingsError."""
    if path == "/picture.png":
        settings = read_settings(model.controls, fields)
        return lambda: model.draw(settings)
    if not model.layers:
        raise SettingsError("this model shows no layers")
    place = int(_whole("layer", 0, len(model.layers) - 1).read(fields.pop("layer", "")))
    first = int(_whole("first", 0, model.layers[place].channels - 1).read(fields.pop("first", "0")))
    count = int(_whole("count", 1, MOST_CHANNELS).read(fields.pop("count", str(MOST_CHANNELS))))
    settings = read_settings(model.controls, fields)
    return lambda: channel_sheet(model.activations(settings, place)[first : first + count])


def _whole(name: str, least: int, most: int) -> Slider:
    return Slider(name, name, "", least, most, 1, least, is_whole=True)


def _timed(work: Callable[[], numpy.ndarray]) -> tuple[numpy.ndarray, float]:
    started = time.perf_counter()
    result = work()
    return result, (time.perf_counter() - started) * 1000
