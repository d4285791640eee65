"""What several pages say of one paper becomes one paper, field by field, in the documented order and in no other."""

import dataclasses
import datetime

import hypothesis.strategies as st
import pytest
from hypothesis import given

pytest.importorskip("lxml", reason="lxml is not installed (extra: scrape)")

from assets.papers.items import Paper, Parsed, Withdrawal
from assets.papers.merging import MergedPaper, PageHistory, Picture, Version, merge

DOI = "10.1234/x"


def day(crawl: int) -> datetime.date:
    return datetime.date(2026, 1, crawl)


def said(url: str, kind: str, *states, source: str = "a", order: int = 0, licence: str = "source's") -> PageHistory:
    """One state a crawl, from 1: a paper's fields, a list of papers, "missing", "moved", or None for no new answer."""
    versions = []
    for crawl, state in enumerate(states, 1):
        if isinstance(state, str):
            versions.append(Version(crawl, day(crawl), state))
        elif state is not None:
            papers = state if isinstance(state, list) else [state]
            versions.append(Version(crawl, day(crawl), "there", Parsed(papers=tuple(Paper(DOI, **{"url": url} | paper) for paper in papers))))
    return PageHistory(source, order, licence, url, kind, versions)


def merged(*pages: PageHistory, pictures: dict[str, str] | None = None) -> MergedPaper:
    known = pictures or {}
    (paper,) = merge(
        pages,
        picture_at=lambda _source, url, _crawl: Picture(known[url], None) if url in known else None,
        picture_changes=lambda _source, _url: [],
    )
    return paper


ARTICLE = said("http://a.example/1", "article", {"title": "article", "pages": ""})
LISTING = said("http://a.example/toc", "index", {"title": "listing", "pages": "1-2", "volume": "7"})
REGISTRY = said("http://b.example/works", "api", {"title": "registry", "pages": "3", "volume": "8", "issue": "9"}, source="b", order=1)


def test_article_pages_are_believed_before_listings_and_those_before_registries():
    fields = merged(REGISTRY, LISTING, ARTICLE).fields
    assert (fields.title, fields.pages, fields.volume, fields.issue) == ("article", "1-2", "7", "9")
    assert (fields.source, fields.url, fields.licence) == ("a", "http://a.example/1", "source's")


def test_the_first_source_in_params_is_believed_before_the_second():
    other = said("http://b.example/1", "article", {"title": "other", "licence": "CC0-1.0"}, source="b", order=1)
    assert merged(other, ARTICLE).fields.title == "article"
    assert merged(dataclasses.replace(other, order=0), dataclasses.replace(ARTICLE, order=1)).fields.title == "other"


def test_what_was_said_last_is_believed_first_within_a_source():
    older = said("http://a.example/old", "article", {"title": "old", "volume": "1"}, {"title": "old", "volume": "1"}, None, None)
    newer = said("http://a.example/new", "article", None, None, {"title": "new"})
    assert merged(older, newer).fields.title == "new" and merged(older, newer).fields.volume == "1"


def test_a_licence_on_a_page_is_believed_before_that_of_the_source():
    assert merged(said("http://a.example/1", "article", {"licence": "CC-BY-4.0"})).fields.licence == "CC-BY-4.0"


def test_the_picture_of_a_listing_is_taken_before_that_of_an_article_page_if_it_is_stored():
    article = said("http://a.example/1", "article", {"image_url": "logo"})
    listing = said("http://a.example/toc", "index", {"image_url": "toc"})
    assert merged(article, listing, pictures={"logo": "L", "toc": "T"}).fields.image_sha256 == "T"
    assert merged(article, listing, pictures={"logo": "L"}).fields.image_sha256 == "L"
    assert merged(article, listing).fields.image_url == "toc"


def test_a_page_that_stops_listing_a_paper_takes_nothing_back():
    listing = said("http://a.example/toc", "index", {"title": "listed", "abstract": "known"}, [])
    paper = merged(listing)
    assert paper.fields.abstract == "known" and paper.last_changed == day(1) and paper.withdrawn is None


def test_a_page_that_says_less_than_before_is_believed():
    paper = merged(said("http://a.example/1", "article", {"title": "t", "abstract": "wrong"}, {"title": "t"}))
    assert paper.fields.abstract == "" and paper.last_changed == day(2)


def test_pages_that_are_gone_are_believed_only_where_nobody_else_tells_of_the_paper():
    gone = said("http://a.example/1", "article", {"title": "gone"}, "missing", "missing")
    assert merged(gone, LISTING).fields.title == "listing" and merged(gone).fields.title == "gone"
    assert merged(gone, LISTING).withdrawn.reason == "gone"


def test_statements_of_one_page_complete_each_other():
    assert merged(said("http://a.example/toc", "index", [{"title": "first"}, {"title": "second", "volume": "3"}])).fields.volume == "3"


_STATE = (
    st.none()
    | st.sampled_from(["missing", "moved"])
    | st.lists(
        st.builds(
            lambda title, volume, status: {"title": title, "volume": volume, "status": status},
            st.sampled_from(["", "a", "b"]),
            st.sampled_from(["", "1"]),
            st.sampled_from(["published", "published", "retracted", "deleted"]),
        ),
        max_size=2,
    )
)
_PAGE = st.tuples(st.sampled_from(["article", "index", "api"]), st.sampled_from("ab"), st.lists(_STATE, min_size=1, max_size=5), st.booleans())


@given(st.lists(_PAGE, min_size=1, max_size=5), st.randoms())
def test_the_order_of_pages_does_not_matter_and_every_paper_is_dated_by_its_own_crawls(pages, random):
    histories = []
    for number, (kind, source, states, has_notice) in enumerate(pages):
        page = said(f"http://{source}.example/{number}", kind, *states, source=source, order="ab".index(source))
        if has_notice:
            notice = Parsed(withdrawals=(Withdrawal(DOI, "retracted", "words"),))
            page = dataclasses.replace(page, versions=[*page.versions, Version(9, day(9), "there", notice)])
        histories.append(page)
    shuffled = list(histories)
    random.shuffle(shuffled)
    pictures = {"picture_at": lambda *_: None, "picture_changes": lambda *_: []}
    first = merge(histories, **pictures)
    assert first == merge(shuffled, **pictures)
    for paper in first:
        assert day(paper.first_crawl) == paper.first_seen <= paper.last_changed
