"""One file over loopback: verified, resumed, capped in size and time, whatever the server does."""

import hashlib
import time
from dataclasses import replace

import pytest

from assets.downloads.guarded_http import DownloadError
from assets.downloads.one_file import DownloadRules, Wanted, download
from tests.assets.downloads.conftest import CONTENT

SHA256 = hashlib.sha256(CONTENT).hexdigest()
RULES = DownloadRules(allow_private_addresses=True, first_wait_s=0.01, retries=2, timeout_s=5.0, pause_s=0.0)


@pytest.fixture
def part(tmp_path):
    return tmp_path / "folder/part"


def begun(part, content: bytes):
    part.parent.mkdir()
    part.write_bytes(content)
    return part


def fetch(server, part, rules=RULES, **more) -> str:
    return download(Wanted(server.url, part, **more), rules)


def test_the_bytes_arrive_and_their_checksum_is_told(server, part):
    sizes = []
    assert download(Wanted(server.url, part), RULES, size_now=sizes.append) == SHA256
    assert part.read_bytes() == CONTENT and sizes[-1] == len(CONTENT) and sizes == sorted(sizes)


@pytest.mark.parametrize("name", ["sha256", "md5", "sha1"])
def test_a_wrong_checksum_of_any_kind_names_both_and_keeps_nothing(server, part, name):
    right = {known: hashlib.new(known, CONTENT, usedforsecurity=False).hexdigest() for known in ("sha256", "md5", "sha1")}
    assert fetch(server, part, checksums=right | {name: right[name].upper()}) == SHA256
    part.unlink()
    wrong = "0" * len(right[name])
    with pytest.raises(DownloadError, match=f"checksum mismatch: 102,400 bytes with {name} {right[name]}, expected {wrong};.*pin the new {name}"):
        fetch(server, part, checksums=right | {name: wrong})
    assert not part.exists()


def test_a_complete_file_costs_no_request(server, part):
    begun(part, CONTENT)
    assert fetch(server, part, checksums={"sha256": SHA256}) == SHA256
    assert server.requests == []


def test_what_a_server_calls_its_trouble_is_told_in_one_short_line(server, part):
    server.answer = lambda handler: server.send(handler, status=302, Location=server.url)
    with pytest.raises(DownloadError) as caught:
        fetch(server, part)
    assert "infinite loop" in str(caught.value) and "\n" not in str(caught.value)

    def shout(handler):
        handler.send_response(404, "\x1b[31m" + "a" * 1_000)
        handler.end_headers()

    server.answer = shout
    with pytest.raises(DownloadError) as caught:
        fetch(server, part)
    assert str(caught.value).isprintable() and len(str(caught.value)) < 250


# An end too early.


@pytest.mark.parametrize("etag", ['"version 1"', None])
def test_a_broken_connection_is_continued_where_it_ended_if_the_file_is_vouched_for(server, part, etag):
    server.headers = {"ETag": etag} if etag else {}
    server.once(lambda handler: server.send(handler, body=CONTENT[:50_000], length=len(CONTENT)))
    assert fetch(server, part) == SHA256
    assert [wanted for _, wanted in server.requests] == [None, "bytes=50000-" if etag else None]
    server.once(lambda handler: server.send(handler, body=CONTENT[:50_000], length=len(CONTENT)))
    assert fetch(server, part.with_name("other"), checksums={"sha256": SHA256}) == SHA256
    assert server.requests[-1][1] == "bytes=50000-"


def test_halves_of_two_versions_do_not_become_one_file(server, part):
    def change_after_half(handler) -> None:
        server.send(handler, body=CONTENT[:50_000], length=len(CONTENT))
        server.content, server.headers = b"another" * 20_000, {"ETag": '"version 2"'}

    server.headers = {"ETag": '"version 1"'}
    server.once(change_after_half)
    fetch(server, part)
    assert part.read_bytes() == b"another" * 20_000


def test_a_later_run_continues_an_earlier_one(server, part):
    begun(part, CONTENT[:70_000])
    fetch(server, part, checksums={"md5": hashlib.md5(CONTENT, usedforsecurity=False).hexdigest()})
    assert server.requests == [("/file.csv", "bytes=70000-")]


def test_without_a_checksum_an_old_beginning_is_not_trusted(server, part):
    begun(part, b"of another file")
    assert fetch(server, part) == SHA256
    assert server.requests == [("/file.csv", None)]


