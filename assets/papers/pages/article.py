"""A page about one paper, on any site: read from the metadata that publishers write for search engines and reference managers.

Precedence, field by field: Highwire (`citation_*`), Dublin Core (`dc.*`, `dcterms.*`, any letter case) and PRISM, JSON-LD, the page's own abstract
and figure, Open Graph and Twitter cards, and last the plain elements of the page. Where the page's heading says the same with subscripts, it is the
heading that counts. A listing (kind index) gives links to the pages below it. A cover, a table of contents, a homepage and a page that is called like
its site are no papers.
"""

import copy
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any
from urllib.parse import urlsplit

from lxml import etree

from assets.images.licences import spdx
from assets.papers.items import Link, Page, Paper, Parsed, Problem
from assets.papers.page_rules import is_furniture
from assets.papers.pages.facts import date_in, doi_in, fingerprint, join, language_in, licence_in_words
from assets.papers.pages.folder_index import folder_links
from assets.papers.pages.markup import html_tree, json_of, text_of, tolerant
from formats.plain_text import plain_text

_ABSTRACTS = etree.XPath(
    "descendant::*[@id='abstract' or @id='Abs1-content' or @id='Abs1' or @id='abs' or @id='abstractBox' or @id='lblAbstractValue']"
    " | descendant::*[self::section or self::div or self::p]["
    " contains(concat(' ', normalize-space(@class), ' '), ' abstract ') or contains(concat(' ', normalize-space(@class), ' '), ' hlFld-Abstract ')]"
    " | descendant::p[contains(@class, 'articleBody_abstractText')]"
    " | descendant::*[self::h1 or self::h2 or self::h3 or self::h4][normalize-space() = 'Abstract']/parent::*[self::section or self::div]"
)
_LOWER_ALT = "translate(normalize-space(@alt), 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', 'abcdefghijklmnopqrstuvwxyz')"
_TOC_FIGURES = etree.XPath(
    "descendant::*[contains(translate(@class, 'GA', 'ga'), 'graphical-abstract') or contains(@class, 'article_abstract-img')"
    " or contains(@class, 'toc-graphic') or contains(@class, 'graphicalAbstract')]/descendant-or-self::img"
    f" | descendant::img[{_LOWER_ALT} = 'abstract image' or starts-with({_LOWER_ALT}, 'graphical abstract') or {_LOWER_ALT} = 'toc graphic'"
    f" or {_LOWER_ALT} = 'thumbnail image of graphical abstract']"
)
# What lies in or beside an abstract and is not of it: elements that say so, and blocks that are hardly more than links.
_NAVIGATION = {"nav", "aside", "form", "button", "select", "figure", "footer", "header", "iframe"}
_NAVIGATION_CLASS = re.compile(
    r"(?:^|[-_ ])(?:nav|navigation|toolbar|tools?|menu|breadcrumbs?|share|sharing|social|bookmarks?|downloads?|permissions|reprints|jumplist|hidden"
    r"|keywords?|subject-terms|figures-at-a-glance|citation-tools|view-?links)(?:$|[-_ ])",
    re.IGNORECASE,
)
_BLOCKS_OF_LINKS = ("div", "ul", "ol", "dl", "p", "table")
_MOST_OF_LINKS = 0.6
_WORDS_OF_LINK = re.compile(r"\W*(?:(?:view|read|see|go to|download|get|open|show|continue)\b|(?:full[\s-]*text|pdf|html)\W*$)", re.IGNORECASE)
# An address that a script gives to a picture after the page has come.
_SET_BY_SCRIPT = re.compile(r"""\(\s*["']#([\w-]{1,100})["']\s*\)\.attr\(\s*["']src["']\s*,\s*["']([^"']{1,1000})["']""")
_OWN_DOI = etree.XPath(
    "descendant::*[contains(translate(@class, 'DOI', 'doi'), 'doi') or contains(translate(@id, 'DOI', 'doi'), 'doi')]"
    " | descendant::*[starts-with(translate(normalize-space(), 'DOI', 'doi'), 'doi')]"
)
_LONGEST_OWN_DOI = 120  # characters of an element that holds nothing but the paper's DOI with its label
_OF_REFERENCES = re.compile(r"\b(?:ref|refs|references?|citations?|bibliography|related|footnotes?|comments?)\b|cited", re.IGNORECASE)
_HEADING = re.compile(r"^(?i:abstract|summary|resumen|résumé|zusammenfassung)(?:[.:]\s*|\s+(?=[^a-z])|$)")
_LONGEST_ABSTRACT = 8_000  # characters; what is longer under such a name is a whole article
_BLURB = re.compile(r"peer[- ]reviewed.{0,80}\bjournal\b|\bjournal\b.{0,80}peer[- ]reviewed|open[- ]access resource", re.IGNORECASE)
_NO_PAPER = re.compile(
    r"(?:(?:inside|outside|front|back|journal|issue|graphical|inner|outer)[\s-]+){0,3}cover"
    r"(?:\s+(?:picture|image|feature|profile|art|page|story|caption)s?)?(?:\s*[:(–].*)?"
    r"|title page|(?:graphical\s+)?(?:table\s+of\s+)?contents(?:\s+(?:list|pages?|continued))?|graphical (?:abstracts|contents(?: list| entries)?)"
    r"|(?:front|back|end)[\s/-]*(?:back[\s-]*)?matter|(?:issue\s+)?(?:editorial\s+)?masthead|issue\s+(?:publication\s+)?information"
    r"|editorial\s+(?:advisory\s+)?board|(?:author|subject|keyword)\s+index|(?:instructions|guidelines|information)\s+(?:for|to)\s+authors"
    r"|advertise(?:ment|ments|rs|rs index)|home(?:\s*page)?|welcome|log\s?in|sign\s?in|search(?:\s+results)?|(?:page\s+)?not\s+found"
    r"|error(?:\s+[0-9]{3})?",
    re.IGNORECASE,
)
_FRONT_PAGE = re.compile(r"/?(?:(?:index|home|default)(?:\.[a-z]{3,5})?/?)?", re.IGNORECASE)
_WITHDRAWN_TITLE = re.compile(r"^\[?(?:retracted(?: article)?|withdrawn(?: article)?)\s*[:\]]", re.IGNORECASE)
_ARTICLE_TYPES = {
    "scholarlyarticle",
    "article",
    "blogposting",
    "newsarticle",
    "techarticle",
    "medicalscholarlyarticle",
    "report",
    "creativework",
    "learningresource",
}


