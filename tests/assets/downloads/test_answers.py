"""Small answers come whole, in time and within bounds, by the same rules as files."""

import time

import pytest

from assets.downloads.answers import ask
from assets.downloads.guarded_http import TooLargeError, UnavailableError
from assets.downloads.one_file import DownloadRules
from tests.assets.downloads.conftest import CONTENT

RULES = DownloadRules(allow_private_addresses=True, first_wait_s=0.01, retries=1, timeout_s=0.4, pause_s=0.0)


def test_the_answer_comes_with_its_head(server):
    answer = ask(server.url, RULES, RULES.hosts())
    assert (answer.status, answer.body, answer.url, answer.headers["Content-Length"]) == (200, CONTENT, server.url, str(len(CONTENT)))


def test_an_answer_that_is_too_large_is_left(server):
    with pytest.raises(TooLargeError, match="the answer is larger than 1,000 bytes"):
        ask(server.url, RULES, RULES.hosts(), max_bytes=1_000)


def test_half_an_answer_is_asked_for_again(server):
    server.once(lambda handler: server.send(handler, body=b"half", length=9))
    assert ask(server.url, RULES, RULES.hosts()).body == CONTENT


def test_an_answer_that_trickles_is_left_in_time(server):
    def trickle(handler) -> None:
        server.send(handler, body=b"", length=1_000)
        for _ in range(100):
            handler.wfile.write(b"x" * 5)
            time.sleep(0.02)

    server.answer = trickle
    began = time.monotonic()
    with pytest.raises(UnavailableError, match="the answer did not come within 0 s"):
        ask(server.url, RULES, RULES.hosts())
    assert time.monotonic() - began < 2


def test_a_server_in_trouble_is_asked_again_and_then_given_up(server):
    server.answer = lambda handler: server.send(handler, status=500)
    with pytest.raises(UnavailableError, match="status 500, after 2 attempts; try again later"):
        ask(server.url, RULES, RULES.hosts())
    assert len(server.requests) == 2
