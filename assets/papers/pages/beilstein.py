"""Beilstein Journal of Organic Chemistry: lists of articles, and the articles at /bjoc/articles/VOLUME/NUMBER with their graphical abstracts.

Article pages speak `citation_*`; the DOI of volume 5 and later also follows from the address (10.3762/bjoc.VOLUME.NUMBER). The graphical abstract is
the image whose address, class or id, or that of an element around it, says so. Lists give the links to articles and to other lists.
"""

import re
from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

from lxml import etree

from assets.papers.items import Link, Page, Parsed, Problem
from assets.papers.pages.article import paper_links, read_article
from assets.papers.pages.facts import fingerprint, join
from assets.papers.pages.markup import html_tree, text_of, tolerant

_JOURNAL = "Beilstein Journal of Organic Chemistry"
_ARTICLE = re.compile(r"^/bjoc/(?:articles|abstract|content)/([0-9]{1,3})/([0-9]{1,4})/?$")
_LIST = re.compile(r"^/bjoc/(?:volumes?|issues?|browse|articles|latest|archive|series)(?:/[A-Za-z0-9_-]*)*/?$")
_LOWER = "translate({}, 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz')"
_SAYS_SO = "contains({0}, 'graphical-abstract') or contains({0}, 'graphicalabstract') or contains({0}, 'graphical_abstract')"
_GRAPHICAL_ABSTRACTS = etree.XPath(
    ".//img["
    + " or ".join(_SAYS_SO.format(_LOWER.format(where)) for where in ("@src", "@data-src"))
    + " or ancestor-or-self::*["
    + " or ".join(_SAYS_SO.format(_LOWER.format(where)) for where in ("@class", "@id"))
    + "]]"
)


@tolerant
def parse(page: Page) -> Parsed:
    """One article, or the links of a list."""
    if page.kind == "index":
        return Parsed(links=tuple(_links(page)))
    paper = read_article(page)
    if paper is None:
        return Parsed(problems=(Problem(page.url, "no title found on an article page; expected citation_title"),))
    doi = paper.doi or _doi(urlsplit(page.url).path)
    image = _graphical_abstract(html_tree(page), page.url)
    paper = replace(paper, key=doi or paper.key, doi=doi, journal=paper.journal or _JOURNAL, image_url=image)
    return Parsed(papers=(paper,), links=paper_links(paper))


def _doi(path: str) -> str:
    found = _ARTICLE.match(path)
    return f"10.3762/bjoc.{found[1]}.{found[2]}" if found and int(found[1]) >= 5 else ""


def _graphical_abstract(element: etree._Element, base: str) -> str:
    addresses = (picture.get("data-src") or picture.get("src") for picture in _GRAPHICAL_ABSTRACTS(element))
    return next((url for url in (join(base, address) for address in addresses) if url), "")


def _links(page: Page) -> Iterator[Link]:
    host = urlsplit(page.url).netloc
    seen = {page.url}
    for anchor in html_tree(page).iter("a"):
        url = join(page.url, anchor.get("href"))
        parts = urlsplit(url)
        if url in seen or parts.netloc != host:
            continue
        if _ARTICLE.match(parts.path):
            if text_of(anchor):  # an article is often linked twice, by its picture and by its title
                seen.add(url)
                yield Link(url, "article", fingerprint=fingerprint(text_of(anchor)), paper_key=_doi(parts.path))
        elif _LIST.match(parts.path) or (anchor.get("rel") == "next" and parts.path.startswith("/bjoc/")):
            seen.add(url)
            yield Link(url, "index")
