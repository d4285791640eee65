from datetime import date
from urllib.parse import urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from assets.papers.pages.facts import date_in, date_of, doi_in, doi_in_path, fingerprint, join, language_in


@pytest.mark.parametrize(
    ("text", "doi"),
    [
        ("https://doi.org/10.1021/JACS.2C00343", "10.1021/jacs.2c00343"),
        ("doi:10.5555/a.(b)c.", "10.5555/a.(b)c"),
        ("(see 10.5555/abc)", "10.5555/abc"),
        ("/doi/abs/10.5555/ja1?prevSearch=x", "10.5555/ja1"),
        ("info:doi/10.5555%2Fx", "10.5555/x"),
        ("10.1002/(SICI)1521-3773(19980420)37:7&lt;", "10.1002/(sici)1521-3773(19980420)37:7&lt"),
        ("10.12/short prefix", ""),
        ("no doi", ""),
        (None, ""),
    ],
)
def test_a_doi_is_found_in_text(text, doi):
    assert doi_in(text) == doi


def test_a_doi_is_found_inside_an_image_path():
    assert doi_in_path("/cms/10.1021/jacs.2c00343/asset/images/medium/ja2c00343_0005.gif") == "10.1021/jacs.2c00343"
    assert doi_in_path("/appl/medium/ja-2015-063665_0002.gif") == ""


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2019/03/04", date(2019, 3, 4)),
        ("2019-03", date(2019, 3, 1)),
        ("2019", date(2019, 1, 1)),
        ("20190304", date(2019, 3, 4)),
        ("2021-05-06T07:08:09Z", date(2021, 5, 6)),
        ("Publication Date (Web): December 11, 2009 (Letter)", date(2009, 12, 11)),
        ("Published online 3rd Sept. 2011", date(2011, 9, 3)),
        ("March 2020", date(2020, 3, 1)),
        ("25/12/2020", date(2020, 12, 25)),
        ("12/25/2020", date(2020, 12, 25)),
        ("03/04/2020", None),  # April or March?
        ("2020-02-31", None),
        ("pp 1-12", None),
        ("", None),
        (None, None),
    ],
)
def test_a_date_is_found_where_it_is_certain(text, day):
    assert date_in(text) == day


def test_a_date_of_parts_needs_a_year():
    assert date_of("2012", "June", 7) == date(2012, 6, 7)
    assert date_of(2012) == date(2012, 1, 1)
    assert date_of(None, 6) is None
    assert date_of(2012, True) == date(2012, 1, 1)


def test_languages_are_two_letters_where_they_have_two():
    assert [language_in(tag) for tag in ("EN", "en_GB", "eng", "zh-Hant-TW", "English", "", None)] == ["en", "en", "en", "zh", "", "", ""]


@pytest.mark.parametrize(
    "href",
    [
        "data:image/gif;base64,R0",
        "javascript:x",
        "mailto:a@b",
        "#top",
        "",
        None,
        "http://[broken",
        "http://host:port/",
        "file:///etc/passwd",
        "http://",
    ],
)
def test_what_is_no_web_address_is_none(href):
    assert join("https://a.example/b/c", href) == ""


@given(st.text(), st.text())
def test_joined_addresses_are_ascii_http_addresses_or_nothing(base, href):
    url = join(base, href)
    assert url == "" or (url.isascii() and urlsplit(url).scheme in ("http", "https") and "#" not in url and " " not in url)


def test_joining_again_changes_nothing():
    url = join("http://a.example/x/", "Ünï%20cödé (1).png?q=a b")
    assert url == join(url, url) == "http://a.example/x/%C3%9Cn%C3%AF%20c%C3%B6d%C3%A9%20(1).png?q=a%20b"


@given(st.lists(st.text(), max_size=4), st.lists(st.text(), max_size=4))
def test_fingerprints_differ_when_facts_do(one, other):
    if "\x1f" not in "".join(one + other) and (one or [""]) != (other or [""]):
        assert fingerprint(*one) != fingerprint(*other)