def is_withdrawn_title(title: str) -> bool:
    """Whether the publisher has put RETRACTED: or WITHDRAWN: before the title."""
    return bool(_WITHDRAWN_TITLE.match(title))


def is_no_paper(title: str) -> bool:
    """Whether a title is that of a cover, a table of contents or another page that every issue or site has."""
    return bool(_NO_PAPER.fullmatch(title.strip(" .")))


@dataclass(frozen=True)
class Metadata:
    """The metadata of one page: values by lower-case name in document order, the JSON-LD object of the article, and the tree itself."""

    page: Page
    root: etree._Element
    values: dict[str, list[str]]
    linked: dict[str, Any]

    def first(self, *names: str) -> str:
        """The first non-empty value of the first of these names that has one."""
        return next((value for name in names for value in self.values.get(name, ()) if value), "")

    def all(self, *names: str) -> list[str]:
        """All values of these names, in this order of names."""
        return [value for name in names for value in self.values.get(name, ())]

    def said(self, *keys: str) -> str:
        """The first text under these keys of the JSON-LD object; of an object its name, address or value."""
        return next((text for key in keys for text in _texts(self.linked.get(key))), "")


def read_metadata(page: Page) -> Metadata:
    """All the metadata of an HTML page, in one pass."""
    root = html_tree(page)
    values: dict[str, list[str]] = defaultdict(list)
    for meta in root.iter("meta"):
        name = (meta.get("name") or meta.get("property") or meta.get("itemprop") or "").strip().lower()
        content = (meta.get("content") or "").strip()
        if name and content:
            values[name.removeprefix("bepress_")].append(content)
    return Metadata(page, root, values, _linked_data(root))


