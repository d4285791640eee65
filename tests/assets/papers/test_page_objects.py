import pytest

from assets.papers.items import Page, Parsed
from assets.papers.page_objects import find_page_object
from assets.papers.pages import PAGES


def test_ours_are_found_by_name_and_ones_own_by_module_and_function():
    assert find_page_object("acs") is PAGES["acs"]
    own = find_page_object("tests.assets.papers.crawl.tiny_site:parse")
    assert own(Page("http://x.example/", b"{}", "index", "x")) == Parsed()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("distil", "page 'distil' is not known .did you mean 'distill'"),
        ("", "is not known; there are: acs, "),
        ("no.such:parse", "cannot be imported: No module named 'no'"),
        ("json:parse", "cannot be imported: module 'json' has no attribute 'parse'"),
        (":parse", "cannot be imported"),
        ("json:__name__", "is no function"),
    ],
)
def test_what_is_wrong_with_a_name_is_said(name, words):
    with pytest.raises(ValueError, match=words):
        find_page_object(name)
