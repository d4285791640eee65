"""Royal Society of Chemistry (pubs.rsc.org): issue lists of about 2010 and of today, and the landing pages of articles.

    <div class="grey_box_wrapper"><h2 class="title_text_s4_jrnls"><a name="C0XX00001A" href="/en/content/articlelanding/2011/xx/c0xx00001a">Title</a></h2>
      <i><b>Journ. Abbr.</b></i>, 2011, <b>47</b>, 842-846 <strong>DOI: </strong>10.1039/C0XX00001A
      <div title="Brief Abstract">…</div> <div class="GALoader"><img title="C0XX00001A" alt="Graphical abstract: …" src="a picture of waiting"></div></div>

    <div class="capsule capsule--article"><a href="/en/content/articlelanding/…"><h3 class="capsule__title">Title</h3></a>
      <img alt="Graphical abstract: …" data-original="…ImageType=GA…"> <div class="capsule__text">…</div> … <a href="https://doi.org/10.1039/…"></div>

In lists of about 2010 a script asks the publisher's picture service for the graphical abstract by the number in `title`; the page names that service
(`urlGAImage`) or it is the one that the landing pages name. The manuscript number, which is the end of the DOI, is also that of the landing page.
"""

import re
from collections.abc import Iterator

from lxml import etree

from assets.papers.items import Page, Parsed
from assets.papers.page_rules import is_furniture
from assets.papers.pages.facts import doi_in
from assets.papers.pages.issue_lists import Entry, Issue, first_of, has_class, issue_in, issue_list, page_range, publishers_article
from assets.papers.pages.markup import html_tree, text_of, tolerant

_BOXES = etree.XPath(f"//div[{has_class('grey_box_wrapper', 'capsule--article')}][.//a[contains(@href, '/articlelanding/')]]")
_TITLE_LINK = etree.XPath(".//*[self::h2 or self::h3 or self::h4]//a[contains(@href, '/articlelanding/')] | .//a[contains(@href, '/articlelanding/')]")
_TITLE = etree.XPath(f".//*[{has_class('capsule__title')}] | .//h2 | .//h3")
_SAID = etree.XPath(f".//*[@title='Brief Abstract'] | .//*[{has_class('capsule__text')}]")
_FIGURE = etree.XPath(".//img[starts-with(translate(@alt, 'GA', 'ga'), 'graphical abstract')]")
_STATED_DOI = etree.XPath(".//@href[contains(., 'doi.org/10.')] | .//text()[contains(., '10.')]")
_STEPS = etree.XPath("//a[@title='Previous Issue' or @title='Next Issue' or @rel='next' or @rel='prev']/@href")
_SERVICE = re.compile(r"""\burlGAImage\s*=\s*["']([^"']{1,500})["']""")
_USUAL_SERVICE = "http://pubs.rsc.org/services/images/RSCpubs.ePlatform.Service.FreeContent.ImageService.svc/ImageService/image/GA?id="
_NUMBER = re.compile(r"/articlelanding/(?:[^/?#]+/){0,3}([a-z0-9]{8,12})(?:[/?#]|$)", re.IGNORECASE)
_CITED = re.compile(r"([^,]{2,80}),\s*([12][0-9]{3}),\s*(?:([0-9]{1,4})\s*(?:\(([0-9]+)\))?,\s*)?([A-Za-z]?[0-9]+(?:\s*[-–−]\s*[A-Za-z]?[0-9]+)?)")
_ISSUE_NUMBER = re.compile(r"""\bIssueNo\s*=\s*["']([0-9]{1,3})["']""")


@tolerant
def parse(page: Page) -> Parsed:
    """The papers of an issue with their graphical abstracts, and the issues beside it; or the paper of a landing page."""
    if page.kind == "article":
        return publishers_article(page)
    root = html_tree(page)
    scripts = " ".join(element.text or "" for element in root.iter("script"))
    service = found[1] if (found := _SERVICE.search(scripts)) else _USUAL_SERVICE
    boxes = _BOXES(root)
    return issue_list(page, _issue(root, boxes, scripts), (_entry(box, service) for box in boxes), steps=_STEPS(root))


def _issue(root: etree._Element, boxes: list[etree._Element], scripts: str) -> Issue:
    """Of what the papers say they are in; the number of the issue is in the scripts of about 2010, or in a heading."""
    cited = next((found for box in boxes if (found := _CITED.search(text_of(box)))), None)
    headed = issue_in(next((text for text in map(text_of, root.iter("h1", "h2", "h3", "title")) if "ssue" in text), ""))
    number = _ISSUE_NUMBER.search(scripts)
    journal = text_of(first_of(boxes[0].findall(".//i/b"))) if boxes else ""
    return Issue(journal, (cited[3] or "") if cited else headed.volume, number[1] if number else headed.issue, None)


def _entry(box: etree._Element, service: str) -> Entry | None:
    link, title = first_of(_TITLE_LINK(box)), first_of(_TITLE(box))
    if link is None:
        return None
    address = link.get("href").partition("?")[0]
    number = _NUMBER.search(address)
    stated = next((doi for doi in map(doi_in, _STATED_DOI(box)) if doi), "")
    cited = _CITED.search(text_of(box))
    return Entry(
        title=text_of(title) if title is not None else text_of(link),
        address=address,
        doi=stated or (f"10.1039/{number[1].lower()}" if number else ""),
        pages=page_range(cited[5]) if cited else "",
        abstract=text_of(first_of(_SAID(box))),
        picture=next((picture for image in _FIGURE(box) for picture in _figures(image, service)), ""),
    )


def _figures(image: etree._Element, service: str) -> Iterator[str]:
    """The addresses of a graphical abstract, best first."""
    for attribute in ("data-original", "data-src", "src"):
        if (address := image.get(attribute)) and not is_furniture(address):
            yield address
    if (number := (image.get("title") or "").strip()).isalnum():
        yield service + number
