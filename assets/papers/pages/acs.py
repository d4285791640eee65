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
inlined or placeholders count as none. In the markup of 2009 to 2011 the pictures of all papers sit in script calls before and outside the boxes,
keyed by DOI; the fourth argument says that a picture is the abstract's, and no other call names one that counts:

    <title>Journal of Nothing: Volume 131, Issue 9 (ACS Publications)</title>   <div id="date">March 11, 2009</div>   <!--totalCount66-->
    <script type="text/javascript">addFigure('10.1021/ja0000001','/appl/…/ja0000001','ja-2009-000001_0005.gif','true');</script>
    <div class="articleBox"><div class="articleBoxMeta">
        <h2><a href="/doi/abs/10.1021/ja0000001">Title with <img src="/entityImage/?text=0065,0301"/></a></h2>
        <div class="articleAuthors">…</div>pp 1–10
        <div><strong>Publication Date (Web): </strong>February 16, 2009</div> <div class="DOI"><strong>DOI:</strong> 10.1021/ja0000001</div></div>
      <input type="checkbox" name="doi" value="10.1021/ja0000001" />
    </div>

or in a call inside the box, whatever the function is called:

      <div class="coverdate">pp 1–10</div> <div class="epubdate">Publication Date (Web): December 11, 2009</div>
      <script type="text/javascript">genFigure('/appl/…/images/medium/ja-2009-000001_0001.gif', 'Abstract Image');</script>
      <div class="articleAbstract"><p>Abstract</p></div>

The DOI is the one that the item states as its own, since the title of a correction may link to the article it corrects; else that of its links,
fields or image path. What an item does not state of journal, volume, issue and date, the page states once, by its title, its date and its address
/toc/CODE/VOLUME/ISSUE. totalCountN says how many items there are; another number is a problem.
Links: every issue of the same journal that the page names, the article pages (`acs`, not `acs_lists`), and the images.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import lru_cache
from urllib.parse import unquote, urlsplit

from lxml import etree

from assets.images.licences import spdx
from assets.papers.items import Link, Page, Paper, Parsed, Problem
from assets.papers.page_rules import is_furniture
from assets.papers.pages.article import is_no_paper, is_withdrawn_title
from assets.papers.pages.facts import date_in, doi_in, doi_in_path, fingerprint, join
from assets.papers.pages.glyphs import spell_glyphs
from assets.papers.pages.issue_lists import (
    Issue,
    count_problem,
    issue_in,
    issue_list,
    linked_entries,
    listed_links,
    page_range,
    publishers_article,
    unknown_markup,
)
from assets.papers.pages.markup import html_tree, text_of, tolerant
from formats.plain_text import clean, plain_text

_ABSTRACT_PARAGRAPHS = etree.XPath(".//p[ancestor-or-self::*[contains(@class, 'bstract')]]")
_OWN_DOI = etree.XPath(".//@doi | .//@data-doi | .//input[@name='doi']/@value")
_WITH_DOI = etree.XPath(".//input/@value")