def read_article(page: Page, *, own_figure_only: bool = False) -> Paper | None:
    """The paper a page is about, or None where nothing on the page names one, or what it names is a cover, a list or the site itself.

    own_figure_only: the picture must be marked as the abstract's; what is meant for social media may be the journal's cover.
    """
    data = read_metadata(page)
    title = _title(data)
    if not title or _is_of_the_site(data, title):
        return None
    doi = _doi(data)
    return Paper(
        key=doi or page.url,  # not og:url, which many sites set to their front page
        url=page.url,
        doi=doi,
        journal=plain_text(data.first("citation_journal_title", "prism.publicationname") or _journal(data) or data.first("og:site_name")),
        volume=plain_text(data.first("citation_volume", "prism.volume") or _of_whole(data, "volumeNumber")),
        issue=plain_text(data.first("citation_issue", "prism.issue", "prism.number") or _of_whole(data, "issueNumber")),
        pages=_pages(data),
        date=_date(data),
        title=title,
        abstract=_abstract(data),
        image_url=_image(data, own_figure_only=own_figure_only),
        licence=_licence(data),
        language=_language(data),
        status="retracted" if is_withdrawn_title(title) else "published",
    )


def paper_links(paper: Paper) -> tuple[Link, ...]:
    """The link to a paper's picture, whose fingerprint changes with what the page says of the paper."""
    if not paper.image_url:
        return ()
    return (Link(paper.image_url, "image", fingerprint=paper_fingerprint(paper), paper_key=paper.key),)


def paper_fingerprint(paper: Paper) -> str:
    """Changes when the paper's title, abstract, date, picture or licence does."""
    return fingerprint(paper.title, paper.abstract, paper.date, paper.image_url, paper.licence, paper.status)


@tolerant
def parse(page: Page) -> Parsed:
    """One paper of an article page, or the links of a listing."""
    if page.kind == "index":
        return Parsed(links=folder_links(page))
    paper = read_article(page)
    if paper is None:
        words = (
            "no title found in citation_title, dc.title, JSON-LD, og:title, h1 or title, or that of a cover, a list of contents or the site itself"
        )
        return Parsed(problems=(Problem(page.url, words),))
    return Parsed(papers=(paper,), links=paper_links(paper))


def _is_of_the_site(data: Metadata, title: str) -> bool:
    """Whether the page is a cover, a homepage or called like its site or journal, and so about no paper."""
    if is_no_paper(title):
        return True
    names = [*data.all("og:site_name", "application-name", "citation_journal_title", "prism.publicationname"), _journal(data)]
    if any(name and _is_same(plain_text(name), title) for name in names):
        return True
    is_stated = data.first("citation_title", "citation_doi", "prism.doi", "dc.identifier", "dc.title") or data.linked
    return not is_stated and bool(_FRONT_PAGE.fullmatch(urlsplit(data.page.url).path)) and not urlsplit(data.page.url).query


def _title(data: Metadata) -> str:
    # Metadata decides what the title is, the heading how it is written: H₂O in a heading is H2O in metadata.
    stated = data.first("citation_title", "dc.title", "dcterms.title", "prism.title") or data.said("headline", "name")
    stated = stated or data.first("og:title", "twitter:title", "title")
    headings = [text for text in map(text_of, data.root.iter("h1")) if text]
    if title := plain_text(stated):
        return next((heading for heading in headings if _is_same(heading, title)), title)
    return next(iter(headings), text_of(data.root.find(".//title")))


def _is_same(one: str, other: str) -> bool:
    """Whether two texts differ in the typography of sub- and superscripts and spaces at most."""
    return one == other or _bare(one) == _bare(other)


def _bare(text: str) -> str:
    return re.sub(r"[\s_^()-]", "", unicodedata.normalize("NFKC", text).replace("−", "-")).casefold()


def _abstract(data: Metadata) -> str:
    own = [_HEADING.sub("", text_of(_without_navigation(element)), count=1) for element in _ABSTRACTS(data.root)]
    own = [text for text in own if 80 < len(text) < _LONGEST_ABSTRACT]
    # From what is made for an abstract to what may be any description; of the page's own elements the longest.
    candidates = [
        *data.all("citation_abstract", "dcterms.abstract", "dc.description.abstract"),
        *sorted(own, key=len, reverse=True)[:1],
        data.said("abstract"),
        *data.all("dc.description", "dcterms.description"),
        data.said("description"),
        *data.all("og:description", "twitter:description", "description"),
    ]
    texts = (plain_text(text) for text in candidates)
    # A description that praises the journal is not the paper's.
    stated = next((text for text in texts if text and text != "None" and not _BLURB.search(text[:400])), "")
    return next((text for text in own if stated and _is_nearly_all(text, stated)), stated)


