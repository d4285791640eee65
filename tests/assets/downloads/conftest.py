"""A web server on loopback that can be told to misbehave."""

import http.server
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

CONTENT = bytes(range(256)) * 400

Handler = http.server.BaseHTTPRequestHandler


@dataclass
class Server:
    """content: of every address. answer: called with the handler of each request, in place of sending the content. requests: (path, Range)."""

    url: str = ""
    content: bytes = CONTENT
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    answer: Callable[[Handler], object] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    at_once: int = 0
    most_at_once: int = 0

    def once(self, answer: Callable[[Handler], object]) -> None:
        """Misbehave at the next request alone."""

        def then_well(handler: Handler) -> None:
            self.answer = None
            answer(handler)

        self.answer = then_well

    def send(self, handler: Handler, *, status: int = 200, body: bytes | None = None, length: int | None = None, **headers: str) -> None:
        body = self.content if body is None else body
        handler.send_response(status)
        handler.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in (self.headers | headers).items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        # Who has the last byte may ask again before this thread runs on.
        handler.over()
        handler.wfile.write(body)

    def send_well(self, handler: Handler) -> None:
        wanted = handler.headers.get("Range")
        is_other = handler.headers.get("If-Range", self.headers.get("ETag")) != self.headers.get("ETag")
        if wanted is None or is_other:
            return self.send(handler)
        start = int(wanted.removeprefix("bytes=").removesuffix("-"))
        if start >= len(self.content):
            return self.send(handler, status=416, body=b"")
        whole = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
        return self.send(handler, status=206, body=self.content[start:], Content_Range=whole)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()
    guard = threading.Lock()

    class Answering(http.server.BaseHTTPRequestHandler):
        def over(self) -> None:
            with guard:
                state.at_once -= self.is_counted
                self.is_counted = False

        def do_GET(self) -> None:
            self.is_counted = True
            with guard:
                state.requests.append((self.path, self.headers.get("Range")))
                state.times.append(time.monotonic())
                state.at_once += 1
                state.most_at_once = max(state.most_at_once, state.at_once)
            try:
                (state.answer or state.send_well)(self)
            except ConnectionError:
                pass  # The client had enough.
            finally:
                self.over()

        def log_message(self, *args: object) -> None:
            pass

    class Many(http.server.ThreadingHTTPServer):
        request_queue_size = 50

    with Many(("127.0.0.1", 0), Answering) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        state.url = f"http://127.0.0.1:{running.server_address[1]}/file.csv"
        yield state
        running.shutdown()
        thread.join()