@pytest.mark.parametrize("kind", ["ignores ranges", "sends another range", "has nothing more"])
def test_a_server_that_cannot_continue_sends_it_all(server, part, kind):
    begun(part, b"x" * len(CONTENT) if kind == "has nothing more" else CONTENT[:70_000])
    if kind == "ignores ranges":
        server.answer = server.send
    elif kind == "sends another range":
        server.once(lambda handler: server.send(handler, status=206, body=CONTENT[:100], Content_Range="bytes 0-99/102400"))
    assert fetch(server, part, checksums={"sha256": SHA256}) == SHA256


# Sizes.


@pytest.mark.parametrize("is_honest", [True, False])
def test_what_is_too_large_is_stopped_whether_or_not_the_server_says_so(server, part, is_honest):
    def dishonest(handler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(CONTENT)

    server.answer = server.send if is_honest else dishonest
    with pytest.raises(DownloadError, match="larger than 1,000 bytes, which is the limit"):
        fetch(server, part, replace(RULES, max_bytes=1_000))
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("claimed", "sent"), [(len(CONTENT) - 5, CONTENT), (len(CONTENT) + 5, CONTENT), (None, CONTENT[:-5]), (None, CONTENT + b"more")]
)
def test_a_file_of_another_size_than_its_source_says_is_refused(server, part, claimed, sent):
    def answer(handler) -> None:
        handler.send_response(200)
        if claimed is not None:
            handler.send_header("Content-Length", str(claimed))
        handler.end_headers()
        handler.wfile.write(sent)

    server.answer = answer
    with pytest.raises(DownloadError, match="bytes, expected 102,400"):
        fetch(server, part, bytes=len(CONTENT))
    assert len(server.requests) == 1


def test_a_server_that_promises_more_than_it_sends_is_given_up(server, part):
    server.answer = lambda handler: server.send(handler, length=len(CONTENT) + 9)
    with pytest.raises(DownloadError, match="the connection ended after 102,400 of 102,409 bytes, after 3 attempts"):
        fetch(server, part)


# Time.


def test_a_server_that_stalls_is_left(server, part):
    server.answer = lambda handler: (server.send(handler, body=CONTENT[:10], length=len(CONTENT)), time.sleep(1.5))
    began = time.monotonic()
    with pytest.raises(DownloadError, match="timed out.*after 1 attempts"):
        fetch(server, part, replace(RULES, timeout_s=0.3, retries=0))
    assert time.monotonic() - began < 1.4


def test_a_server_that_lets_it_trickle_is_left(server, part):
    def trickle(handler) -> None:
        server.send(handler, body=b"", length=len(CONTENT))
        for _ in range(100):
            handler.wfile.write(b"x")
            time.sleep(0.02)

    server.answer = trickle
    began = time.monotonic()
    with pytest.raises(DownloadError, match=r"only \d+ bytes came in \d+ s"):
        fetch(server, part, replace(RULES, timeout_s=0.4, retries=0))
    assert time.monotonic() - began < 1.9


# What servers say.


def test_a_busy_server_is_asked_again_and_then_given_up(server, part):
    lines = []
    server.answer = lambda handler: server.send(handler, status=503, body=b"")
    with pytest.raises(DownloadError, match="status 503, after 3 attempts; try again later"):
        download(Wanted(server.url, part), RULES, log=lines.append)
    assert len(server.requests) == 3 and len(lines) == 2


def test_a_server_that_asks_to_wait_is_waited_for(server, part):
    server.once(lambda handler: server.send(handler, status=429, body=b"", Retry_After="1"))
    assert fetch(server, part) == SHA256
    assert server.times[1] - server.times[0] >= 1.0


def test_a_server_that_asks_for_more_patience_than_there_is_is_not_asked_again(server, part):
    server.answer = lambda handler: server.send(handler, status=429, body=b"", Retry_After="3600")
    with pytest.raises(DownloadError, match="status 429, and its server asks to wait 3,600 s, after 1 attempts"):
        fetch(server, part)
    assert len(server.requests) == 1


def test_a_missing_file_is_not_asked_for_twice(server, part):
    server.answer = lambda handler: server.send(handler, status=404, body=b"")
    with pytest.raises(DownloadError, match=r"status 404 \(Not Found\)"):
        fetch(server, part)
    assert len(server.requests) == 1


def test_a_disk_that_cannot_be_written_is_no_fault_of_the_server(server, part):
    part.mkdir(parents=True)
    with pytest.raises(IsADirectoryError):
        fetch(server, part)