def _is_nearly_all(text: str, stated: str) -> bool:
    """Whether the page shows the stated abstract, perhaps without a list of subjects that metadata appends to it."""
    if text == stated:
        return True
    one, other = _bare(text), _bare(stated)
    return one == other or (other.startswith(one) and len(one) > 0.8 * len(other))


def _without_navigation(element: etree._Element) -> etree._Element:
    """A copy without menus, tools and blocks that are hardly more than links."""
    element = copy.deepcopy(element)
    for inner in list(element.iterdescendants()):
        if isinstance(inner.tag, str) and _is_navigation(inner):
            _empty(inner)
    return element


def _is_navigation(element: etree._Element) -> bool:
    if element.tag in _NAVIGATION or _NAVIGATION_CLASS.search(f"{element.get('class') or ''} {element.get('id') or ''}"):
        return True
    if element.tag not in _BLOCKS_OF_LINKS:
        return False
    linked = ["".join(anchor.itertext()) for anchor in element.iter("a")]
    is_menu = len(linked) > 1 or (len(linked) == 1 and bool(_WORDS_OF_LINK.match(linked[0])))
    return is_menu and sum(map(len, linked)) > _MOST_OF_LINKS * len("".join(element.itertext()).strip())


def _empty(element: etree._Element) -> None:
    """Remove what is inside, and keep the text that follows it."""
    tail = element.tail
    element.clear()
    element.tail = tail


def _doi(data: Metadata) -> str:
    # From what is made for DOIs to addresses that may hold one; then what the page shows as its own.
    stated = data.all("citation_doi", "prism.doi", "dc.identifier", "dcterms.identifier", "dc.identifier.doi", "doi")
    stated += [*_texts(data.linked.get("identifier")), data.said("@id"), data.said("sameAs"), _canonical(data), data.page.url]
    return next((doi for doi in map(doi_in, stated) if doi), "") or _shown_doi(data)


def _shown_doi(data: Metadata) -> str:
    """The one DOI that stands alone in an element, such as 'DOI: 10.5555/x'; of several none, and references and comments have DOIs of others."""
    found: set[str] = set()
    around_others: set[etree._Element] = set()
    for element in reversed(_OWN_DOI(data.root)):  # what is inside comes before what is around it
        text = text_of(element) if element not in around_others else ""
        doi = doi_in(text) if len(text) <= _LONGEST_OWN_DOI else ""
        if doi:
            around = list(element.iterancestors())
            around_others.update(around)
            if not any(_OF_REFERENCES.search(f"{other.get('class') or ''} {other.get('id') or ''}") for other in (element, *around)):
                found.add(doi)
    return found.pop() if len(found) == 1 else ""


def _pages(data: Metadata) -> str:
    begin, end = data.first("citation_firstpage", "prism.startingpage"), data.first("citation_lastpage", "prism.endingpage")
    return plain_text(f"{begin}–{end}" if begin and end and begin != end else begin or data.said("pagination", "pageStart"))


def _date(data: Metadata) -> date | None:
    names = ("citation_publication_date", "citation_online_date", "citation_date", "dc.date", "dc.date.issued", "dcterms.issued", "dcterms.date")
    stated = data.all(*names, "prism.publicationdate", "article:published_time")
    dates = (date_in(text) for text in [*stated, data.said("datePublished", "dateCreated"), data.first("citation_year")])
    return next((found for found in dates if found), None)


def _image(data: Metadata, *, own_figure_only: bool) -> str:
    own = [address for picture in _TOC_FIGURES(data.root) for address in _addresses(data, picture)]
    stated = [] if own_figure_only else _stated_images(data)
    addresses = (join(data.page.url, text) for text in [*own, *stated] if text not in ("None", "none"))
    return next((url for url in addresses if url and not is_furniture(url)), "")


def _addresses(data: Metadata, picture: etree._Element) -> Iterator[str]:
    """Where a picture may be had: what a script gives it comes before what the page shows until then."""
    if name := picture.get("id"):
        texts = (element.text or "" for element in data.root.iter("script"))
        yield from (match[2] for text in texts if name in text for match in _SET_BY_SCRIPT.finditer(text) if match[1] == name)
    yield from (picture.get(attribute) or "" for attribute in ("data-src", "data-original", "src"))


