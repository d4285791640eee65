"""What the lists of all publishers have in common: an issue, its entries, the step to the next issue, and what is no paper.

A page object of a publisher says where in its markup these stand (an `Issue`, an iterable of `Entry`); `issue_list` makes papers and links of them.
"""

import datetime
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache

from lxml import etree

from assets.papers.items import Link, Page, Paper, Parsed, Problem
from assets.papers.page_rules import STATED_OTHERWISE, UNKNOWN_MARKUP
from assets.papers.pages.article import is_no_paper, is_withdrawn_title, paper_fingerprint, paper_links, read_article
from assets.papers.pages.facts import doi_in, fingerprint, join
from assets.papers.pages.markup import text_of

_VOLUME = re.compile(r"\bvol(?:ume)?\.?\s*([0-9]+[A-Za-z]?)", re.IGNORECASE)
_NUMBER = re.compile(r"\b(?:iss(?:ue)?|number|no|part|pt)\.?\s*([0-9]+[A-Za-z]?(?:[-–/][0-9]+)?)", re.IGNORECASE)
_FOLIO = r"(?:[A-Za-z]{0,4}[0-9]+[A-Za-z]{0,2}|[ivxlc]+(?![a-z]))"
_PAGES = re.compile(rf"(?<![A-Za-z])(?:pages?|pgs?|pp?)[.:]?\s*({_FOLIO}(?:\s*[-–−‐]\s*{_FOLIO})?)", re.IGNORECASE)
_RANGE = re.compile(r"\s*[-−‐–]\s*")
# Words of links that lead to a paper and are not its title.
_LABEL = re.compile(
    r"[\[(]?(?:abstract|full[\s-]*text|html|hi-?res|pdf|references|links|summary|supporting|supplement|cite|cited|citations?|request|permissions?"
    r"|purchase|buy|get access|first page|read|view|download|preview|figures?|doi|10\.|https?:|open access|rights|add to|more|»|[0-9\W]+$)",
    re.IGNORECASE,
)
_TO_TEXT = re.compile(r"[\[(]?\s*(?:abstract|full[\s-]*text|(?:view\s+)?(?:html|pdf))\b", re.IGNORECASE)
_LANDING = re.compile(r"/articlelanding/(?:[^/?#]+/){0,3}([a-z0-9]{8,12})(?:[/?#]|$)", re.IGNORECASE)
_PAGE_OF_PAPER = ("/doi/", "doi.org/10.", "/article/10.", "/articlelanding/", "/pii/")
_NOT_OF_PAPER = re.compile(r"/suppl|/issuetoc|\(issn\)|/(?:toc|loi|citedby|showCit)", re.IGNORECASE)
# Which of a paper's pages it is, behind the DOI.
_FORM = re.compile(r"/(?:abstract|full|pdf|summary|epdf)/?$")
_FEWEST_LINKED, _SHORTEST_TITLE = 3, 8


@dataclass(frozen=True)
class Issue:
    """What a list says once for all its papers."""

    journal: str = ""
    volume: str = ""
    issue: str = ""
    date: datetime.date | None = None


@dataclass(frozen=True)
class Entry:
    """One entry of a list. address, picture: as the page writes them. is_page: whether the address is a page about the paper, not its PDF."""

    title: str
    address: str = ""
    doi: str = ""
    pages: str = ""
    date: datetime.date | None = None
    abstract: str = ""
    picture: str = ""
    is_page: bool = True


def has_class(*names: str) -> str:
    """An XPath condition: the element is of one of these classes."""
    # Most elements fail at the first `contains`, which costs a tenth of the exact question.
    return (
        "(" + " or ".join(f"(contains(@class, '{name}') and contains(concat(' ', normalize-space(@class), ' '), ' {name} '))" for name in names) + ")"
    )


def first_of(found: list[etree._Element]) -> etree._Element | None:
    """The first element of an XPath's result."""
    return next(iter(found), None)


def of_class(element: etree._Element, *names: str, tags: tuple[str, ...] = ("*",)) -> Iterator[etree._Element]:
    """The elements below that are of one of these classes, in document order: at a third of an XPath's cost, for what is asked of every entry."""
    wanted = frozenset(names)
    return (inner for inner in element.iter(*tags) if (classes := inner.get("class")) and not wanted.isdisjoint(_words(classes)))


@lru_cache(maxsize=4096)
def _words(classes: str) -> frozenset[str]:
    return frozenset(classes.split())


def issue_in(text: str, *, journal: str = "", day: datetime.date | None = None) -> Issue:
    """Volume and number as a heading words them: 'Volume 47, Issue 3', 'Vol. 39, No. 3', 'Vol. 67 Part 3'."""
    volume, number = _VOLUME.search(text), _NUMBER.search(text)
    return Issue(journal, volume[1] if volume else "", number[1] if number else "", day)


def pages_in(text: str) -> str:
    """The pages that 'pp 12–17', 'Pages 12-17' or '(page 3)' name; '' where the text names none."""
    found = _PAGES.search(text)
    return page_range(found[1]) if found else ""


def page_range(text: str) -> str:
    """A range with one dash and no spaces."""
    return _RANGE.sub("–", text.strip())


