"""Downloads over loopback: verified, resumed, capped, and refused where they would look into a private network."""

import hashlib
import http.server
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from assets.downloads.download import DownloadError, DownloadRules, ForbiddenAddressError, download

_CONTENT = bytes(range(256)) * 400
_SHA256 = hashlib.sha256(_CONTENT).hexdigest()
_RULES = DownloadRules(allow_private_addresses=True, first_wait_s=0.01, retries=2, timeout_s=5.0)


@dataclass
class Server:
    """answer: called with the handler for each request, in place of sending the whole content."""

    url: str = ""
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    answer: Callable[[http.server.BaseHTTPRequestHandler], None] | None = None


def _send(handler, *, status=200, body=_CONTENT, length=None, **headers):
    handler.send_response(status)
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.end_headers()
    handler.wfile.write(body)


@pytest.fixture
def server() -> Iterator[Server]:
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            wanted = self.headers.get("Range")
            state.requests.append((self.path, wanted))
            if state.answer is not None:
                state.answer(self)
            elif wanted:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                _send(self, status=206, body=_CONTENT[start:], Content_Range=f"bytes {start}-{len(_CONTENT) - 1}/{len(_CONTENT)}")
            else:
                _send(self)

        def log_message(self, *args):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever, daemon=True)
        thread.start()
        state.url = f"http://127.0.0.1:{running.server_address[1]}/file.csv"
        yield state
        running.shutdown()
        thread.join()


def test_the_bytes_arrive_and_their_checksum_is_told(server, tmp_path):
    assert download(server.url, tmp_path / "part", sha256=None, rules=_RULES) == _SHA256
    assert (tmp_path / "part").read_bytes() == _CONTENT


def test_loopback_is_refused_unless_allowed(server, tmp_path):
    with pytest.raises(ForbiddenAddressError, match="resolves to 127.0.0.1, which is not a public address; set allow_private_addresses"):
        download(server.url, tmp_path / "part", sha256=None, rules=DownloadRules())
    assert server.requests == []


def test_a_redirect_is_judged_again(server, tmp_path, monkeypatch):
    """The first address passes for public; where it leads to must be judged by itself."""
    monkeypatch.setattr("assets.downloads.download.is_public", lambda address: address == "127.0.0.1" and len(server.requests) == 0)
    server.answer = lambda handler: _send(handler, status=302, body=b"", Location=server.url)
    with pytest.raises(ForbiddenAddressError):
        download(server.url, tmp_path / "part", sha256=None, rules=DownloadRules())
    assert len(server.requests) == 1


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x"])
def test_a_redirect_away_from_http_is_refused(server, tmp_path, target):
    server.answer = lambda handler: _send(handler, status=302, body=b"", Location=target)
    with pytest.raises(DownloadError, match="302|not http or https"):
        download(server.url, tmp_path / "part", sha256=None, rules=_RULES)
    assert not (tmp_path / "part").exists()


def test_redirects_in_a_circle_end(server, tmp_path):
    server.answer = lambda handler: _send(handler, status=302, body=b"", Location=server.url)
    with pytest.raises(DownloadError):
        download(server.url, tmp_path / "part", sha256=None, rules=_RULES)
    assert len(server.requests) < 40


def test_a_wrong_checksum_names_both_and_keeps_nothing(server, tmp_path):
    with pytest.raises(DownloadError, match=f"checksum mismatch: 102,400 bytes with sha256 {_SHA256}, expected {'0' * 64}"):
        download(server.url, tmp_path / "part", sha256="0" * 64, rules=_RULES)
    assert not (tmp_path / "part").exists()


def test_a_broken_connection_is_continued_where_it_ended(server, tmp_path):
    def break_once(handler):
        server.answer = None
        _send(handler, body=_CONTENT[:50_000], length=len(_CONTENT))

    server.answer = break_once
    assert download(server.url, tmp_path / "part", sha256=_SHA256, rules=_RULES) == _SHA256
    assert [wanted for _, wanted in server.requests] == [None, "bytes=50000-"]


def test_a_later_run_continues_an_earlier_one(server, tmp_path):
    (tmp_path / "part").write_bytes(_CONTENT[:70_000])
    download(server.url, tmp_path / "part", sha256=_SHA256, rules=_RULES)
    assert server.requests == [("/file.csv", "bytes=70000-")]


def test_without_a_checksum_an_old_beginning_is_not_trusted(server, tmp_path):
    (tmp_path / "part").write_bytes(b"of another file")
    assert download(server.url, tmp_path / "part", sha256=None, rules=_RULES) == _SHA256
    assert server.requests == [("/file.csv", None)]


def test_a_server_that_ignores_ranges_sends_it_all_again(server, tmp_path):
    server.answer = _send
    (tmp_path / "part").write_bytes(_CONTENT[:70_000])
    assert download(server.url, tmp_path / "part", sha256=_SHA256, rules=_RULES) == _SHA256


def test_a_complete_old_part_that_the_server_cannot_extend_is_fetched_again(server, tmp_path):
    def nothing_more(handler):
        server.answer = None
        _send(handler, status=416, body=b"")

    server.answer = nothing_more
    (tmp_path / "part").write_bytes(_CONTENT)
    assert download(server.url, tmp_path / "part", sha256=_SHA256, rules=_RULES) == _SHA256


def test_a_busy_server_is_asked_again_and_then_given_up(server, tmp_path):
    lines = []
    server.answer = lambda handler: _send(handler, status=503, body=b"")
    with pytest.raises(DownloadError, match="status 503, after 3 attempts; try again later"):
        download(server.url, tmp_path / "part", sha256=None, rules=_RULES, log=lines.append)
    assert len(server.requests) == 3
    assert len(lines) == 2


def test_a_missing_file_is_not_asked_for_twice(server, tmp_path):
    server.answer = lambda handler: _send(handler, status=404, body=b"")
    with pytest.raises(DownloadError, match=r"status 404 \(Not Found\)"):
        download(server.url, tmp_path / "part", sha256=None, rules=_RULES)
    assert len(server.requests) == 1


@pytest.mark.parametrize("is_honest", [True, False])
def test_what_is_too_large_is_stopped_whether_or_not_the_server_says_so(server, tmp_path, is_honest):
    def answer(handler):
        if is_honest:
            return _send(handler)
        handler.send_response(200)
        handler.end_headers()
        return handler.wfile.write(_CONTENT)

    server.answer = answer
    rules = DownloadRules(max_bytes=1_000, allow_private_addresses=True)
    with pytest.raises(DownloadError, match="larger than 1,000 bytes, which is the limit"):
        download(server.url, tmp_path / "part", sha256=None, rules=rules)


def test_nobody_listening_is_said(tmp_path):
    with pytest.raises(DownloadError, match="Connection refused.*after 3 attempts"):
        download("http://127.0.0.1:9/x", tmp_path / "part", sha256=None, rules=_RULES)
