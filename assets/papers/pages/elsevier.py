"""Elsevier's ScienceDirect: issue lists of about 2010 and of today, and article pages. Lists have no DOIs; a paper is named by its address there.

<table class="resultRow">… <h3><a class="cLink" href="http://www.sciencedirect.com/science/article/pii/S0000000000000001">Title</a></h3>
  <i>Pages 3-4</i><br>Authors<br> …</table>          <div id="docRange">articles <b>1 - 17</b></div>

    <li class="js-article-list-item"><a class="article-content-title" href="/science/article/pii/…">Title</a>
      <dd class="js-article-page-range">Pages 3-4</dd></li>
"""

import re

from lxml import etree

from assets.papers.items import Page, Parsed
from assets.papers.page_rules import is_furniture
from assets.papers.pages.facts import date_in
from assets.papers.pages.issue_lists import Entry, first_of, has_class, issue_in, issue_list, pages_in, publishers_article
from assets.papers.pages.markup import html_tree, text_of, tolerant

_ENTRIES = etree.XPath(f"descendant::table[{has_class('resultRow')}] | descendant::li[{has_class('js-article-list-item')}]")
_TITLE_LINK = etree.XPath(
    f".//h3//a[@href] | .//a[{has_class('cLink', 'article-content-title')}] | .//a[contains(@href, '/article/pii/') or contains(@href, 'ArticleURL')]"
)
_PAGES = etree.XPath(f".//i | .//*[{has_class('js-article-page-range')}]")
_FIGURE = etree.XPath(
    f".//*[{has_class('graphAbs', 'graphical-abstract', 'js-graphical-abstract')}]//img/@src"
    " | .//img[contains(@alt, 'raphical abstract') or contains(@alt, 'raphical Abstract')]/@src"
)
_HEADING = etree.XPath("descendant::*[self::h1 or self::h2][contains(., 'Volume')]")
_RANGE = etree.XPath("descendant::*[@id='docRange']")
_STEPS = etree.XPath("descendant::a[contains(@title, 'volume/issue') or contains(@aria-label, 'vol/issue')]/@href")
_FROM_TO = re.compile(r"articles\s*([0-9]+)\s*[-–]\s*([0-9]+)")
_PII = re.compile(r"(?:/pii/|_ob=ArticleURL&_udi=)([A-Za-z0-9()-]{10,40})")


@tolerant
def parse(page: Page) -> Parsed:
    """The papers of an issue, and the issues beside it; or the paper of an article page."""
    if page.kind == "article":
        return publishers_article(page)
    root = html_tree(page)
    headed = text_of(first_of(_HEADING(root)))
    title = text_of(root.find(".//title"))
    issue = issue_in(headed, journal=title.partition(" | ")[0], day=date_in(headed.rpartition("(")[2].rstrip(")")))
    shown = _FROM_TO.search(text_of(first_of(_RANGE(root))))
    count = int(shown[2]) - int(shown[1]) + 1 if shown else None
    return issue_list(page, root, issue, map(_entry, _ENTRIES(root)), steps=_STEPS(root), count=count)


def _entry(entry: etree._Element) -> Entry | None:
    link = first_of(_TITLE_LINK(entry))
    if link is None:
        return None
    address = link.get("href")
    # What follows the identifier says where the reader came from.
    known = _PII.search(address)
    return Entry(
        title=text_of(link),
        address=address[: known.end()] if known else address,
        pages=next((pages for pages in (pages_in(text_of(element)) for element in _PAGES(entry)) if pages), ""),
        picture=next((picture for picture in _FIGURE(entry) if not is_furniture(picture)), ""),
    )
