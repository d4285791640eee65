"""Issue lists in the style of ACS Publications, of the 2020s and of about 2010, and their article pages.

What an item of an issue is, in the markup of the 2020s (other attributes and elements do not matter):

    <div class="issue-item clearfix">
      <h3 class="issue-item_title"><a href="/doi/10.1021/abc.1c00001" title="Title">Title with <sub>markup</sub></a></h3>
      <img data-src="/cms/10.1021/abc.1c00001/asset/images/medium/ab1c00001_0001.gif" src="placeholder.gif">    (or src)
      <span class="issue-item_jour-name"> <span class="issue-item_vol-num"> <span class="issue-item_issue-num"> <span class="issue-item_page-range">
      <span class="pub-date-value">January 3, 2022</span>
      <span class="hlFld-Abstract"><p>Abstract</p></span>            (any element whose class names an abstract; else the item's first <p>)
    </div>

Titles are the text of the link in the title element, else the `title` attribute of the first link that has one. Images that are missing, 'None',
inlined or placeholders count as none. In the markup of 2009 to 2011 pictures sit in script calls, whatever the function is called:

    <div class="articleBox">
      <input type="checkbox" name="doi" value="10.1021/ja0000001" />
      <div class="articleBoxMeta"><div class="titleAndAuthor"><h2><a href="/doi/abs/10.1021/ja0000001">Title</a></h2></div>
        <div class="coverdate">pp 1–10</div> <div class="epubdate">Publication Date (Web): December 11, 2009</div></div>
      <script type="text/javascript">genFigure('/appl/…/images/medium/ja-2009-000001_0001.gif', 'Abstract Image');</script>
      <div class="articleAbstract"><p>Abstract</p></div>
    </div>

The DOI comes from the item's links, fields or image path. Volume and issue that an item does not state come from the address /toc/CODE/VOLUME/ISSUE.
Links: every issue of the same journal that the page names, the article pages (`acs`, not `acs_lists`), and the images.
"""

import re
from collections.abc import Iterator
from urllib.parse import unquote, urlsplit

from lxml import etree

from assets.images.licences import spdx
from assets.papers.items import Link, Page, Paper, Parsed, Problem
from assets.papers.pages.article import is_withdrawn_title, paper_fingerprint, paper_links, read_article
from assets.papers.pages.facts import date_in, doi_in, doi_in_path, fingerprint, join
from assets.papers.pages.markup import html_tree, text_of, tolerant
from formats.plain_text import clean, plain_text


def _has_class(*names: str) -> str:
    return " or ".join(f"contains(concat(' ', normalize-space(@class), ' '), ' {name} ')" for name in names)


_ITEMS = etree.XPath(f"//*[{_has_class('issue-item', 'articleBox')}]")
_ABSTRACT_PARAGRAPHS = etree.XPath(".//p[ancestor-or-self::*[contains(@class, 'bstract')]]")
_PICTURES = etree.XPath(".//img")
_SCRIPTS = etree.XPath(".//script")
_WITH_DOI = etree.XPath(".//@doi | .//@data-doi | .//input/@value")
_PAGE_DATE = etree.XPath(f"//*[@id='date' or {_has_class('coverDate')}]")

_DEEPEST_ITEM = 8  # an end tag that is missing puts the next item into this one
_HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
_TITLE_CLASSES = {"issue-item_title", "art_title"}
_ISSUE_PATH = re.compile(r"^/toc/([^/]+)/([0-9]+)/([0-9][^/]*)/?$")
_IN_SCRIPT = re.compile(r"""["']([^"'<>\s]{1,500}\.(?:gif|jpe?g|png|webp|tiff?)(?:\?[^"'<>\s]{0,200})?)["']""", re.IGNORECASE)
_NOT_A_FIGURE = re.compile(
    r"spacer|blank|placeholder|transparent|loading|pixel|/icons?[/_.-]|icon\.|logo|authorchoice|open-?access|\.svg(?:$|\?)", re.IGNORECASE
)
_MISSING = {"", "none", "null", "undefined"}
_PAGES_LABEL = re.compile(r"^pp?\.?\s+", re.IGNORECASE)
_WANTED = {
    "issue-item_jour-name": "journal",
    "issue-item_vol-num": "volume",
    "issue-item_issue-num": "issue",
    "issue-item_page-range": "pages",
    "articlePageRange": "pages",
    "pub-date-value": "date",
    "epubdate": "date",
    "coverdate": "coverdate",
    "issue-item_year": "year",
    "issue-item_doi": "doi",
    "DOI": "doi",
}


