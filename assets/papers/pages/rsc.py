"""Royal Society of Chemistry (pubs.rsc.org): issue lists of about 2010 and of today, and the landing pages of articles.

    <div class="grey_box_wrapper"><h2 class="title_text_s4_jrnls">
      <a name="C0XX00001A" href="/en/content/articlelanding/2011/xx/c0xx00001a">Title</a></h2>
      <i><b>Journ. Abbr.</b></i>, 2011, <b>47</b>, 842-846 <strong>DOI: </strong>10.1039/C0XX00001A
      <div title="Brief Abstract">…</div>
      <div class="GALoader"><img title="C0XX00001A" alt="Graphical abstract: …" src="a picture of waiting"></div></div>

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
from assets.papers.pages.issue_lists import Entry, Issue, first_of, issue_in, issue_list, landing_doi, of_class, page_range, publishers_article
from assets.papers.pages.markup import html_tree, text_of, tolerant

_BOXES = ("grey_box_wrapper", "capsule--article")
_STEPS = {"Previous Issue", "Next Issue"}
_GRAPHICAL_ABSTRACT = "graphical abstract"
_SERVICE = re.compile(r"""\burlGAImage\s*=\s*["']([^"']{1,500})["']""")
_USUAL_SERVICE = "http://pubs.rsc.org/services/images/RSCpubs.ePlatform.Service.FreeContent.ImageService.svc/ImageService/image/GA?id="
_CITED = re.compile(r"\b([12][0-9]{3}),\s*(?:([0-9]{1,4})\s*(?:\(([0-9]+)\))?,\s*)?([A-Za-z]?[0-9]+(?:\s*[-–−]\s*[A-Za-z]?[0-9]+)?)")
_ISSUE_NUMBER = re.compile(r"""\bIssueNo\s*=\s*["']([0-9]{1,3})["']""")


@tolerant
def parse(page: Page) -> Parsed:
    """The papers of an issue with their graphical abstracts, and the issues beside it; or the paper of a landing page."""
    if page.kind == "article":
        return publishers_article(page)
    root = html_tree(page)
    scripts = " ".join(element.text or "" for element in root.iter("script"))
    service = found[1] if (found := _SERVICE.search(scripts)) else _USUAL_SERVICE
    boxes = [(box, link) for box in of_class(root, *_BOXES, tags=("div", "section", "article", "li")) if (link := _landing(box)) is not None]
    steps = (link.get("href") for link in root.iter("a") if link.get("title") in _STEPS or link.get("rel") in ("next", "prev"))
    entries = (_entry(box, link, service) for box, link in boxes)
    return issue_list(page, root, _issue(root, [box for box, _ in boxes], scripts), entries, steps=steps)


def _issue(root: etree._Element, boxes: list[etree._Element], scripts: str) -> Issue:
    """Of what the papers say they are in; the number of the issue is in the scripts of about 2010, or in a heading."""
    number = _ISSUE_NUMBER.search(scripts)
    cited = next((found for box in boxes if (found := _CITED.search(_citation(box)))), None)
    headings = (text_of(heading) for heading in root.iter("title", "h1", "h2", "h3"))
    headed = Issue() if cited and cited[2] and number else issue_in(next((text for text in headings if "ssue" in text), ""))
    journal = text_of(first_of(boxes[0].findall(".//i/b"))) if boxes else ""
    return Issue(journal, (cited[2] or "") if cited else headed.volume, number[1] if number else headed.issue, None)


def _landing(box: etree._Element) -> etree._Element | None:
    return next((link for link in box.iter("a") if "/articlelanding/" in (link.get("href") or "")), None)


def _citation(box: etree._Element) -> str:
    """What the box cites: all that stands beside the journal's name, or the whole box of today."""
    name = box.find(".//i/b")
    return text_of(box if name is None else name.getparent().getparent())


def _entry(box: etree._Element, link: etree._Element, service: str) -> Entry:
    address = link.get("href").partition("?")[0]
    citation = _citation(box)
    links = (anchor.get("href") for anchor in box.iter("a") if "doi.org/10." in (anchor.get("href") or ""))
    doi = doi_in(citation) or doi_in(next(links, "")) or landing_doi(address)
    cited = _CITED.search(citation)
    if "capsule" in (box.get("class") or ""):
        title, said = next(of_class(box, "capsule__title"), link), next(of_class(box, "capsule__text"), None)
    else:
        title, said = link, next((part for part in box.iter("div") if part.get("title") == "Brief Abstract"), None)
    images = (image for image in box.iter("img") if _GRAPHICAL_ABSTRACT in (image.get("alt") or "").lower())
    return Entry(
        title=text_of(title),
        address=address,
        doi=doi,
        pages=page_range(cited[4]) if cited else "",
        abstract=text_of(said),
        picture=next((picture for image in images for picture in _figures(image, service)), ""),
    )


def _figures(image: etree._Element, service: str) -> Iterator[str]:
    """The addresses of a graphical abstract, best first."""
    for attribute in ("data-original", "data-src", "src"):
        if (address := image.get(attribute)) and not is_furniture(address):
            yield address
    if (number := (image.get("title") or "").strip()).isalnum():
        yield service + number