def _stated_images(data: Metadata) -> list[str]:
    stated = [*_texts(data.linked.get("image")), data.said("thumbnailUrl")]
    stated += data.all("og:image", "og:image:url", "og:image:secure_url", "twitter:image", "twitter:image:src")
    return stated + [link.get("href") or "" for link in data.root.iter("link") if (link.get("rel") or "").lower() == "image_src"]


def _licence(data: Metadata) -> str:
    stated = [
        *data.all("dcterms.license", "dc.license", "dc.rights", "dcterms.rights", "citation_license", "dc.rights.license"),
        data.said("license"),
    ]
    stated += [element.get("href") or "" for element in data.root.iter("link", "a") if "license" in (element.get("rel") or "").lower().split()]
    if named := next((name for name in map(spdx, stated) if name), ""):
        return named
    linked = {spdx(anchor.get("href")) for anchor in data.root.iter("a") if "creativecommons.org/" in (anchor.get("href") or "")}
    if linked:
        return linked.pop() if len(linked) == 1 else ""  # several licences on one page: some picture's, not the paper's
    # Older articles name their licence in a sentence, without its address.
    return licence_in_words(" ".join("".join(data.root.itertext("p", "div", "span", "a", "li", "dd", "td", "em", "i", "b", "strong")).split()))


def _language(data: Metadata) -> str:
    stated = [*data.all("citation_language", "dc.language", "dcterms.language"), data.said("inLanguage")]
    stated += [data.root.get("lang") or data.root.get("{http://www.w3.org/XML/1998/namespace}lang") or "", data.first("og:locale")]
    return next((language for language in map(language_in, stated) if language), "")


def _canonical(data: Metadata) -> str:
    links = (link for link in data.root.iter("link") if (link.get("rel") or "").lower() == "canonical")
    return next((url for link in links if (url := join(data.page.url, link.get("href")))), "")


def _journal(data: Metadata) -> str:
    wholes = _wholes(data)
    periodicals = [whole for whole in wholes if "Periodical" in (whole["@type"] if isinstance(whole.get("@type"), list) else [whole.get("@type")])]
    said = next(_texts(data.linked.get("isPartOf")), "") if not wholes else ""
    return next((name for whole in [*periodicals, *wholes[-1:]] for name in _texts(whole.get("name"))), said)


def _of_whole(data: Metadata, key: str) -> str:
    """A number that JSON-LD gives of the article, or of what it is part of."""
    return next((text for thing in [data.linked, *_wholes(data)] for text in _texts(thing.get(key))), "")


def _wholes(data: Metadata) -> list[dict[str, Any]]:
    """What the article is part of, from the inside outwards: an issue, its volume, the journal."""
    wholes: list[dict[str, Any]] = []
    whole = data.linked.get("isPartOf")
    while isinstance(whole, dict) and len(wholes) < 4:
        wholes.append(whole)
        whole = whole.get("isPartOf")
    return wholes


def _linked_data(root: etree._Element) -> dict[str, Any]:
    """The JSON-LD object of the article; a broken script counts as none."""
    for element in root.iter("script"):
        if (element.get("type") or "").strip().lower() != "application/ld+json":
            continue
        try:
            value = json_of(element.text or "")
        except (ValueError, RecursionError):
            continue
        # Pages carry breadcrumbs, organisations and videos in the same way: only a kind of article counts.
        for item in _objects(value):
            kinds = item.get("@type")
            if {str(kind).lower() for kind in (kinds if isinstance(kinds, list) else [kinds])} & _ARTICLE_TYPES:
                return item
    return {}


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """The objects of a JSON-LD text at its top, in its list, in its graph, and what they are mainly about."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            yield item
            for key in ("@graph", "mainEntity"):
                inner = item.get(key)
                yield from (entry for entry in (inner if isinstance(inner, list) else [inner]) if isinstance(entry, dict))


def _texts(value: Any) -> Iterator[str]:
    """The texts of a JSON-LD value: itself, its members, or of an object its name, address or value."""
    if isinstance(value, str) and value.strip():
        yield value.strip()
    elif isinstance(value, int) and not isinstance(value, bool):
        yield str(value)
    elif isinstance(value, list):
        for member in value[:20]:
            if not isinstance(member, list):
                yield from _texts(member)
    elif isinstance(value, dict):
        for key in ("name", "url", "contentUrl", "value", "@id", "@value"):
            if isinstance(value.get(key), str) and value[key].strip():
                yield value[key].strip()
                return