@tolerant
def parse(page: Page) -> Parsed:
    """The papers of an issue list with links to their pages, pictures and the other issues; or the paper of an article page."""
    return _read(page, follow_articles=True)


@tolerant
def parse_lists(page: Page) -> Parsed:
    """As `parse`, but article pages are not asked for: issue lists have title, abstract and picture, and cost one request an issue."""
    return _read(page, follow_articles=False)


def _read(page: Page, *, follow_articles: bool) -> Parsed:
    if page.kind == "article":
        return _article(page)
    root = html_tree(page)
    papers: dict[str, Paper] = {}
    links: list[Link] = []
    problems: list[Problem] = []
    # Items of both ages of the markup, in page order. Broken markup nests them; each reads all inside it, so depth has to have an end.
    items = _ITEMS(root)
    everything = set(items)
    for item in items:
        if sum(around in everything for around in item.iterancestors()) > _DEEPEST_ITEM:
            problems.append(Problem(page.url, f"items nested more than {_DEEPEST_ITEM} deep; expected a list of them; the inner ones are left out"))
            break
        paper = _paper(item, page, root)
        if paper is None:
            problems.append(
                Problem(page.url, f"an item without title: '{text_of(item)[:100]}'; expected a link in an element issue-item_title or h2")
            )
        elif paper.key in papers:
            problems.append(Problem(paper.key, f"listed twice on {page.url}; the first one counts"))
        else:
            papers[paper.key] = paper
            if follow_articles and paper.url != page.url:
                links.append(Link(paper.url, "article", fingerprint=paper_fingerprint(paper), paper_key=paper.key))
            links += paper_links(paper)
    return Parsed(papers=tuple(papers.values()), links=(*_issue_links(root, page), *links), problems=tuple(problems))


def _article(page: Page) -> Parsed:
    """The article page adds what its metadata says; its picture is the abstract's figure, since og:image may be the journal's cover."""
    paper = read_article(page, own_figure_only=True)
    if paper is None:
        return Parsed(problems=(Problem(page.url, "no title found on an article page; expected citation_title, dc.title or h1"),))
    return Parsed(papers=(paper,), links=paper_links(paper))


def _paper(item: etree._Element, page: Page, root: etree._Element) -> Paper | None:
    anchors = [anchor for anchor in item.iter("a") if anchor.get("href")]
    title, anchor = _title(item, anchors)
    if not title:
        return None
    # What only together names the paper: the link's address, the item's fields, the picture's path.
    facts = _facts(item)
    image = _image(item, page.url)
    doi = _doi(item, anchors, anchor, facts, image)
    url = join(page.url, anchor.get("href")) if anchor is not None else ""
    if "/doi/" in url:
        url = url.partition("?")[0]  # it says where the reader came from
    from_address = _ISSUE_PATH.match(urlsplit(page.url).path)
    # An item without DOI and link of its own is named by its content, so that two of a page stay two papers.
    return Paper(
        key=doi or url or f"{page.source}:{fingerprint(title, image)}",
        url=url or page.url,
        doi=doi,
        journal=facts.get("journal", ""),
        volume=facts.get("volume") or (from_address[2] if from_address else ""),
        issue=facts.get("issue") or (from_address[3] if from_address else ""),
        pages=_PAGES_LABEL.sub("", facts.get("pages") or facts.get("coverdate", "")),
        date=date_in(facts.get("date"))
        or date_in(facts.get("coverdate"))
        or date_in(text_of(next(iter(_PAGE_DATE(root)), None)))
        or date_in(facts.get("year")),
        title=title,
        abstract=_abstract(item),
        image_url=image,
        licence=next((name for name in (spdx(link.get("href")) for link in anchors if "creativecommons" in link.get("href")) if name), ""),
        status="retracted" if is_withdrawn_title(title) else "published",
    )


