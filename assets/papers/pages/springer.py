"""SpringerLink (link.springer.com): issue lists, and article pages. Written from its public markup, and not yet tried on saved lists.

<div class="toc-item"> or <li>  <h3 class="title"><a href="/article/10.1007/s00000-011-0001-1">Title</a></h3> <p class="pages">Pages 1-10</p>
<li class="primitive article"><p class="title"><a href="/content/0a1b2c3d4e5f6a7b/">Title</a></p> <p class="pages">1-10</p>        (until 2011)
<article class="c-card-open">   <h3 class="c-card-open__heading"><a href="https://link.springer.com/article/10.1007/…">Title</a></h3>
                                <span class="c-meta__item">Pages: 1 - 10</span> <img src="//media.springernature.com/…"></article>
"""

from lxml import etree

from assets.papers.items import Page, Parsed
from assets.papers.pages.facts import date_in, doi_in
from assets.papers.pages.issue_lists import Entry, first_of, has_class, issue_in, issue_list, pages_in, publishers_article
from assets.papers.pages.markup import html_tree, text_of, tolerant

_TITLE_LINKS = etree.XPath(
    "descendant::*[self::h2 or self::h3 or self::h4 or self::h5]//a[contains(@href, '/article/10.')]"
    f" | descendant::p[{has_class('title')}]//a[contains(@href, '/article/10.')]"
    f" | descendant::a[{has_class('title')}][contains(@href, '/article/10.')]"
    f" | descendant::*[{has_class('title')}]//a[contains(@href, '/content/') and not(contains(@href, '.pdf'))]"
)
_AROUND = etree.XPath(f"ancestor::*[self::article or self::li or {has_class('toc-item', 'primitive')}][1]")
_PAGES = etree.XPath(f".//*[{has_class('pages', 'page-range', 'c-meta__item', 'pagination')}]")
_SAID = etree.XPath(f".//*[{has_class('snippet', 'c-card__summary')}]")
_FIGURE = etree.XPath(".//img[contains(@src, 'media.springernature.com') or contains(@src, 'MediaObjects')]/@src")
_HEADING = etree.XPath("descendant::h1[contains(., 'olume')] | descendant::h2[contains(., 'olume')] | descendant::title")
_JOURNAL = etree.XPath(
    "descendant::meta[@name='citation_journal_title']/@content | descendant::*[@id='journalTitle']/text() | descendant::*[@id='title']//text()"
)
_STEPS = etree.XPath(
    "descendant::a[contains(@href, '/journal/') and (@rel='next' or @rel='prev' or contains(@class, 'next') or contains(@class, 'prev'))]/@href"
)


@tolerant
def parse(page: Page) -> Parsed:
    """The papers of an issue, and the issues beside it; or the paper of an article page."""
    if page.kind == "article":
        return publishers_article(page)
    root = html_tree(page)
    headed = text_of(first_of(_HEADING(root)))
    journal = next((text for text in map(str.strip, _JOURNAL(root)) if text), "") or text_of(root.find(".//title")).partition(" | ")[0]
    issue = issue_in(headed, journal=journal)
    return issue_list(page, root, issue, map(_entry, _TITLE_LINKS(root)), steps=_STEPS(root))


def _entry(link: etree._Element) -> Entry:
    around = first_of(_AROUND(link))
    around = link if around is None else around
    day = around.find(".//time")
    return Entry(
        title=text_of(link),
        address=link.get("href"),
        doi=doi_in(link.get("href")),
        pages=next((pages for pages in (pages_in(text_of(element)) for element in _PAGES(around)) if pages), ""),
        date=date_in(day.get("datetime")) if day is not None else None,
        abstract=text_of(first_of(_SAID(around))),
        picture=next(iter(_FIGURE(around)), ""),
    )
