from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from scrapy.http import Response

from assets.papers.crawl.politeness import _wait_s


@pytest.mark.parametrize(("header", "expected"), [("120", 120), ("0", 0), ("", 1), ("soon", 1), ("-5", 1), ("9" * 40, 999_999_999)])
def test_how_long_a_server_asks_to_wait(header, expected):
    assert _wait_s(Response("http://x.example/", headers={"Retry-After": header}), tries=0) == expected


def test_a_date_to_wait_for():
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 85 < _wait_s(Response("http://x.example/", headers={"Retry-After": later}), tries=0) <= 90
    assert _wait_s(Response("http://x.example/", headers={"Retry-After": "Mon, 01 Jan 2001 00:00:00 GMT"}), tries=0) == 0


def test_without_a_word_patience_grows():
    assert [_wait_s(Response("http://x.example/"), tries=tries) for tries in range(4)] == [1, 2, 4, 8]
