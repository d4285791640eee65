"""Addresses inside one's own network are not asked, whoever leads there; an answer begins in time or not at all."""

import socket
import time
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from assets.downloads import guarded_http
from assets.downloads.guarded_http import DownloadError, ForbiddenAddressError, Secret
from assets.downloads.one_file import DownloadRules, Wanted, download

RULES = DownloadRules(allow_private_addresses=True, first_wait_s=0.01, retries=0, timeout_s=5.0, pause_s=0.0)


def fetch(url, tmp_path, rules=RULES) -> str:
    return download(Wanted(url, tmp_path / "part"), rules)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "0.0.0.0", "[::1]"])
def test_loopback_is_refused_however_it_is_written(server, tmp_path, host):
    with pytest.raises(ForbiddenAddressError, match="which is not a public address; set allow_private_addresses: true if"):
        fetch(server.url.replace("127.0.0.1", host), tmp_path, DownloadRules())
    assert server.requests == []


def test_a_redirect_to_loopback_is_judged_again(server, tmp_path, monkeypatch):
    """The first address passes for public; where it leads to, though it is the same, must be judged by itself."""
    monkeypatch.setattr(guarded_http, "is_public", lambda _: not server.requests)
    server.answer = lambda handler: server.send(handler, status=302, body=b"", Location=server.url)
    with pytest.raises(ForbiddenAddressError):
        fetch(server.url, tmp_path, DownloadRules())
    assert len(server.requests) == 1


@pytest.mark.parametrize("inside", ["10.0.0.1", "192.168.1.1", "169.254.169.254", "fd00::1"])
def test_a_redirect_to_a_name_inside_the_network_is_refused(server, tmp_path, monkeypatch, inside):
    """A public address beside it does not help: the connection might go to either."""
    look_up, is_public = socket.getaddrinfo, guarded_http.is_public

    def found(host, port, **options):
        places = ["203.0.113.7", inside] if host == "files.example" else [host]
        return [(*look_up("127.0.0.1", port, **options)[0][:4], (place, port)) for place in places]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    monkeypatch.setattr(guarded_http, "is_public", lambda address: address in ("127.0.0.1", "203.0.113.7") or is_public(address))
    server.answer = lambda handler: server.send(handler, status=302, body=b"", Location="http://files.example/x")
    with pytest.raises(ForbiddenAddressError, match=f"files.example: resolves to {inside}"):
        fetch(server.url, tmp_path, DownloadRules())


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "data:,x"])
def test_a_redirect_away_from_http_is_refused(server, tmp_path, target):
    server.answer = lambda handler: server.send(handler, status=302, body=b"", Location=target)
    with pytest.raises(DownloadError, match="302|not http or https"):
        fetch(server.url, tmp_path)
    assert not (tmp_path / "part").exists()


def test_a_redirect_is_followed_with_the_range_that_is_asked_for(server, tmp_path):
    server.once(lambda handler: server.send(handler, status=302, body=b"", Location=server.url + "?moved"))
    (tmp_path / "part").write_bytes(server.content[:70_000])
    checksum = "0" * 64
    with pytest.raises(DownloadError, match=f"expected {checksum}"):
        download(Wanted(server.url, tmp_path / "part", {"sha256": checksum}), RULES)
    assert server.requests == [("/file.csv", "bytes=70000-"), ("/file.csv?moved", "bytes=70000-")]


def test_redirects_in_a_circle_end(server, tmp_path):
    server.answer = lambda handler: server.send(handler, status=302, body=b"", Location=server.url)
    with pytest.raises(DownloadError, match="302"):
        fetch(server.url, tmp_path)
    assert len(server.requests) < 20


def test_the_head_of_an_answer_must_come_in_time_as_a_whole(server, tmp_path):
    def trickle(handler) -> None:
        for byte in b"HTTP/1.0 200 OK\r\n" + b"X-Padding: x\r\n" * 20:
            handler.wfile.write(bytes([byte]))
            time.sleep(0.05)

    server.answer = trickle
    began = time.monotonic()
    with pytest.raises(DownloadError, match="the connection broke.*after 1 attempts"):
        fetch(server.url, tmp_path, DownloadRules(allow_private_addresses=True, retries=0, timeout_s=0.5))
    assert time.monotonic() - began < 3


def test_nobody_listening_is_said(tmp_path):
    with pytest.raises(DownloadError, match="cannot be reached.*Connection refused.*after 1 attempts"):
        fetch("http://127.0.0.1:9/x", tmp_path)


def test_a_server_of_ours_is_trusted_at_its_door_alone(server, tmp_path):
    """A redirect to another port of the same machine leads to somebody else."""
    rules = replace(RULES, allow_private_addresses=False, trusted=frozenset({urlsplit(server.url).netloc}))
    assert fetch(server.url, tmp_path, rules)
    server.answer = lambda handler: server.send(handler, status=302, body=b"", Location="http://127.0.0.1:1/x")
    with pytest.raises(ForbiddenAddressError):
        fetch(server.url, tmp_path, rules)


def test_a_secret_is_shown_to_the_hosts_that_may_see_it_and_follows_no_redirect_to_others(server, tmp_path):
    told = []

    def answer(handler) -> None:
        told.append((handler.headers["Host"].partition(":")[0], handler.headers.get("Authorization")))
        elsewhere = {1: "localhost", 2: "127.0.0.1"}.get(len(told))
        if elsewhere is None:
            server.send(handler)
        else:
            server.send(handler, status=302, body=b"", Location=server.url.replace("127.0.0.1", elsewhere))

    server.answer = answer
    fetch(server.url, tmp_path, replace(RULES, secret=Secret("LOW key:secret", ("127.0.0.1",))))
    assert told == [("127.0.0.1", "LOW key:secret"), ("localhost", None), ("127.0.0.1", "LOW key:secret")]
