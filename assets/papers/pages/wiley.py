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
from assets.papers.pages.issue_lists import Entry, first_of, has_class, heading, issue_in, issue_list, pages_in, publishers_article
from assets.papers.pages.markup import html_tree, text_of, tolerant

_ENTRIES = etree.XPath(f"//*[{has_class('tocArticle')}] | //div[{has_class('issue-item')}][.//a[contains(@href, '/doi/')]]")
_TITLE_LINK = etree.XPath(f".//a[{has_class('issue-item__title')}] | .//*[self::h2 or self::h3 or self::h4]//a[contains(@href, '/doi/')] | ./a | .//a[contains(@href, '/doi/')]")
_LINES = etree.XPath(f".//p | .//li[{has_class('ePubDate', 'page-range')}] | .//span[{has_class('ePubDate')}]")
_PAGES = etree.XPath(f"./a/span | .//*[{has_class('page-range')}]")
_FIGURE = etree.XPath(".//img[contains(translate(@alt, 'GA', 'ga'), 'graphical abstract')] | .//div[contains(@class, 'abstract')]//img")
_SAID = etree.XPath(f".//*[{has_class('graphicalAbstract', 'tocAbstract', 'hlFld-Abstract')}]")
_JOURNAL = etree.XPath("//*[@id='productTitle'] | //meta[@name='citation_journal_title']/@content")
_NUMBER = etree.XPath(f"//*[{has_class('issueAndVolume')}] | //*[{has_class('cover-image__parent-item')}] | //title")
_MONTH = etree.XPath("//*[@id='metaData']//h2")
_STEPS = etree.XPath(f"//*[@id='previousLink' or @id='nextLink' or {has_class('content-navigation__btn--pre', 'content-navigation__btn--next')}]/@href")


@tolerant
def parse(page: Page) -> Parsed:
    """The papers of an issue, and the issues beside it; or the paper of an article page."""
    if page.kind == "article":
        return publishers_article(page)
    root = html_tree(page)
    title = text_of(root.find(".//title"))
    journal = next((text if isinstance(text, str) else text_of(text) for text in _JOURNAL(root)), "") or title.partition(" - Vol")[0].partition(": Vol")[0]
    # September/October 2011 is the first of September.
    month = text_of(first_of(_MONTH(root)))
    day = date_in(f"{month.partition('/')[0]} {month[-4:]}") if "/" in month else date_in(month)
    issue = issue_in(next((text for text in map(text_of, _NUMBER(root)) if "ol" in text), ""), journal=journal, day=day)
    return issue_list(page, issue, map(_entry, _ENTRIES(root)), steps=_STEPS(root))


def _entry(entry: etree._Element) -> Entry | None:
    link = first_of(_TITLE_LINK(entry))
    if link is None:
        return None
    lines = [text_of(line) for line in _LINES(entry)]
    pages = next((pages for pages in (pages_in(text_of(element)) for element in _PAGES(entry)) if pages), "")
    for span in link.findall("span"):
        if pages_in(text_of(span)):
            span.text = ""
    address = link.get("href") or ""
    return Entry(
        title=heading(link),
        address=address,
        doi=next((doi for line in lines if "DOI" in line and (doi := doi_in(line))), "") or doi_in(address.removesuffix("/abstract").removesuffix("/full")),
        pages=pages,
        date=next((day for line in lines if "ublished" in line and (day := date_in(line.partition("|")[0].rpartition(":")[2]))), None),
        abstract=text_of(first_of(_SAID(entry))),
        picture=next((address for image in _FIGURE(entry) if (address := image.get("data-src") or image.get("src")) and not is_furniture(address)), ""),
    )
