"""Distill: facts stand in front matter inside a script element, JSON since 2018 and YAML before, and a thumbnail lies beside the article."""

from typing import Any

from lxml import etree

from assets.images.licences import spdx
from assets.papers.items import Page, Paper, Parsed, Problem
from assets.papers.pages.article import paper_links, read_article
from assets.papers.pages.facts import date_in, doi_in, join
from assets.papers.pages.folder_index import folder_links
from assets.papers.pages.front_matter import text_fact, yaml_facts
from assets.papers.pages.markup import html_tree, json_of, text_of, tolerant
from formats.plain_text import plain_text

_JOURNAL = "Distill"


@tolerant
def parse(page: Page) -> Parsed:
    """One article, or the links of a folder."""
    if page.kind == "index":
        return Parsed(links=folder_links(page))
    root = html_tree(page)
    facts = _facts(root)
    # Front matter first, the page's metadata where that says nothing; for the picture the other way round, since a file beside the page is a guess.
    generic = read_article(page)
    title = plain_text(text_fact(facts, "title")) or (generic.title if generic else "")
    if not title:
        return Parsed(problems=(Problem(page.url, "no title in its front matter; expected <d-front-matter> or <script type='text/front-matter'>"),))
    doi = doi_in(text_fact(facts, "doi")) or (generic.doi if generic else "")
    own_abstract = text_of(next(root.iter("d-abstract", "dt-abstract"), None))
    paper = Paper(
        key=doi or page.url,
        url=page.url,
        doi=doi,
        journal=_JOURNAL,
        volume=text_fact(facts, "volume"),
        issue=text_fact(facts, "issue"),
        date=date_in(text_fact(facts, "publishedDate", "published", "date")) or (generic.date if generic else None),
        title=title,
        abstract=own_abstract or plain_text(text_fact(facts, "description")) or (generic.abstract if generic else ""),
        image_url=(generic.image_url if generic else "") or join(page.url, text_fact(facts, "previewURL") or "thumbnail.jpg"),
        licence=spdx(text_fact(facts, "license")) or (generic.licence if generic else ""),
        language=generic.language if generic else "",
    )
    return Parsed(papers=(paper,), links=paper_links(paper))


def _facts(root: etree._Element) -> dict[str, Any]:
    for element in root.iter("script"):
        parent = element.getparent()
        is_named = element.get("type") == "text/front-matter" or element.get("id") == "distill-front-matter"
        if not is_named and (parent is None or parent.tag not in ("d-front-matter", "dt-front-matter")):
            continue
        # JSON is YAML as well: the strict reading first.
        try:
            value = json_of(element.text or "")
        except ValueError:
            value = yaml_facts(element.text or "")
        if isinstance(value, dict):
            return value
    return {}
