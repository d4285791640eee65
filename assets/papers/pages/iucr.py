"""International Union of Crystallography (journals.iucr.org): contents of an issue, a frame set of a head with the steps and a body with the papers.

    <table class="tocs_entry_table"><tr><td><img src="/x/issues/2011/03/00/ab0001/ab0001contentsthm.gif"></td><td><div class="tocs_entry_div">
      <p><a href="/x/issues/2011/03/00/ab0001/index.html"><img alt="[HTML version]"></a>
        <a href="…/ab0001abs.html"><img alt="[Article Abstract]"></a></p>
      <p><i>Acta Cryst.</i> (2011). E<b>67</b>, i21 [ doi:10.1107/S0000000000000001 ]</p>
      <h3>Title of letters and of <img alt="[eta]" src="…/entities/…"></h3>
      <p><b>Synopsis: </b>…</p><p>Online 5 February 2011</p></div></td></tr></table>

or, without the tables, between two <hr>. The picture is the thumbnail in the paper's own folder; buttons and letters that are pictures are none.
A frame set leads to its frames.
"""

import copy
import itertools
import re
from collections.abc import Iterator

from lxml import etree

from assets.papers.items import Page, Parsed
from assets.papers.pages.facts import date_in, doi_in
from assets.papers.pages.glyphs import spell_glyphs
from assets.papers.pages.issue_lists import Entry, has_class, issue_in, issue_list, page_range, publishers_article
from assets.papers.pages.markup import html_tree, text_of, tolerant

_ENTRIES = etree.XPath(f"descendant::table[{has_class('tocs_entry_table')}]")
# Of a paper, or where it has none, whatever heads it.
_HEADINGS = (etree.XPath(".//h3 | .//h4"), etree.XPath(".//h2 | .//h5 | .//h6"))
_ADDRESSES = (etree.XPath(".//a[contains(@href, 'abs.html')]/@href"), etree.XPath(".//a[.//img[@alt='[HTML version]']]/@href"))
_FIGURE = etree.XPath(".//img[contains(@src, 'thm.') or contains(@src, 'thumbnail')]/@src")
_NAME = etree.XPath("descendant::meta[@name='prism.publicationName']/@content")
_STEPS = etree.XPath("descendant::a[.//img[@alt='Previous' or @alt='Next']]/@href | descendant::frame/@src")
_CITED = re.compile(r"\([12][0-9]{3}\)\.?\s*[A-Z]?\s*[0-9]{1,3}\s*,\s*([A-Za-z]{0,2}[0-9]+(?:\s*[-–−]\s*[A-Za-z]{0,2}[0-9]+)?)")
_ONLINE = re.compile(r"\bOnline\s+([0-9]{1,2} [A-Z][a-z]+ [12][0-9]{3})")
_SYNOPSIS = re.compile(r"^Synopsis:\s*")
_MOST_PARTS = 12  # of an entry, before and behind the line with its DOI
_OF_TITLE = re.compile(r"Contents (?:for|of)\s+(.+?)\s+Vol", re.IGNORECASE)


@tolerant
def parse(page: Page) -> Parsed:
    """The papers of an issue's body, the issues beside its head, the frames of its set; or the paper of an article page."""
    if page.kind == "article":
        return publishers_article(page)
    root = html_tree(page)
    spell_glyphs(root)
    title = text_of(root.find(".//title"))
    named = _OF_TITLE.search(title)
    journal = next(iter(_NAME(root)), "") or (named[1] if named else "")
    issue = issue_in(title, journal=journal, day=date_in(title.rpartition("(")[2].rstrip(")")))
    return issue_list(page, root, issue, map(_entry, _ENTRIES(root) or _between_rules(root)), steps=_STEPS(root))


def _is_no_rule(element: etree._Element) -> bool:
    return element.tag != "hr"


def _between_rules(root: etree._Element) -> Iterator[etree._Element]:
    """The entries of lists without tables: what stands between two rules and has a DOI."""
    for line in list(root.iter("p")):
        if "doi:10." in "".join(line.itertext()):
            entry = etree.Element("div")
            before, after = (list(itertools.takewhile(_is_no_rule, itertools.islice(siblings, _MOST_PARTS))) for siblings in
                             (line.itersiblings(preceding=True), line.itersiblings()))  # fmt: skip
            entry.extend(copy.deepcopy(part) for part in (*reversed(before), line, *after))
            yield entry


def _entry(entry: etree._Element) -> Entry:
    lines = [text_of(line) for line in entry.iter("p")]
    text = " ".join(lines)
    cited, online = _CITED.search(text), _ONLINE.search(text)
    return Entry(
        title=next((title for find in _HEADINGS for title in map(text_of, find(entry)) if title), ""),
        address=next((address for find in _ADDRESSES for address in find(entry)), ""),
        doi=next((doi for doi in map(doi_in, lines) if doi), ""),
        pages=page_range(cited[1]) if cited else "",
        date=date_in(online[1]) if online else None,
        abstract=next((_SYNOPSIS.sub("", line) for line in lines if _SYNOPSIS.match(line)), ""),
        picture=next(iter(_FIGURE(entry)), ""),
    )