def _title(item: etree._Element, anchors: list[etree._Element]) -> tuple[str, etree._Element | None]:
    """The title and the link that carries it."""
    # The title element's link first; then any link whose `title` attribute repeats it (2010s); then a link to the paper that has words.
    for anchor in item.iter("a"):
        if _is_in_title(anchor, item) and (title := plain_text(text_of(anchor)) or plain_text(anchor.get("title") or "")):
            return title, anchor if anchor.get("href") else None
    for anchor in anchors:
        if title := plain_text(anchor.get("title") or ""):
            return title, anchor
    for anchor in anchors:
        if "/doi/" in anchor.get("href") and (title := text_of(anchor)):
            return title, anchor
    return "", None


def _is_in_title(anchor: etree._Element, item: etree._Element) -> bool:
    for element in anchor.iterancestors():
        if element is item:
            return False
        if element.tag in _HEADINGS or not _TITLE_CLASSES.isdisjoint((element.get("class") or "").split()):
            return True
    return False


def _facts(item: etree._Element) -> dict[str, str]:
    """Journal, volume, issue, pages and dates, by the classes of the elements that hold them."""
    facts: dict[str, str] = {}
    for element in item.iter("span", "div", "li", "strong"):
        for name in (element.get("class") or "").split():
            if name in _WANTED:
                facts.setdefault(_WANTED[name], text_of(element))
    return facts


def _abstract(item: etree._Element) -> str:
    paragraphs = _ABSTRACT_PARAGRAPHS(item) or list(item.iter("p"))[:1]
    text = clean(" ".join(text_of(paragraph) for paragraph in paragraphs))
    return "" if text.lower() in _MISSING else text


def _image(item: etree._Element, base: str) -> str:
    """The picture that is shown in the end: lazy attributes come before `src`, script calls count where no element has one."""
    for picture in _PICTURES(item):
        for attribute in ("data-src", "data-original", "data-lazy-src", "src"):
            if url := _figure(picture.get(attribute), base):
                return url
        if url := _figure((picture.get("srcset") or picture.get("data-srcset") or "").split(",")[0].strip().partition(" ")[0], base):
            return url
    # The 2009 markup: of the pictures that scripts name, one under /medium/ counts first.
    called = [url for element in _SCRIPTS(item) for match in _IN_SCRIPT.finditer(_script_text(element)) if (url := _figure(match[1], base))]
    return next((url for url in called if "/medium/" in url), called[0] if called else "")


def _script_text(element: etree._Element) -> str:
    return (element.text or "").replace("\\/", "/")


def _figure(address: str | None, base: str) -> str:
    address = (address or "").strip()
    if address.lower() in _MISSING or _NOT_A_FIGURE.search(address):
        return ""
    return join(base, address)


def _doi(item: etree._Element, anchors: list[etree._Element], anchor: etree._Element | None, facts: dict[str, str], image: str) -> str:
    # From the certain to the inferred: the title's link, fields made for DOIs, other links (supplements have their own), the picture's path.
    def stated() -> Iterator[str]:
        yield doi_in(anchor.get("href")) if anchor is not None else ""
        yield from map(doi_in, _WITH_DOI(item))
        yield doi_in(facts.get("doi"))
        yield from (doi_in(link.get("href")) for link in anchors if "/doi/" in link.get("href") and "/suppl" not in link.get("href"))
        yield doi_in_path(image)

    return next((doi for doi in stated() if doi), "")


def _issue_links(root: etree._Element, page: Page) -> Iterator[Link]:
    """Other issues of the same journal, and the pages called next and previous."""
    here = urlsplit(page.url)
    own = re.match(r"^/(?:toc|loi)/([^/]+)", here.path)
    seen = {page.url}
    for anchor in root.iter("a", "link"):
        href = anchor.get("href")
        if not href or ("/toc/" not in href and anchor.get("rel") not in ("next", "prev")):
            continue
        url = join(page.url, href)
        target = urlsplit(url)
        # Shelves link to all journals of a publisher; only this one's issues were asked for.
        issue = _ISSUE_PATH.match(unquote(target.path))
        is_step = anchor.get("rel") in ("next", "prev")
        if url in seen or target.netloc != here.netloc or not (is_step or (issue and (own is None or issue[1] == own[1]))):
            continue
        seen.add(url)
        yield Link(url, "index")
