import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.papers.crawl.reservations import Reservation, is_reserved, read_reservations

URL = "http://x.example/articles/1?full=yes"
RULES = (Reservation("/articles/open", False), Reservation("/articles", True))


@pytest.mark.parametrize(
    ("location", "path", "expected"),
    [
        ("/", "/anything", True),
        ("/articles", "/articles/1", True),
        ("/articles", "/images/articles", False),
        ("/*/1", "/articles/1/abstract", True),
        ("/*.png$", "/images/1.png", True),
        ("/*.png$", "/images/1.png?size=2", False),
        ("/articles/1$", "/articles/1", True),
        ("/articles/1$", "/articles/12", False),
        ("*", "/", True),
    ],
)
def test_a_rule_covers_paths(location, path, expected):
    assert Reservation(location, True).covers(path) is expected


def test_a_response_speaks_for_itself_before_its_host_does():
    html = {"content-type": "text/html"}
    assert is_reserved(URL, html, b"<p>", RULES) is True
    assert is_reserved(URL, html, b'<head><META name="tdm-reservation" content="0">', RULES) is False
    assert is_reserved(URL, html | {"tdm-reservation": "1"}, b'<meta name="tdm-reservation" content="0">', ()) is True
    assert is_reserved("http://x.example/articles/open/2", html, b"", RULES) is False
    assert is_reserved("http://x.example/about", html, b"", RULES) is None
    assert is_reserved(URL, {"content-type": "image/png"}, b'<meta name="tdm-reservation" content="1">', ()) is None


def test_a_file_of_rules_is_read_as_far_as_it_makes_sense():
    rules = [{"location": "/a", "tdm-reservation": 1}, {"location": "/b", "tdm-reservation": "0"}, {"location": 7}, "?", {"tdm-reservation": 1}]
    assert read_reservations(json.dumps(rules).encode()) == (Reservation("/a", True), Reservation("/b", False))


@given(st.binary(max_size=50))
def test_whatever_is_sent_in_its_place_is_no_rule(body):
    assert isinstance(read_reservations(body), tuple)


@given(st.text("/ab*$", max_size=12), st.text("/ab", max_size=12))
def test_covering_agrees_with_a_regular_expression(location, path):
    import re

    inner = location.removesuffix("$")
    pattern = ".*".join(re.escape(part) for part in inner.split("*")) + ("$" if location.endswith("$") else "")
    assert Reservation(location, True).covers(path) == bool(re.match(pattern, path))
