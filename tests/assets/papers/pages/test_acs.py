"""Whatever an issue holds, both ages of the markup give it back."""

from dataclasses import dataclass
from datetime import date
from html import escape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assets.papers.items import Page
from assets.papers.pages import acs
from formats.plain_text import clean, plain_text

WORDS = st.text(alphabet=st.characters(codec="utf-8", exclude_categories=("Cs", "Cc", "Cn", "Co")), max_size=40)
TITLES = WORDS.filter(lambda text: plain_text(text) not in ("", "None"))


@dataclass(frozen=True)
class Item:
    number: int
    title: str
    abstract: str
    has_image: bool
    day: date

    @property
    def doi(self) -> str:
        return f"10.5555/x.{self.number}"

    @property
    def image(self) -> str:
        return f"/cms/{self.doi}/asset/images/medium/x{self.number}_0001.gif"


ITEMS = st.lists(
    st.builds(Item, st.integers(1, 99_999), TITLES, WORDS, st.booleans(), st.dates(date(1990, 1, 1), date(2030, 1, 1))),
    max_size=4,
    unique_by=lambda item: item.number,
)


def in_2020s(item: Item, lazy: str) -> str:
    picture = (
        f'<img src="/placeholder.gif" {lazy}="{item.image}">'
        if item.has_image and lazy != "src"
        else f'<img src="{item.image}">'
        if item.has_image
        else ""
    )
    abstract = f'<span class="hlFld-Abstract"><p>{escape(item.abstract)}</p></span>' if item.abstract else ""
    title = escape(item.title)
    return (
        f'<div class="issue-item clearfix"><h3 class="issue-item_title"><a href="/doi/{item.doi}" title="{title}">{title}</a></h3>'
        f'{picture}<span class="pub-date-value">{item.day:%B %d, %Y}</span>{abstract}</div>'
    )


def in_2010(item: Item, _lazy: str) -> str:
    figure = f"<script>show('{item.image}', 'Abstract Image');</script>" if item.has_image else ""
    abstract = f'<div class="articleAbstract"><p>{escape(item.abstract)}</p></div>' if item.abstract else ""
    return (
        f'<div class="articleBox"><div class="articleBoxMeta"><h2><a href="/doi/abs/{item.doi}">{escape(item.title)}</a></h2>'
        f'<div class="epubdate">Publication Date (Web): {item.day:%B %d, %Y} (Letter)</div></div>{figure}{abstract}</div>'
    )


@pytest.mark.parametrize("markup", [in_2020s, in_2010])
@settings(max_examples=60)
@given(items=ITEMS, lazy=st.sampled_from(["data-src", "data-original", "data-lazy-src", "src"]))
def test_an_issue_is_read_back_as_it_was_written(markup, items, lazy):
    body = "<!doctype html><html><body>" + "\n".join(markup(item, lazy) for item in items) + "</body></html>"
    result = acs.parse(Page("https://a.example/toc/x/12/3", body.encode(), "index", "x", "text/html; charset=utf-8"))
    assert bool(result.problems) == (not items)  # a list of nothing is told
    assert [(paper.doi, paper.title, paper.abstract, paper.date, paper.volume, paper.issue) for paper in result.papers] == [
        (item.doi, plain_text(item.title), _shown(item.abstract), item.day, "12", "3") for item in items
    ]
    assert [paper.image_url for paper in result.papers] == [f"https://a.example{item.image}" if item.has_image else "" for item in items]


def _shown(abstract: str) -> str:
    return "" if clean(abstract).lower() in ("", "none", "null", "undefined") else clean(abstract)


def test_items_within_items_beyond_any_missing_end_tag_are_reported():
    item = '<div class="issue-item"><h3><a href="/doi/10.5555/x.{}">T</a></h3>'
    body = "".join(item.format(number) for number in range(30))
    result = acs.parse(Page("https://a.example/toc/x/12/3", body.encode(), "index", "x"))
    assert 8 <= len(result.papers) < 30 and "nested" in result.problems[-1].words
