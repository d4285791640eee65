"""Statements about one paper find each other, in any order, and statements about two never do."""

import hypothesis.strategies as st
import pytest
from hypothesis import given

from assets.papers.identities import Identities, Said, paper_id, plain_doi
from assets.papers.items import Paper, Parsed


def said(*papers: Paper, kind="index", url="http://a.example/list", source="a", crawl=1) -> Said:
    return Said(source, url, kind, crawl, Parsed(papers=papers))


def groups(*versions: Said) -> list[set[str]]:
    identities = Identities(versions)
    found: dict[tuple, set[str]] = {}
    for version in versions:
        for paper in version.parsed.papers:
            found.setdefault(identities.paper_of(version, paper), set()).add(paper.title)
    return sorted(found.values(), key=sorted)


@pytest.mark.parametrize(
    "text", ["10.1021/JACS.1", "doi:10.1021/jacs.1", "https://doi.org/10.1021/jacs.1", "http://dx.doi.org/10.1021/jacs.1", " 10.1021/jacs.1 "]
)
def test_a_doi_has_one_plain_form(text):
    assert plain_doi(text) == "10.1021/jacs.1"


@pytest.mark.parametrize("text", ["", "10.1/x", "jacs.1", "http://a.example/10.1021/jacs.1", "10.1021/"])
def test_what_is_no_doi_has_none(text):
    assert plain_doi(text) == ""


def test_an_address_joins_a_listing_and_an_article_page():
    listing = said(Paper("http://a.example/1", "http://a.example/1", title="listed"))
    page = said(Paper("10.1234/x", "http://a.example/1", doi="10.1234/x", title="article"), kind="article", url="http://a.example/1")
    record = said(Paper("10.1234/X", "https://doi.org/10.1234/x", title="registry"), source="b", url="http://b.example/works", kind="api")
    assert groups(listing, page, record) == [{"listed", "article", "registry"}]


def test_the_address_of_an_article_page_joins_even_where_the_page_calls_itself_otherwise():
    listing = said(Paper("http://a.example/1?ref=toc", "http://a.example/1?ref=toc", title="listed"))
    page = said(Paper("10.1234/x", "http://a.example/1", doi="10.1234/x", title="article"), kind="article", url="http://a.example/1?ref=toc")
    assert groups(listing, page) == [{"listed", "article"}]


def test_an_address_of_two_dois_joins_nothing():
    first = said(Paper("10.1234/x", "http://a.example/1", title="x"), kind="article", url="http://a.example/1")
    second = said(Paper("10.1234/y", "http://a.example/1", title="y"))
    third = said(Paper("http://a.example/1", "http://a.example/1", title="z"), crawl=2)
    assert groups(first, second, third) == [{"x"}, {"y"}, {"z"}]


def test_equal_keys_of_two_sources_are_two_papers():
    one = said(Paper("oai:1", "", title="a"))
    other = said(Paper("oai:1", "", title="b"), source="b")
    assert groups(one, other) == [{"a"}, {"b"}]


def test_an_id_stays_when_a_doi_becomes_known_later():
    early = (1, "a", Paper("http://a.example/1", "http://a.example/1"))
    late = (3, "a", Paper("10.1234/x", "http://a.example/1", doi="10.1234/x"))
    assert paper_id([late, early]) == paper_id([early]) != paper_id([late])


_PAPER = st.builds(
    lambda number, doi, with_url: Paper(
        doi or f"http://a.example/{number}", f"http://a.example/{number}" if with_url else "", title=f"{number}-{doi}-{with_url}"
    ),
    st.integers(0, 4),
    st.sampled_from(["", "", "10.1234/a", "10.1234/b"]),
    st.booleans(),
)


@given(st.lists(st.lists(_PAPER, min_size=1, max_size=3), min_size=1, max_size=6), st.randoms())
def test_the_order_in_which_pages_are_read_does_not_matter(pages, random):
    versions = [said(*papers, url=f"http://a.example/list/{number}") for number, papers in enumerate(pages)]
    shuffled = list(versions)
    random.shuffle(shuffled)
    assert groups(*versions) == groups(*shuffled)
