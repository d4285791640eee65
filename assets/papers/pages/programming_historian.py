"""Programming Historian: lessons as Markdown sources with YAML front matter, or as the pages of the site.

    ../en/lesson-name.md         title, date, abstract, doi, original: NAME (in a translation)
    ../gallery/lesson-name.png   its picture; a translation shows that of the lesson named by `original`

The address of a picture follows from the lesson's. `translation_of` is where the original would be under the same folders: in the other of English
and Spanish, whichever the lesson is not in; other languages point to English.
"""

import re
from dataclasses import replace
from pathlib import PurePosixPath
from urllib.parse import quote, unquote, urlsplit

from assets.papers.items import Link, Page, Paper, Parsed, Problem
from assets.papers.pages.article import paper_links, read_article
from assets.papers.pages.facts import date_in, doi_in, join
from assets.papers.pages.folder_index import folder_links
from assets.papers.pages.front_matter import front_matter, text_fact
from assets.papers.pages.markup import html_tree, tolerant
from formats.plain_text import decode, plain_text

_JOURNAL = "Programming Historian"
_PICTURES = re.compile(r"/(?:gallery|images|assets)/")
_LESSON_PATH = re.compile(r"^/(en|es|fr|pt)/(?:lessons|lecciones|lecons|licoes)/([A-Za-z0-9_-]+)/?$")
_LANGUAGE_FOLDER = re.compile(r"/(en|es|fr|pt)/")


@tolerant
def parse(page: Page) -> Parsed:
    """A lesson's source or page, or the links of a folder or of the site's list of lessons."""
    if page.kind == "index":
        return Parsed(links=(*folder_links(page, skip_folders=_PICTURES), *_lesson_links(page)))
    text = decode(page.body, page.content_type)
    facts, _ = front_matter(text)
    if facts:
        return _source(page, facts)
    paper = read_article(page)
    if paper is None:
        return Parsed(problems=(Problem(page.url, "neither front matter nor metadata found; expected a lesson's Markdown or its page"),))
    paper = replace(paper, journal=_JOURNAL)
    return Parsed(papers=(paper,), links=paper_links(paper))


def _source(page: Page, facts: dict) -> Parsed:
    title = plain_text(text_fact(facts, "title"))
    if text_fact(facts, "published").lower() == "false":
        return Parsed(problems=(Problem(page.url, "`published: false` in its front matter; it is left out"),))
    if not title:
        return Parsed(problems=(Problem(page.url, "no `title` in the front matter; expected a lesson"),))
    doi = doi_in(text_fact(facts, "doi"))
    path = PurePosixPath(unquote(urlsplit(page.url).path))
    # A translation names its original by the file's name; picture and original follow from that and from the folders.
    original = text_fact(facts, "original").strip()
    folder = _LANGUAGE_FOLDER.search(f"{path.parent}/")
    language = folder[1] if folder else ""
    paper = Paper(
        key=doi or page.url,
        url=page.url,
        doi=doi,
        journal=_JOURNAL,
        date=date_in(text_fact(facts, "translation_date" if original else "date", "date")),
        title=title,
        abstract=plain_text(text_fact(facts, "abstract")),
        image_url=join(page.url, f"../gallery/{quote(original or path.stem)}.png"),
        language=language,
        translation_of=join(page.url, f"../{'es' if language == 'en' else 'en'}/{quote(original)}{path.suffix}") if original else "",
    )
    return Parsed(papers=(paper,), links=paper_links(paper))


def _lesson_links(page: Page) -> tuple[Link, ...]:
    """Lessons that the site's own list of lessons names."""
    urls = dict.fromkeys(join(page.url, anchor.get("href")) for anchor in html_tree(page).iter("a"))
    host = urlsplit(page.url).netloc
    return tuple(Link(url, "article") for url in urls if urlsplit(url).netloc == host and _LESSON_PATH.match(urlsplit(url).path))
