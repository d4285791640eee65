"""JATS: an article as XML, as PLOS, PubMed Central and many publishers give it.

Elements: https://jats.nlm.nih.gov/publishing/. The abstract is the plain one, else a summary or the one for the table of contents. The picture is the
graphical abstract's: of an abstract of that type, of a figure that says so, or drawn into the abstract as ACS does; `parse_first_figure` takes the
first figure where there is none. PLOS names figures by DOI, which its figure server resolves. Notices of retraction become Withdrawals.
"""

import re
from collections.abc import Callable, Iterator
from datetime import date

from lxml import etree

from assets.images.licences import spdx
from assets.papers.items import Page, Paper, Parsed, Problem, Withdrawal
from assets.papers.pages.article import is_withdrawn_title, paper_links
from assets.papers.pages.facts import date_in, date_of, doi_in, join, language_in, licence_in_words
from assets.papers.pages.folder_index import folder_links
from assets.papers.pages.markup import children, descendants, first, name_of, text_of, tolerant, xml_tree
from formats.plain_text import decode

_HREF = "{http://www.w3.org/1999/xlink}href"
_XML_LANG = "{http://www.w3.org/XML/1998/namespace}lang"
_NOTICES = {"retraction", "correction", "expression-of-concern", "addendum", "withdrawal", "removal"}
_WITHDRAWS = {"retracted-article", "withdrawn-article", "removed-article"}
_ABSTRACT_ORDER = ("", "abstract", "summary", "section", "toc", "short", "executive-summary", "editor", "editors-summary", "precis", "teaser")
_DATE_ORDER = ("epub", "pub", "electronic", "epub-ppub", "ppub", "collection")
# How figures call themselves that stand in a table of contents, as type or as heading.
_GRAPHICAL = re.compile(r"\bgraphical[ _-]?abstract\b|\bvisual[ _-]abstract\b|\btoc\b|\btable[ _-]of[ _-]contents\b|^graphical$", re.IGNORECASE)
_NO_FIGURE = {"disp-formula", "inline-formula", "table-wrap", "ref-list", "sub-article", "response"}
_LONGEST_CAPTION = 4_000
_THUMBNAIL = re.compile(r"thumb|preview|print", re.IGNORECASE)
_PICTURE = re.compile(r"\.(?:png|jpe?g|gif|webp|tiff?)$", re.IGNORECASE)
_PLOS_FIGURE = re.compile(r"^(?:info:doi/)?(10\.1371/journal\.([a-z]+)\.[0-9.]+[ge][0-9]+)$")
_PLOS_JOURNALS = {
    "pone": "plosone",
    "pbio": "plosbiology",
    "pmed": "plosmedicine",
    "pcbi": "ploscompbiol",
    "pgen": "plosgenetics",
    "ppat": "plospathogens",
    "pntd": "plosntds",
}


@tolerant
def parse(page: Page) -> Parsed:
    """The article of an XML file, or the links of a folder. Its picture is a graphical abstract, or there is none."""
    return Parsed(links=folder_links(page)) if page.kind == "index" else read_jats(page, first_figure=False)


@tolerant
def parse_first_figure(page: Page) -> Parsed:
    """The same, with the first figure for a picture where there is no graphical abstract."""
    return Parsed(links=folder_links(page)) if page.kind == "index" else read_jats(page, first_figure=True)


def read_jats(page: Page, *, first_figure: bool, body: bytes | None = None, address_of: Callable[[str], str] | None = None) -> Parsed:
    """What the article says. Raises BAD_INPUT for what is no XML.

    body: the XML, where the page is a package that holds it. address_of: gives the address of the picture that an article names, '' where it is none.
    """
    root = xml_tree(decode(page.body if body is None else body, page.content_type if body is None else ""))
    # The article may lie in an envelope, such as PubMed Central's.
    article = root if name_of(root) == "article" else next(descendants(root, "article"), None)
    meta = first(article, "front", "article-meta")
    if article is None or meta is None:
        return Parsed(
            problems=(Problem(page.url, f"not a JATS article: <{name_of(root)}> without front and article-meta; look at the source's `page`"),)
        )
    doi = next((doi for entry in children(meta, "article-id") if entry.get("pub-id-type") == "doi" and (doi := doi_in(text_of(entry)))), "")
    kind = article.get("article-type") or ""
    withdrawals = tuple(_withdrawals(meta, doi))
    # A notice is about another paper, and none itself.
    if kind in _NOTICES:
        return Parsed(withdrawals=withdrawals)
    title = text_of(first(meta, "title-group", "article-title"))
    if not title:
        return Parsed(problems=(Problem(page.url, "no article-title found; expected one in article-meta/title-group"),))
    image_url, caption = _picture(article, meta, address_of or (lambda stated: figure_address(stated, page.url)), first_figure=first_figure)
    paper = Paper(
        key=doi or page.url,
        url=page.url,
        doi=doi,
        journal=_journal(first(article, "front", "journal-meta")),
        volume=text_of(first(meta, "volume")),
        issue=text_of(first(meta, "issue")),
        pages=_pages(meta),
        date=_date(meta),
        title=title,
        image_url=image_url,
        caption=caption,
        abstract=_abstract(meta),
        licence=_licence(meta),
        language=language_in(article.get(_XML_LANG)),
        status="retracted" if is_withdrawn_title(title) else "published",
    )
    return Parsed(papers=(paper,), links=paper_links(paper), withdrawals=withdrawals)


