"""What is remembered of a page is what it said, as long as the page and the code that read it are the same."""

import dataclasses
import datetime

import hypothesis.strategies as st
import pytest
from hypothesis import given

pytest.importorskip("lxml", reason="lxml is not installed (extra: scrape)")

from assets.papers import parsed_memo
from assets.papers.items import Paper, Parsed, Problem, Withdrawal
from assets.papers.pages import article, crossref
from assets.papers.parsed_memo import ParsedMemo, _from_json, _to_json, version_of
from assets.papers.raw_pages import StoredPage
from stages.source_code import SourceTree
from tests.assets.papers import stores

RECORD = StoredPage(
    *("http://a.example/1", "a", "article", 1, datetime.date(2026, 1, 1), datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), 200, "00" * 32),
    *("text/html", None, None, None, None, "crawl-00001.warc.gz", 10, 20),
)
_TEXT = st.text(st.characters(codec=None), max_size=20)
_PAPER = st.builds(Paper, *[_TEXT] * 7, st.none() | st.dates(), *[_TEXT] * 6, st.sampled_from(["published", "retracted", "deleted"]))
_PARSED = st.builds(
    Parsed,
    papers=st.lists(_PAPER, max_size=3).map(tuple),
    withdrawals=st.lists(st.builds(Withdrawal, _TEXT, st.sampled_from(["retracted", "deleted"]), _TEXT), max_size=2).map(tuple),
    problems=st.lists(st.builds(Problem, _TEXT, _TEXT), max_size=2).map(tuple),
)


@given(_PARSED)
def test_what_was_said_comes_back_unchanged(parsed):
    assert _from_json(_to_json(parsed)) == parsed


def test_what_is_published_is_found_and_what_nobody_asked_for_is_dropped(tmp_path):
    first = ParsedMemo(tmp_path)
    first.put("a", Parsed(papers=(Paper("k", "u", title="\ud800"),)))
    first.put("b", Parsed())
    first.close()
    second = ParsedMemo(tmp_path)
    assert second.lookup("a") == Parsed(papers=(Paper("k", "u", title="\ud800"),)) and second.lookup("c") is None
    second.keep_only(["a"])
    assert second.lookup("b") is None and second.lookup("a") is not None
    second.close()


def test_any_other_answer_or_version_has_another_key():
    key = ParsedMemo.key(RECORD, "v")
    changes = {"url": "x", "source": "x", "kind": "index", "content_type": "x", "content_sha256": "x", "warc": "x", "offset": 11}
    others = {ParsedMemo.key(dataclasses.replace(RECORD, **{name: value}), "v") for name, value in changes.items()}
    assert len(others | {key, ParsedMemo.key(RECORD, "w")}) == len(changes) + 2
    assert ParsedMemo.key(dataclasses.replace(RECORD, etag="x", crawl=7), "v") == key


def test_a_new_page_object_has_no_page_of_another_kind_read_again():
    ours = SourceTree(parsed_memo._ROOT, read=parsed_memo._source)
    every = SourceTree(parsed_memo._ROOT)
    for module in ("assets.papers.pages.article", "assets.papers.page_objects"):
        # Through the list of page objects each of them reaches all others.
        assert "assets/papers/pages/crossref.py" in every.closure(module) and "assets/papers/pages/crossref.py" not in ours.closure(module)
        assert ours.source(parsed_memo.REGISTRY).meaning == ""


def test_page_objects_have_versions_of_their_own():
    found = {version_of("article", article.parse), version_of("crossref", crossref.parse), version_of("json", stores.parse)}
    assert len(found) == 3 and version_of("article", article.parse) in found