_DEEPEST_ITEM = 8  # an end tag that is missing puts the next item into this one
_ITEM_CLASSES = {"issue-item", "articleBox"}
_HEADINGS = {"h1", "h2", "h3", "h4", "h5", "h6"}
_TITLE_CLASSES = {"issue-item_title", "art_title"}
_ISSUE_PATH = re.compile(r"^/toc/([^/]+)/([0-9]+)/([0-9][^/]*)/?$")
_IN_SCRIPT = re.compile(r"""["']([^"'<>\s]{1,500}\.(?:gif|jpe?g|png|webp|tiff?)(?:\?[^"'<>\s]{0,200})?)["']""", re.IGNORECASE)
_NOT_A_FIGURE = re.compile(
    r"spacer|blank|placeholder|transparent|loading|pixel|/icons?[/_.-]|icon\.|logo|authorchoice|open-?access|\.svg(?:$|\?)", re.IGNORECASE
)
# The picture of an item of 2009 to 2011 lies in a folder of pictures of one size; all other pictures there are icons and letters.
_SIZED = re.compile(r"/images/(?:small|medium|large|gif)/")
_FIGURE_CALL = re.compile(
    r"""\(\s*["'](10\.[0-9]{4,9}/[^"'\s]{1,200})["']\s*,\s*["']([^"'\s]{1,500})["']\s*,\s*["']([^"'/\s]{1,200})["']\s*,\s*["']?true["']?\s*[,)]"""
)
_KEYED_CALL = re.compile(r"""\(\s*["']10\.[0-9]{4,9}/""")
_TOTAL_COUNT = re.compile(rb"<!--\s*totalCount\s*([0-9]{1,5})\s*-->")
_ISSUE_TITLE = re.compile(r"\s*(.+?)\s*(?:[:|]\s*(?=vol)|:\s|\||$)", re.IGNORECASE)
_PAGES_ALONE = re.compile(r"pp?\.?\s+([A-Za-z]{0,3}[0-9][0-9A-Za-z]*(?:\s*[-–−‐]\s*[0-9A-Za-z]+)?)")
_OWN_PAGE = re.compile(r"/doi/(?:abs/|full/)?10\.")
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
    if b"entit" in page.body:
        spell_glyphs(root)
    issue, figures = _issue(root, page), _abstract_figures(root)
    papers: dict[str, Paper] = {}
    links: list[Link] = []
    problems: list[Problem] = []
    # Items of both ages of the markup, in page order. Broken markup nests them; each reads all inside it, so depth has to have an end.
    items = [element for element in root.iter("div", "li", "article", "section", "tr") if _is_item(element.get("class") or "")]
    everything = set(items)
    depths: dict[etree._Element | None, int] = {}  # of what is around them, which most items share
    for item in items:
        parent = item.getparent()
        if parent not in depths:
            depths[parent] = sum(around in everything for around in item.iterancestors())
        if depths[parent] > _DEEPEST_ITEM:
            problems.append(Problem(page.url, f"items nested more than {_DEEPEST_ITEM} deep; expected a list of them; the inner ones are left out"))
            break
        paper = _paper(item, page, issue, figures)
        if paper is None:
            problems.append(
                Problem(page.url, f"an item without title: '{text_of(item)[:100]}'; expected a link in an element issue-item_title or h2")
            )
        elif paper.key in papers:
            problems.append(Problem(paper.key, f"listed twice on {page.url}; the first one counts"))
        elif not is_no_paper(paper.title):
            papers[paper.key] = paper
            links += listed_links(page, paper, with_article=follow_articles)
    stated = _TOTAL_COUNT.search(page.body)
    count = int(stated[1]) if stated else None
    if not items:
        linked = [replace(entry, picture=figures.get(entry.doi, "")) for entry in linked_entries(root)]
        parsed = issue_list(page, root, issue, linked, steps=(link.url for link in _issue_links(root, page)), count=count)
        return replace(parsed, problems=(unknown_markup(page, len(linked)), *parsed.problems)) if linked else parsed
    if problem := count_problem(page, count, len(items)):
        problems.append(problem)
    return Parsed(papers=tuple(papers.values()), links=(*_issue_links(root, page), *links), problems=tuple(problems))


@lru_cache(maxsize=1024)
def _is_item(classes: str) -> bool:
    return not _ITEM_CLASSES.isdisjoint(classes.split())


def _article(page: Page) -> Parsed:
    """The article page adds what its metadata says; its picture is the abstract's figure, since og:image may be the journal's cover."""
    parsed = publishers_article(page)
    cited = html_tree(page).find(".//*[@id='citation']")
    if cited is None or not parsed.papers:
        return parsed
    # Of 2010: <cite>Journal</cite>, 2010, <span class="citation_volume">10</span> (8), pp 1–10
    (paper,) = parsed.papers
    volume = text_of(cited.find(".//*[@class='citation_volume']"))
    rest = text_of(cited).rpartition(f"{volume} (")[2] if volume else ""
    pages = _PAGES_ALONE.search(rest)
    paper = replace(
        paper,
        journal=paper.journal or text_of(cited.find(".//cite")),
        volume=paper.volume or volume,
        issue=paper.issue or rest.partition(")")[0] if ")" in rest else paper.issue,
        pages=paper.pages or (page_range(pages[1]) if pages else ""),
    )
    return replace(parsed, papers=(paper,))


