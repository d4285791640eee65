"""What a stranger may send costs in proportion to how long it is: twice the page, at most three times the CPU, at sizes where a square would show."""

import gzip
import time
from collections.abc import Callable

import pytest

from assets.papers.crawl.guard.bot_walls import wall_in
from assets.papers.items import Page
from assets.papers.pages import oai
from assets.papers.pages.markup import html_tree
from assets.papers.warc_store import WarcError, decode_body
from formats.plain_text import clean

WIDGET = b'<div class="g-recaptcha">'
RECORD = b"<record><header><identifier>a</identifier></header><metadata>"


def wall(body: bytes) -> None:
    wall_in(200, {b"content-type": b"text/html"}, body)


def repository(body: bytes) -> None:
    oai.parse(Page("http://x.example/oai", body, "api", "x", "text/xml"))


def html(body: bytes) -> None:
    html_tree(Page("http://x.example/", body, "index", "x", "text/html"))


# name -> (what is read, the page of size n, n): one of n takes milliseconds, and took seconds where its cost was a square.
HOSTILE: dict[str, tuple[Callable, Callable, int]] = {
    "meta elements that never end": (wall, lambda n: b"<meta " * n, 5_000),
    "titles that never end": (wall, lambda n: b"<title " * n, 4_500),
    "opening brackets beside a captcha": (wall, lambda n: WIDGET + b"<" * n, 32_000),
    "scripts that never end beside a captcha": (wall, lambda n: WIDGET + b"<script " * n, 4_000),
    "combining marks in no order": (clean, lambda n: "a" + "\u0301\u0316" * n, 50_000),
    "records inside of records": (repository, lambda n: b"<ListRecords>" + RECORD * 60 + b"<t>xy</t>" * n + b"</metadata></record>" * 60, 4_000),
    "attributes without end": (html, lambda n: b"<p " + b" ".join(b"a%d=1" % i for i in range(n)) + b">x</p>", 30_000),
}


def cpu_s(read: Callable, body: bytes | str) -> float:
    """The least of three."""
    spent = []
    for _ in range(3):
        started = time.thread_time()
        read(body)
        spent.append(time.thread_time() - started)
    return min(spent)


@pytest.mark.parametrize("name", HOSTILE)
def test_twice_the_page_takes_at_most_three_times_as_long(name):
    read, make, size = HOSTILE[name]
    cpu_s(read, make(100))
    assert cpu_s(read, make(2 * size)) <= 3 * cpu_s(read, make(size)) + 0.01


def test_gzip_members_without_contents_are_counted_and_not_copied():
    empty = gzip.compress(b"")
    encoded = [("Content-Encoding", "gzip")]
    assert decode_body(gzip.compress(b"a") + empty * 5_000 + gzip.compress(b"b" * 100_000), encoded) == b"a" + b"b" * 100_000
    started = time.thread_time()
    with pytest.raises(WarcError, match="more than 10,000 gzip members"):
        decode_body(empty * 400_000, encoded, max_bytes=1 << 25)
    assert time.thread_time() - started < 2, "8 MB of empty members, copied as often as there are members, took minutes"


def test_bodies_of_slices_and_members_are_whole():
    parts = [bytes([n]) * 70_000 for n in range(5)]
    body = b"".join(gzip.compress(part, 0) for part in parts)
    encoded = [("Content-Encoding", "gzip")]
    assert decode_body(body, encoded) == b"".join(parts) == decode_body(body + b"\0padding", encoded)
    with pytest.raises(WarcError, match="holds more than"):
        decode_body(body, encoded, max_bytes=349_999)
    assert decode_body(body, encoded, max_bytes=350_000) == b"".join(parts)


def test_a_letter_keeps_as_many_marks_as_any_language_has():
    assert clean("a" + "\u0316" * 30 + "b") == "a" + "\u0316" * 30 + "b"
    assert clean("a" + "\u0316" * 31 + "b") == "a" + "\u0316" * 30 + "b"
    assert clean(clean("e\u0301" + "\u0316\u0301" * 40)) == clean("e\u0301" + "\u0316\u0301" * 40)
