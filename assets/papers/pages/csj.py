"""Chemical Society of Japan (csj.jp, about 2010): the contents of an issue, one small table a paper, with its graphical abstract.

    <span class="autitle">Letters of Nothing</span> <span class="augr">Vol. 39, No. 3 (March, 2010)</span>
    <table class="features"><tr><td><span class="web">Web Release Date:</span> <span class="release">January 30, 2010</span></td></tr>
      <tr><td class="number">148</td><td class="title">Title</td></tr> <tr><td class="authors">…</td></tr>
      <tr><td class="link">[<a href="http://www.is.csj.jp/cgi-bin/…?id=xx/2010.148">Full Text PDF</a>]</td></tr>
      <tr><td colspan="3"><img src="gra_10mar/XX-091046figc.gif"/></td></tr> <tr><td class="text">Abstract</td></tr></table>

There are no DOIs and no pages about single papers: a paper is named by the address of its PDF, which is not asked for.
"""

from collections.abc import Iterator

from lxml import etree

from assets.papers.items import Page, Parsed
from assets.papers.page_rules import is_furniture
from assets.papers.pages.facts import date_in
from assets.papers.pages.issue_lists import Entry, first_of, has_class, issue_in, issue_list, publishers_article
from assets.papers.pages.markup import html_tree, text_of, tolerant

_ROWS = etree.XPath("descendant::tr[not(.//tr)]")
_RELEASE = etree.XPath(f".//span[{has_class('web')}]/following-sibling::span[{has_class('release')}]")
_CELLS = {name: etree.XPath(f".//td[{has_class(name)}]") for name in ("number", "title", "link", "text")}
_JOURNAL = etree.XPath(f"descendant::span[{has_class('autitle')}]")
_NUMBER = etree.XPath(f"descendant::span[{has_class('augr')}]")
_STEPS = etree.XPath("descendant::a[contains(@href, '/list') or contains(@href, '_list.') or contains(@href, 'newissue')]/@href")


@tolerant
def parse(page: Page) -> Parsed:
    """The papers of an issue; or the paper of an article page."""
    if page.kind == "article":
        return publishers_article(page)
    root = html_tree(page)
    said = text_of(first_of(_NUMBER(root)))
    day = date_in(said.rpartition("(")[2].rstrip(")").replace(",", ""))
    issue = issue_in(said, journal=text_of(first_of(_JOURNAL(root))), day=day)
    return issue_list(page, root, issue, _entries(root), steps=_STEPS(root))


def _entries(root: etree._Element) -> Iterator[Entry]:
    """Row by row: the day of release comes before a title, its link, picture and abstract after it, whatever tables lie around them."""
    released = None
    begun: dict[str, str] = {}
    day = None
    for row in _ROWS(root):
        if (release := first_of(_RELEASE(row))) is not None:
            released = date_in(text_of(release))
        if (title := first_of(_CELLS["title"](row))) is not None:
            if begun:
                yield _entry(begun, day)
            begun, day = {"title": text_of(title), "number": text_of(first_of(_CELLS["number"](row)))}, released
        elif begun:
            for name, text in _parts(row):
                begun.setdefault(name, text)
    if begun:
        yield _entry(begun, day)


def _parts(row: etree._Element) -> Iterator[tuple[str, str]]:
    for cell in _CELLS["link"](row):
        yield from (("address", anchor.get("href")) for anchor in cell.iter("a") if anchor.get("href"))
    yield from (("abstract", text_of(cell)) for cell in _CELLS["text"](row))
    yield from (("picture", image.get("src")) for image in row.iter("img") if image.get("src") and not is_furniture(image.get("src")))


def _entry(parts: dict[str, str], day: object) -> Entry:
    return Entry(
        title=parts["title"],
        address=parts.get("address", ""),
        pages=parts["number"],
        date=day,  # type: ignore[arg-type]
        abstract=parts.get("abstract", ""),
        picture=parts.get("picture", ""),
        is_page=False,
    )