def _issue(root: etree._Element, page: Page) -> Issue:
    """What the page says once for all its items."""
    title = text_of(root.find(".//title"))
    named = _ISSUE_TITLE.match(title)
    logo = root.find(".//*[@id='journalLogo']//img")
    journal = clean(logo.get("alt") or "") if logo is not None else ""
    journal = journal or (named[1] if named and named.end() < len(title) else "")
    said = issue_in(title)
    # Papers that are in no issue yet are listed under 0/0.
    from_address = _ISSUE_PATH.match(urlsplit(page.url).path)
    volume, number = (said.volume, said.issue) if said.volume else from_address.groups()[1:] if from_address else ("", "")
    is_none_yet = volume.strip("0") == ""
    return Issue(journal, "" if is_none_yet else volume, "" if is_none_yet else number, date_in(text_of(_page_date(root))))


def _page_date(root: etree._Element) -> etree._Element | None:
    """What tells the day of the issue, looked up once a page."""
    day = root.find(".//*[@id='date']")
    return (
        day
        if day is not None
        else next((element for element in root.iter("div", "span", "p") if "coverDate" in (element.get("class") or "").split()), None)
    )


def _abstract_figures(root: etree._Element) -> dict[str, str]:
    """The abstract's figure of each DOI, as script calls name it, wherever they stand: its folder, the size shown beside abstracts, its file."""
    figures: dict[str, str] = {}
    for element in root.iter("script"):
        text = element.text
        if not text or "true" not in text:
            continue
        for doi, folder, file in _FIGURE_CALL.findall(_script_text(element)):
            figures.setdefault(doi_in(doi), f"{folder.rstrip('/')}/images/medium/{file}")
    return figures


def _paper(item: etree._Element, page: Page, issue: Issue, figures: Mapping[str, str]) -> Paper | None:
    anchors = [anchor for anchor in item.iter("a") if anchor.get("href")]
    title, anchor = _title(item, anchors)
    if not title:
        return None
    # What only together names the paper: the item's fields, the link's address, the picture's path.
    facts = _facts(item)
    image = _image(item, page.url)
    doi = _doi(item, anchors, anchor, facts, image)
    image = join(page.url, figures.get(doi)) or image
    url = _address(page, anchors, anchor, doi)
    # An item without DOI and link of its own is named by its content, so that two of a page stay two papers.
    return Paper(
        key=doi or url or f"{page.source}:{fingerprint(title, image)}",
        url=url or page.url,
        doi=doi,
        journal=facts.get("journal") or issue.journal,
        volume=facts.get("volume") or issue.volume,
        issue=facts.get("issue") or issue.issue,
        pages=_PAGES_LABEL.sub("", facts.get("pages") or facts.get("coverdate", "")),
        date=date_in(facts.get("date")) or date_in(facts.get("coverdate")) or issue.date or date_in(facts.get("year")),
        title=title,
        abstract=_abstract(item),
        image_url=image,
        licence=next((name for name in (spdx(link.get("href")) for link in anchors if "creativecommons" in link.get("href")) if name), ""),
        status="retracted" if is_withdrawn_title(title) else "published",
    )


def _address(page: Page, anchors: list[etree._Element], anchor: etree._Element | None, doi: str) -> str:
    """The address of the paper's own page, without what says where the reader came from."""
    if anchor is None:
        return ""
    url = join(page.url, anchor.get("href"))
    of_another = doi_in(url) if doi and doi not in url.lower() else ""
    if of_another:
        # The title of a correction leads to the article that it corrects; its own page lies beside that one.
        own = (link.get("href") for link in anchors if _OWN_PAGE.search(link.get("href")) and doi_in(link.get("href")) == doi)
        url = join(page.url, next(own, url.lower().replace(of_another, doi)))
    return url.partition("?")[0] if "/doi/" in url else url


