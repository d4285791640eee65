"""What holds for every page object, whoever wrote it: furniture is no picture of a paper, and a list that says nothing is a problem.

`tolerant` of assets/papers/pages/markup.py applies it to ours, and `read_page` to one's own.
"""

import re
from dataclasses import replace
from functools import lru_cache
from urllib.parse import unquote

from assets.papers.items import Page, Parsed, Problem

# How a page object's problem begins where a list says that it has another number of articles than were found: a check looks for it.
STATED_OTHERWISE = "the page says that it lists"
# How it begins where a list is known by nothing but its links: what `figment crawl try` thinks less of.
UNKNOWN_MARKUP = "no entry of a known markup"

# Folders that hold icons, glyphs of letters, logos and covers.
_WORDS = "icon icons entity entities entityimage glyph glyphs logo logos covers covergif covergifs coverissue newimages spacer spacers"
_FOLDERS = frozenset(_WORDS.split())
# Names of files that are nothing but that, as a whole.
_NAMES = re.compile(
    r"(?:single|clear|one|white|empty)?[-_]?(?:pixel|spacer|blank|placeholder|transparent)(?:[-_]?[0-9]+(?:x[0-9]+)?)?|1x1"
    r"|loader|spinner|loading(?:[-_]?[0-9]+x[0-9]+|[-_]?background)?|icons?(?:[-_].*)?|favicon.*|(?:[a-z]+[-_])?logo(?:[-_]?[0-9]+)?|rss"
    r"|access[-_]?free|free[-_]?access|open[-_]?access|author[-_]?choice|coverissue"
    r"|(?:home|journal|front|back|issue)?[-_]?cover(?:[-_]?(?:ill|image|small|medium|large|thumb))?[0-9]*"
)
_OPEN = re.compile(r"CC-BY(?:-SA)?(?:-[0-9].*)?|CC0-1\.0|CC-PDDC|CC-PDM-1\.0")
_ENDS = ("-loader", "_loader", "-spinner", "_spinner", "-icon", "_icon")
_COVER_SIZE = re.compile(r"-cov[0-9]+h?$")


def is_furniture(address: str) -> bool:
    """Whether a picture's address is that of an icon, a glyph of a letter, a spacer, a logo or a cover: never a paper's picture."""
    path = address.partition("#")[0].partition("?")[0]
    if "%" in path:
        path = unquote(path)
    folder, _, name = path.lower().rpartition("/")
    stem = name.rpartition(".")[0] or name
    if _is_of_furniture(folder) or stem.endswith(_ENDS) or _NAMES.fullmatch(stem):
        return True
    return "-cov" in stem and bool(_COVER_SIZE.search(stem))


@lru_cache(maxsize=1024)
def _is_of_furniture(folder: str) -> bool:
    return not _FOLDERS.isdisjoint(folder.split("/"))


def is_open(licence: str) -> bool:
    """Whether anybody may use, change and share what is under it (https://opendefinition.org): CC BY, CC BY-SA, CC0, the public domain."""
    return bool(_OPEN.fullmatch(licence))


def only_open(page: Page, parsed: Parsed) -> Parsed:
    """The same without papers whose page names no open licence, and without their pictures. What was left out is counted in one problem."""
    closed = {paper.key: paper.licence for paper in parsed.papers if not is_open(paper.licence)}
    if not closed:
        return parsed
    named = ", ".join(sorted(set(filter(None, closed.values())))[:5]) or "none"
    words = f"{len(closed)} of {len(parsed.papers)} papers name no open licence (named: {named[:150]}); they are left out, as `+open` asks"
    papers = tuple(paper for paper in parsed.papers if paper.key not in closed)
    links = tuple(link for link in parsed.links if link.paper_key not in closed)
    return replace(parsed, papers=papers, links=links, problems=(*parsed.problems, Problem(page.url, words)), left_out=len(closed))


def keep_rules(page: Page, parsed: Parsed) -> Parsed:
    """What the page object said, without furniture for pictures, and with a problem where a list yields neither papers nor links."""
    bare = {paper.key for paper in parsed.papers if paper.image_url and is_furniture(paper.image_url)}
    if bare:
        papers = tuple(replace(paper, image_url="") if paper.key in bare else paper for paper in parsed.papers)
        links = tuple(link for link in parsed.links if not (link.kind == "image" and is_furniture(link.url)))
        parsed = replace(parsed, papers=papers, links=links)
    if page.kind == "index" and not (parsed.papers or parsed.links or parsed.withdrawals or parsed.problems):
        words = "a list that yields neither papers nor links; its markup may be another one: `figment crawl try ADDRESS` says who reads it"
        return replace(parsed, problems=(Problem(page.url, words),))
    return parsed