def _journal(about: etree._Element | None) -> str:
    """The journal's title, else the abbreviation that libraries use."""
    if about is None:
        return ""
    short = (entry for entry in children(about, "journal-id") if entry.get("journal-id-type") == "nlm-ta")
    return text_of(next(descendants(about, "journal-title"), None)) or text_of(next(short, None))


def _abstract(meta: etree._Element) -> str:
    """The text of the best abstract, without its heading."""
    # Of several abstracts of one type the first counts.
    found = {(abstract.get("abstract-type") or "").lower(): abstract for abstract in reversed(list(children(meta, "abstract")))}
    for kind in _ABSTRACT_ORDER:
        if kind in found:
            for heading in children(found[kind], "title"):
                _empty(heading)
            # A figure drawn into the abstract has a label and a caption, which are no part of its text.
            for figure in descendants(found[kind], "fig", "fig-group"):
                _empty(figure)
            if text := text_of(found[kind]):
                return text
    return ""


def _empty(element: etree._Element) -> None:
    """Take all inside it away; what follows it stays."""
    for child in list(element):
        element.remove(child)
    element.text = ""


def _pages(meta: etree._Element) -> str:
    begin, end = text_of(first(meta, "fpage")), text_of(first(meta, "lpage"))
    return f"{begin}–{end}" if begin and end and begin != end else begin or text_of(first(meta, "elocation-id"))


def _date(meta: etree._Element) -> date | None:
    # The day it appeared on line comes before that of the printed issue.
    found: dict[str, date] = {}
    for entry in children(meta, "pub-date"):
        parts = {name_of(child): text_of(child) for child in entry}
        kind = (entry.get("pub-type") or entry.get("date-type") or entry.get("publication-format") or "").lower()
        day = date_of(parts.get("year"), parts.get("month"), parts.get("day")) or date_in(parts.get("string-date") or entry.get("iso-8601-date"))
        if day:
            found.setdefault(kind, day)
    return next((found[kind] for kind in _DATE_ORDER if kind in found), next(iter(found.values()), None))


def _licence(meta: etree._Element) -> str:
    """What the licence element links to, or names with its version."""
    permissions = first(meta, "permissions")
    for licence in children(permissions, "license") if permissions is not None else ():
        stated = [licence.get(_HREF), *(element.get(_HREF) or text_of(element) for element in descendants(licence, "ext-link", "uri", "license_ref"))]
        for text in [*stated, text_of(licence)]:
            if name := spdx(text):
                return name
        if name := licence_in_words(text_of(licence)):
            return name
    return ""


def _picture(article: etree._Element, meta: etree._Element, address_of: Callable[[str], str], *, first_figure: bool) -> tuple[str, str]:
    """The address of the picture and its caption. Must be asked for before the abstract is read, which loses its figures."""
    figures = [figure for figure in descendants(article, "fig") if not _is_within(figure, _NO_FIGURE)]
    abstracts = sorted(children(meta, "abstract"), key=lambda abstract: not _GRAPHICAL.search(_spaced(abstract.get("abstract-type"))))
    for place in [*abstracts, *filter(_is_graphical, figures), *(figures if first_figure else ())]:
        for graphic in _graphics(place):
            if url := address_of((graphic.get(_HREF) or "").strip()):
                return url, text_of(first(next(graphic.iterancestors("{*}fig"), None), "caption"))[:_LONGEST_CAPTION]
    return "", ""


def _graphics(place: etree._Element) -> Iterator[etree._Element]:
    """The pictures inside an element; formulas are none, and thumbnails come last."""
    found = [graphic for graphic in descendants(place, "graphic") if not _is_within(graphic, _NO_FIGURE, below=place)]
    found.sort(key=lambda graphic: bool(_THUMBNAIL.search(f"{graphic.get('specific-use')} {graphic.get('content-type')}")))
    return (graphic for graphic in found if graphic.get(_HREF))


def _is_graphical(figure: etree._Element) -> bool:
    """Whether a figure calls itself a graphical abstract: by its type, or by label and heading of its caption."""
    said = [figure.get("fig-type"), figure.get("specific-use"), text_of(first(figure, "label")), text_of(first(figure, "caption", "title"))]
    return any(_GRAPHICAL.search(_spaced(words)) for words in said)


def _spaced(words: str | None) -> str:
    return (words or "").replace("-", " ").strip()


def _is_within(element: etree._Element, names: set[str], *, below: etree._Element | None = None) -> bool:
    for ancestor in element.iterancestors():
        if ancestor is below:
            return False
        if name_of(ancestor) in names:
            return True
    return False


def figure_address(address: str, base: str) -> str:
    """The address of a figure that an article at `base` names by another address or by PLOS's DOI; '' for a bare name."""
    if plos := _PLOS_FIGURE.match(address):
        journal = _PLOS_JOURNALS.get(plos[2])
        return f"https://journals.plos.org/{journal}/article/figure/image?size=medium&id={plos[1]}" if journal else ""
    return join(base, address) if _PICTURE.search(address) else ""


def _withdrawals(meta: etree._Element, doi: str) -> Iterator[Withdrawal]:
    for related in children(meta, "related-article"):
        target = doi_in(related.get(_HREF))
        if (related.get("related-article-type") or "").lower() in _WITHDRAWS and target and target != doi:
            yield Withdrawal(target, "retracted", f"retraction notice {doi}".strip())