def _title(item: etree._Element, anchors: list[etree._Element]) -> tuple[str, etree._Element | None]:
    """The title and the link that carries it."""
    # The title element's link first; then any link whose `title` attribute repeats it (2010s); then a link to the paper that has words.
    for anchor in item.iter("a"):
        if _is_in_title(anchor, item) and (title := plain_text(text_of(anchor)) or plain_text(anchor.get("title") or "")):
            return title, anchor if anchor.get("href") else None
    for anchor in anchors:
        if title := plain_text(anchor.get("title") or ""):
            return title, anchor
    # A heading that leads nowhere, and the paper's own page, where there is a link to one.
    if title := next((text for heading in item.iter(*_HEADINGS) if (text := text_of(heading))), ""):
        return title, next((anchor for anchor in anchors if _OWN_PAGE.search(anchor.get("href"))), None)
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
    """Journal, volume, issue, pages and dates, by the classes of the elements that hold them, or by their words where they have none."""
    facts: dict[str, str] = {}
    # A box of 2009 says all of it in its first part, and has menus of links behind.
    head = next((part for part in item.iterchildren("div") if "articleBoxMeta" in (part.get("class") or "")), None)
    if head is not None:
        _add_facts(head, facts)
    if head is None or "pages" not in facts or "date" not in facts:
        _add_facts(item, facts)
    return facts


def _add_facts(part: etree._Element, facts: dict[str, str]) -> None:
    for element in part.iter("span", "div", "li", "strong", "h2", "h3"):
        if classes := element.get("class"):
            for fact in _facts_of(classes):
                facts.setdefault(fact, text_of(element))
        # The boxes of 2009: 'pp 1–10' alone in a <div> or behind one, 'Publication Date (Web): ' before the day.
        for text in (element.text, element.tail):
            if text and text.lstrip()[:1] == "p" and (pages := _PAGES_ALONE.fullmatch(text.strip())):
                facts.setdefault("pages", page_range(pages[1]))
        if element.tag == "strong" and element.text and element.tail and element.text.lstrip().startswith("Publication Date"):
            facts.setdefault("date", element.tail)


@lru_cache(maxsize=1024)
def _facts_of(classes: str) -> tuple[str, ...]:
    return tuple(_WANTED[name] for name in classes.split() if name in _WANTED)


def _abstract(item: etree._Element) -> str:
    first = next(item.iter("p"), None)
    if first is None:
        return ""
    paragraphs = _ABSTRACT_PARAGRAPHS(item) or [first]
    text = clean(" ".join(text_of(paragraph) for paragraph in paragraphs))
    return "" if text.lower() in _MISSING else text


def _image(item: etree._Element, base: str) -> str:
    """The picture that is shown in the end: lazy attributes come before `src`, script calls count where no element has one."""
    is_box = "articleBox" in (item.get("class") or "").split()
    for picture in item.iter("img"):
        if is_box and not _SIZED.search(picture.get("src") or ""):
            continue
        for attribute in ("data-src", "data-original", "data-lazy-src", "src"):
            if url := _figure(picture.get(attribute), base):
                return url
        if url := _figure((picture.get("srcset") or picture.get("data-srcset") or "").split(",")[0].strip().partition(" ")[0], base):
            return url
    # The 2009 markup: of the pictures that scripts name, one under /medium/ counts first.
    texts = [text for text in map(_script_text, item.iter("script")) if not _KEYED_CALL.search(text)]
    called = [url for text in texts for match in _IN_SCRIPT.finditer(text) if (url := _figure(match[1], base))]
    return next((url for url in called if "/medium/" in url), called[0] if called else "")


def _script_text(element: etree._Element) -> str:
    return (element.text or "").replace("\\/", "/")


def _figure(address: str | None, base: str) -> str:
    address = (address or "").strip()
    if address.lower() in _MISSING or _NOT_A_FIGURE.search(address) or is_furniture(address):
        return ""
    return join(base, address)


def _doi(item: etree._Element, anchors: list[etree._Element], anchor: etree._Element | None, facts: dict[str, str], image: str) -> str:
    # From the certain to the inferred: what is labelled as its DOI, the title's link, other links (supplements have their own), the picture's path.
    def stated() -> Iterator[str]:
        yield doi_in(facts.get("doi"))
        yield from map(doi_in, _OWN_DOI(item))
        yield doi_in(anchor.get("href")) if anchor is not None else ""
        yield from map(doi_in, _WITH_DOI(item))
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
