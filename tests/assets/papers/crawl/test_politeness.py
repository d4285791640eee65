from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import pytest
from scrapy.http import Response

from assets.papers.crawl.politeness import Throttle, _wait_s


@pytest.mark.parametrize(("header", "expected"), [("120", 120), ("0", 0), ("", 1), ("soon", 1), ("-5", 1), ("9" * 40, 999_999_999)])
def test_how_long_a_server_asks_to_wait(header, expected):
    assert _wait_s(Response("http://x.example/", headers={"Retry-After": header}), tries=0) == expected


def test_a_date_to_wait_for():
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=90), usegmt=True)
    assert 85 < _wait_s(Response("http://x.example/", headers={"Retry-After": later}), tries=0) <= 90
    assert _wait_s(Response("http://x.example/", headers={"Retry-After": "Mon, 01 Jan 2001 00:00:00 GMT"}), tries=0) == 0


def test_without_a_word_patience_grows():
    assert [_wait_s(Response("http://x.example/"), tries=tries) for tries in range(4)] == [1, 2, 4, 8]


@pytest.mark.parametrize(("status", "expected_s"), [(200, 5.5), (304, 5.5), (404, 11.0), (503, 11.0)])
def test_unchanged_pages_make_pauses_shorter_as_pages_do(status, expected_s):
    """One slow answer, then many that are fast: by 304s alone the pause falls as it does by 200s."""
    throttle = Throttle.__new__(Throttle)
    throttle.target_concurrency, throttle.mindelay, throttle.maxdelay = 1.0, 0.0, 60.0
    slot = SimpleNamespace(delay=11.0)
    throttle._adjust_delay(slot, 0.0, Response("http://x.example/", status=status))
    assert slot.delay == expected_s
