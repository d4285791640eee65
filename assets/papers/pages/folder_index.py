"""A plain listing of the files that a folder site serves: their addresses become links, the kind of each by its suffix.

Read are an HTML list, `<ul><li><a href="name" data-fingerprint="…">name</a> 2024-01-31 12345</li> …</ul>`, as well as the listings of Apache, nginx
and `python -m http.server`; a JSON list of names or of objects with `name` and any other facts, alone or under the key `files`; and a sitemap.
A name that ends in / is a folder, whose listing is an index page. What a listing says of a file besides its name is the link's fingerprint.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from lxml import etree

from assets.papers.items import Link, Page, PageKind, Parsed
from assets.papers.pages.facts import fingerprint, join
from assets.papers.pages.markup import descendants, html_tree, json_of, name_of, text_of, tolerant, xml_tree
from formats.plain_text import clean, decode

# The files that hold papers; pictures are asked for when a paper shows them.
KINDS: Mapping[str, PageKind] = {
    ".html": "article",
    ".htm": "article",
    ".xhtml": "article",
    ".xml": "article",
    ".md": "article",
    ".markdown": "article",
}


def folder_links(page: Page, *, kinds: Mapping[str, PageKind] = KINDS, skip_folders: re.Pattern[str] | None = None) -> tuple[Link, ...]:
    """Links to the files of these suffixes (compared in lower case) and to the folders below this page; nothing above it or elsewhere."""
    # Only downwards: a listing that links to its parent, or anywhere else, leads out of the source.
    here = page.url.partition("?")[0].rpartition("/")[0] + "/"
    links: dict[str, Link] = {}
    for href, facts in _entries(page):
        url = join(page.url, href)
        path = urlsplit(url).path
        if not url.startswith(here) or url in (here, page.url) or "?" in url:
            continue
        if path.endswith("/"):
            if not (skip_folders and skip_folders.search(path)):
                links.setdefault(url, Link(url, "index"))
            continue
        suffix = "." + path.rpartition("/")[2].rpartition(".")[2].lower()
        if kind := kinds.get(suffix):
            links.setdefault(url, Link(url, kind, fingerprint=fingerprint(facts) if facts else ""))
    return tuple(links.values())


def _entries(page: Page) -> Iterator[tuple[str, str]]:
    """(address, what the listing says of it) of each entry."""
    # What kind of listing it is, its first characters tell; content types of listings are not to be relied on.
    text = decode(page.body[:512], page.content_type).lstrip()
    if text.startswith(("[", "{")):
        yield from _json_entries(json_of(decode(page.body, page.content_type)))
    elif re.search(r"<(?:[a-z]+:)?(?:urlset|sitemapindex)\b", text):
        yield from _sitemap_entries(page)
    else:
        for anchor in html_tree(page).iter("a"):
            yield anchor.get("href") or "", anchor.get("data-fingerprint") or _beside(anchor)


def _beside(anchor: etree._Element) -> str:
    """The text after a link up to the next one, where listings write size and time."""
    parts = [anchor.tail or ""]
    for element in itertools.islice(anchor.itersiblings(), 5):
        if element.tag == "a":
            break
        parts += [text_of(element), element.tail or ""]
    return clean(" ".join(parts))


def _json_entries(value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        value = value.get("files", [])
    for entry in value if isinstance(value, list) else []:
        if isinstance(entry, str):
            yield entry, ""
        elif isinstance(entry, dict) and isinstance(entry.get("name"), str):
            yield entry["name"], " ".join(f"{key}={entry[key]}" for key in sorted(entry) if key != "name")


def _sitemap_entries(page: Page) -> Iterator[tuple[str, str]]:
    for entry in descendants(xml_tree(decode(page.body, page.content_type), recover=True), "url", "sitemap"):
        facts = {name_of(child): (child.text or "").strip() for child in entry}
        yield facts.get("loc", ""), facts.get("lastmod", "")


@tolerant
def parse(page: Page) -> Parsed:
    """The links of a listing, and no papers."""
    return Parsed(links=folder_links(page))