def issue_list(
    page: Page,
    root: etree._Element,
    issue: Issue,
    entries: Iterable[Entry | None],
    *,
    steps: Iterable[str | None] = (),
    count: int | None = None,
) -> Parsed:
    """The papers of a list, links to their pages and pictures, and to other lists. entries: None = one that could not be read.

    Where there are none, those that the page links to by title count, and it is told as a problem that its markup is not known; so it is where not
    even these are found, and the page links to abstracts and texts all the same.
    steps: addresses of other lists as the page writes them. count: how many entries the page says it has; another number is told as a problem.
    """
    papers: dict[str, Paper] = {}
    links: list[Link] = []
    problems: list[Problem] = []
    met = 0
    entries = list(entries)
    if not entries and (entries := [*linked_entries(root)]):
        problems.append(unknown_markup(page, len(entries)))
    if not entries and (texts := _linked_texts(root)) >= _FEWEST_LINKED:
        problems.append(Problem(page.url, f"{UNKNOWN_MARKUP}, and {texts} links to abstracts and texts of papers; mend the page object"))
    for entry in entries:
        met += 1
        if entry is None or not entry.title:
            problems.append(Problem(page.url, f"entry {met} of the list has no title where one is expected; the others count"))
        elif not is_no_paper(entry.title):  # covers and tables of contents have DOIs, too
            paper = _paper(page, issue, entry)
            if paper.key in papers:
                problems.append(Problem(paper.key, f"listed twice on {page.url}; the first one counts"))
                continue
            papers[paper.key] = paper
            links += listed_links(page, paper, with_article=entry.is_page)
    if problem := count_problem(page, count, met):
        problems.append(problem)
    return Parsed(papers=tuple(papers.values()), links=(*_steps(page, steps), *links), problems=tuple(problems))


def linked_entries(root: etree._Element) -> list[Entry]:
    """The papers that a list of unknown markup links to by title, without pictures; none where they are too few to be a list."""
    titles: dict[str, tuple[str, str]] = {}
    for anchor in root.iter("a"):
        address = (anchor.get("href") or "").partition("#")[0].partition("?")[0]
        if any(part in address for part in _PAGE_OF_PAPER) and not _NOT_OF_PAPER.search(address):
            title, name = text_of(anchor), doi_in(_FORM.sub("", address)) or address
            if len(title) >= max(_SHORTEST_TITLE, len(titles.get(name, ("",))[0]) + 1) and not _LABEL.match(title):
                titles[name] = (title, address)
    entries = [Entry(title, address, doi_in(name) or landing_doi(address)) for name, (title, address) in titles.items()]
    return entries if len(entries) >= _FEWEST_LINKED else []


def landing_doi(address: str) -> str:
    """The DOI of a landing page of the Royal Society of Chemistry, which ends in the number of its manuscript; '' for any other address."""
    number = _LANDING.search(address)
    return f"10.1039/{number[1].lower()}" if number else ""


def _linked_texts(root: etree._Element) -> int:
    """How many addresses are linked to as an abstract or a full text."""
    return len({anchor.get("href") for anchor in root.iter("a") if anchor.get("href") and _TO_TEXT.match(text_of(anchor))})


def unknown_markup(page: Page, count: int) -> Problem:
    """That so many papers of a list are known by `linked_entries` alone."""
    return Problem(page.url, f"{UNKNOWN_MARKUP}; {count} papers were found by the links to them, without their pages; mend the page object")


def listed_links(page: Page, paper: Paper, *, with_article: bool) -> Iterator[Link]:
    """The links to a listed paper's own page and to its picture."""
    mark = paper_fingerprint(paper)
    if with_article and paper.url != page.url:
        yield Link(paper.url, "article", fingerprint=mark, paper_key=paper.key)
    if paper.image_url:
        yield Link(paper.image_url, "image", fingerprint=mark, paper_key=paper.key)


def count_problem(page: Page, stated: int | None, met: int) -> Problem | None:
    """That a list has not as many entries as it says; None where it has, or says nothing."""
    if stated is None or stated == met:
        return None
    return Problem(page.url, f"{STATED_OTHERWISE} {stated} articles, and {met} were found; its markup may have changed")


def publishers_article(page: Page) -> Parsed:
    """The paper of an article page, with the picture that the page calls its graphical abstract, never the journal's cover."""
    paper = read_article(page, own_figure_only=True)
    if paper is None:
        words = (
            "no title found on an article page, or that of a cover, a table of contents or the site itself; expected citation_title, dc.title or h1"
        )
        return Parsed(problems=(Problem(page.url, words),))
    return Parsed(papers=(paper,), links=paper_links(paper))


def heading(element: etree._Element, *, without: frozenset[str] = frozenset()) -> str:
    """The text of a title element without children of these classes, such as page numbers that are part of it."""
    if not without:
        return text_of(element)
    for child in list(element.iterdescendants("span", "abbr", "small")):
        if not without.isdisjoint((child.get("class") or "").split()):
            for inner in list(child):
                child.remove(inner)
            child.text = ""
    return text_of(element)


def _paper(page: Page, issue: Issue, entry: Entry) -> Paper:
    url = join(page.url, entry.address)
    return Paper(
        key=entry.doi or url or f"{page.source}:{fingerprint(entry.title, entry.picture)}",
        url=url or page.url,
        doi=entry.doi,
        journal=issue.journal,
        volume=issue.volume,
        issue=issue.issue,
        pages=entry.pages,
        date=entry.date or issue.date,
        title=entry.title,
        abstract=entry.abstract,
        image_url=join(page.url, entry.picture),
        status="retracted" if is_withdrawn_title(entry.title) else "published",
    )


def _steps(page: Page, addresses: Iterable[str | None]) -> Iterator[Link]:
    seen = {page.url}
    for address in addresses:
        url = join(page.url, address)
        if url and url not in seen:
            seen.add(url)
            yield Link(url, "index")
