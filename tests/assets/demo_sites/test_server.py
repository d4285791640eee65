"""The proxy that leads to an embedded site: what it answers, what it refuses, what it remembers, and that it stops."""

import socket
import threading
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest

from assets.demo_sites import serve
from assets.demo_sites.exchange import Request, Response, text
from tests.assets.demo_sites.proxying import client_of

DAY = datetime(2026, 1, 6, 4, tzinfo=UTC)


class Echo:
    """Says what it was asked."""

    hosts = ("one.example", "two.example")

    def now(self) -> datetime:
        return DAY

    def respond(self, request: Request) -> Response:
        return text(f"{request.host} {request.path} {sorted(request.query.items())}", last_modified=datetime(2025, 12, 1, tzinfo=UTC))


@pytest.fixture
def running():
    with serve(Echo()) as running:
        yield running


@pytest.fixture
def client(running):
    with client_of(running.proxy) as client:
        yield client


def test_it_answers_for_each_of_its_hosts_and_with_its_own_clock(client):
    answer = client.get("http://two.example/a%20b?x=1&y=%C3%A9")
    assert answer.body.decode() == "two.example /a b [('x', '1'), ('y', 'é')]"
    assert answer.headers["date"] == "Tue, 06 Jan 2026 04:00:00 GMT"


@pytest.mark.parametrize("url", ["http://elsewhere.example/", "https://one.example/", "ftp://one.example/", "http://[broken/"])
def test_it_forwards_nothing(client, url):
    assert client.get(url).status in {400, 403}


def test_it_refuses_to_tunnel_and_to_write(client):
    assert client.get("one.example:443", method="CONNECT").status in {403, 405}
    assert client.get("http://one.example/", method="POST").status == 405


def test_what_is_known_already_is_not_sent_again(client):
    first = client.get("http://one.example/")
    assert first.status == 200
    again = client.get("http://one.example/", If_None_Match=first.headers["etag"])
    assert (again.status, again.body) == (304, b"")
    assert client.get("http://one.example/", If_Modified_Since="Mon, 01 Dec 2025 00:00:00 GMT").status == 304
    assert client.get("http://one.example/", If_Modified_Since="Sun, 30 Nov 2025 00:00:00 GMT").status == 200
    assert client.get("http://one.example/", If_Modified_Since="yesterday").status == 200
    # A tag that does not fit outweighs a date that does.
    assert client.get("http://one.example/", If_None_Match='"other"', If_Modified_Since="Mon, 01 Dec 2025 00:00:00 GMT").status == 200


def test_head_sends_the_length_and_no_body(client):
    answer = client.get("http://one.example/", method="HEAD")
    assert answer.body == b"" and int(answer.headers["content-length"]) > 0


def test_it_remembers_what_was_asked_in_memory_and_on_disk(tmp_path):
    with serve(Echo(), log_file=tmp_path / "log") as running, client_of(running.proxy) as client:
        etag = client.get("http://one.example/1", User_Agent="figment").headers["etag"]
        client.get("http://one.example/1", If_None_Match=etag)
    assert [(entry.url, entry.status, entry.is_conditional) for entry in running.log] == [
        ("http://one.example/1", 200, False),
        ("http://one.example/1", 304, True),
    ]
    assert running.log[0].user_agent == "figment"
    assert [line.split()[2] for line in (tmp_path / "log").read_text().splitlines()] == ["200", "304"]


def test_a_browser_without_a_proxy_sees_the_first_host(running):
    address = urlsplit(running.proxy).netloc
    with socket.create_connection(tuple(address.split(":"))) as connection:
        connection.sendall(b"GET /page HTTP/1.1\r\nHost: " + address.encode() + b"\r\nConnection: close\r\n\r\n")
        assert b"one.example /page" in connection.makefile("rb").read()


@pytest.mark.parametrize("garbage", [b"hello\r\n\r\n", b"GET / HTTP/2\r\n\r\n", b"GET / HTTP/1.1\r\nno colon\r\n\r\n", b"\x00" * 40_000])
def test_garbage_gets_an_answer_and_harms_nobody(running, client, garbage):
    with socket.create_connection(tuple(urlsplit(running.proxy).netloc.split(":"))) as connection:
        connection.sendall(garbage)
        connection.shutdown(socket.SHUT_WR)
        assert connection.makefile("rb").read().startswith(b"HTTP/1.1 400")
    assert client.get("http://one.example/").status == 200


def test_a_request_body_is_skipped(client, running):
    with socket.create_connection(tuple(urlsplit(running.proxy).netloc.split(":"))) as connection:
        connection.sendall(
            b"GET http://one.example/1 HTTP/1.1\r\nContent-Length: 5\r\n\r\nhelloGET http://one.example/2 HTTP/1.1\r\nConnection: close\r\n\r\n"
        )
        said = connection.makefile("rb").read()
    assert b"one.example /1" in said and b"one.example /2" in said


def test_it_stops_with_open_connections_and_leaves_no_thread():
    before = threading.active_count()
    with serve(Echo()) as running, client_of(running.proxy) as client:
        client.get("http://one.example/")
        address = urlsplit(running.proxy)
    assert threading.active_count() == before
    with pytest.raises(OSError):
        socket.create_connection((address.hostname, address.port), timeout=1).close()
