"""Wiley Online Library: issue lists of about 2010 and of today, and article pages.

    <div class="access"><input name="doi" value="10.1002/x.1"/></div>
    <div class="citation tocArticle"><a href="/doi/10.1002/x.1/abstract">Title<span> (pages 2–10)</span></a><p>Authors</p>
      <p>Article first published online: 11 OCT 2011 | DOI: 10.1002/x.1</p> <img alt="Thumbnail image of graphical abstract" src="…"></div>

    <div class="issue-item"><a href="/doi/10.1002/x.1" class="issue-item__title"><h2>Title</h2></a> <li class="page-range">Pages: 2-10</li>
      <li class="ePubDate">First Published: 11 October 2011</li> <div class="abstract-preview"><img src="…"></div></div>

The page's number of articles is not stated. Covers stand at the head of the issue, outside its entries.
"""

from lxml import etree

from assets.papers.items import Page, Parsed
from assets.papers.page_rules import is_furniture
from assets.papers.pages.facts import date_in, doi_in
from assets.papers.pages.issue_lists import Entry, has_class, issue_in, issue_list, of_class, pages_in, publishers_article
from assets.papers.pages.markup import html_tree, text_of, tolerant

_STEPS = etree.XPath(
    f"descendant::*[@id='previousLink' or @id='nextLink' or {has_class('content-navigation__btn--pre', 'content-navigation__btn--next')}]/@href"
)


@tolerant
def parse(page: Page) -> Parsed:
    """The papers of an issue, and the issues beside it; or the paper of an article page."""
    if page.kind == "article":
        return publishers_article(page)
    root = html_tree(page)
    title = text_of(root.find(".//title"))
    journal = text_of(root.find(".//*[@id='productTitle']")) or title.partition(" - Vol")[0].partition(": Vol")[0]
    # September/October 2011 is the first of September.
    month = text_of(root.find(".//*[@id='metaData']//h2"))
    day = date_in(f"{month.partition('/')[0]} {month[-4:]}") if "/" in month else date_in(month)
    number = text_of(next(of_class(root, "issueAndVolume", tags=("p", "div")), None))
    issue = issue_in(number or title, journal=journal, day=day)
    entries = of_class(root, "tocArticle", "issue-item", tags=("div", "section", "article", "li"))
    return issue_list(page, root, issue, (_entry(entry) for entry in entries if _links(entry)), steps=_STEPS(root))


def _links(entry: etree._Element) -> list[etree._Element]:
    return [link for link in entry.iter("a") if "/doi/" in (link.get("href") or "")]


def _entry(entry: etree._Element) -> Entry:
    links = _links(entry)
    link = next((link for link in links if "issue-item__title" in (link.get("class") or "")), links[0])
    lines = [text_of(line) for line in (*entry.iter("p"), *of_class(entry, "ePubDate", "page-range"))]
    # The pages of 2010 stand in the title, in brackets.
    pages = next((found for line in lines if line.startswith("Page") and (found := pages_in(line))), "")
    for span in link.findall("span"):
        if found := pages_in(text_of(span)):
            pages, span.text = found, ""
    address = link.get("href")
    return Entry(
        title=text_of(link),
        address=address,
        doi=next((doi for line in lines if "DOI" in line and (doi := doi_in(line))), "")
        or doi_in(address.removesuffix("/abstract").removesuffix("/full")),
        pages=pages,
        date=next((day for line in lines if "ublished" in line and (day := date_in(line.partition("|")[0].rpartition(":")[2]))), None),
        abstract=text_of(next(of_class(entry, "graphicalAbstract", "tocAbstract", "hlFld-Abstract"), None)),
        picture=next((address for image in entry.iter("img") if _is_figure(image) and (address := image.get("data-src") or image.get("src"))), ""),
    )


def _is_figure(image: etree._Element) -> bool:
    if "graphical abstract" in f"{image.get('alt')} {image.get('title')}".lower():
        return True
    return any("abstract" in (around.get("class") or "").lower() for around in image.iterancestors("div", "section")) and not is_furniture(
        image.get("src") or ""
    )
