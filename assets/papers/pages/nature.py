"""Nature Publishing Group (nature.com): tables of contents of about 2010 and of today, and article pages.

    <div class="compound"><h4 class="atl" id="nnone.1">Title <span class="hidden">- </span><span class="page"><abbr>pp</abbr>19 - 27</span></h4>
      <p class="doi">doi:10.1038/nnone.1</p> <img src="/nnone/journal/v3/n1/toc_images/nnone.1_toc.jpg" class="compound"/>
      <p class="annotation">What it is about</p> <p class="articlelinks"><a href="/nnone/journal/v3/n1/abs/nnone.1.html">Abstract</a></p></div>

    <article><h3 class="c-card__title"><a href="/articles/s00000-000-00000-0">Title</a></h3>
      <div class="c-card__summary">…</div> <time datetime="…"></article>

Only what lies in `toc_images` or in the card, or is called like the paper, is a picture of it; covers and advertisements are none.
"""

import re

from lxml import etree

from assets.papers.items import Page, Parsed
from assets.papers.page_rules import is_furniture
from assets.papers.pages.facts import date_in, doi_in
from assets.papers.pages.issue_lists import Entry, first_of, has_class, heading, issue_in, issue_list, of_class, pages_in, publishers_article
from assets.papers.pages.markup import html_tree, text_of, tolerant

_ENTRIES = etree.XPath(f"descendant::*[{has_class('atl')}]/.. | descendant::article[.//h3//a[contains(@href, '/articles/')]]")
_STEPS = etree.XPath(f"descendant::a[{has_class('prev', 'next', 'previous')} or @rel='next' or @rel='prev']/@href[not(contains(., '/articles/'))]")
_MONTH_AND_VOLUME = etree.XPath("descendant::*[self::h1 or self::h2][contains(., 'Volume')]")
_SHORTEST_NUMBER = 5
_OF_TITLE = re.compile(r"^(?:table of contents|contents|current issue|archive|volume [0-9]+.*?)\s*[:|]\s*", re.IGNORECASE)


@tolerant
def parse(page: Page) -> Parsed:
    """The papers of an issue with its own pictures of them, and the issues beside it; or the paper of an article page."""
    if page.kind == "article":
        return publishers_article(page)
    root = html_tree(page)
    title = _OF_TITLE.sub("", text_of(root.find(".//title"))).partition(" | ")[0]
    headed = text_of(first_of(_MONTH_AND_VOLUME(root)))
    issue = issue_in(headed, journal=title, day=date_in(headed.partition("Volume")[0] or headed))
    return issue_list(page, root, issue, map(_entry, _ENTRIES(root)), steps=_STEPS(root))


def _entry(entry: etree._Element) -> Entry:
    # An abstract's page before the full text, and either before the PDF.
    links = [href for anchor in entry.iter("a") if (href := anchor.get("href"))]
    address = next((href for part in ("/abs/", "/full/", "/articles/", "/pdf/") for href in links if part in href), "")
    title = next(of_class(entry, "atl"), None)
    title = entry.find(".//h3") if title is None else title
    dois = (doi_in(text_of(element)) for element in of_class(entry, "doi"))
    pages = pages_in(text_of(next(of_class(entry, "page"), None)))  # before the title, which is read without them
    doi = next((doi for doi in dois if doi), "")
    number = doi.rpartition("/")[2] or address.partition("?")[0].rpartition("/")[2].partition(".html")[0]
    pictures = (address for picture in entry.iter("img") for address in (picture.get("data-src"), picture.get("src")) if address)
    day = entry.find(".//time")
    return Entry(
        title=heading(title, without=frozenset({"hidden", "page"})) if title is not None else "",
        address=address.partition("#")[0],
        doi=doi,
        pages=pages,
        date=date_in(day.get("datetime")) if day is not None else None,
        abstract=text_of(next(of_class(entry, "annotation", "abs", "c-card__summary", "standfirst"), None)),
        picture=next((address for address in pictures if _is_of(number, address)), ""),
        is_page="/pdf/" not in address,
    )


def _is_of(number: str, address: str) -> bool:
    """Whether a picture is the paper's: one of the folder for these, of the cards of today, or a file that is called like the paper."""
    is_marked = "/toc_images/" in address or "media.springernature.com" in address
    return is_marked or (len(number) >= _SHORTEST_NUMBER and number in address.lower().rpartition("/")[2] and not is_furniture(address))
