"""Posts of a Jekyll blog: `_posts/2007-11-06-name.markdown` with YAML front matter, and pictures under /assets/.

Title, date and DOI are those of the front matter. The picture is the post's own: `image` of the front matter, else the first one in its text that
lies under /assets/; pictures that a post shows from other sites are not its own. A post has no abstract, unless its front matter has one.
"""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from assets.images.licences import spdx
from assets.papers.items import Page, Paper, Parsed, Problem
from assets.papers.pages.article import paper_links, read_article
from assets.papers.pages.facts import date_in, doi_in, join, language_in
from assets.papers.pages.folder_index import folder_links
from assets.papers.pages.front_matter import front_matter, text_fact
from assets.papers.pages.markup import tolerant
from formats.plain_text import decode, plain_text

_IN_MARKDOWN = re.compile(
    r"!\[[^\]\n]{0,300}\]\(\s{0,9}<?([^()\s<>]{1,500}(?:\([^()\s]{0,500}\)[^()\s<>]{0,500}){0,5})|<img\s[^>]{0,300}?src\s{0,9}=\s{0,9}[\"']?([^\"'\s>]{1,500})",
    re.IGNORECASE,
)
_ASSETS = re.compile(r"^(?:https?://[^/]+)?/?(?:\{\{[^}]*\}\})?(?:/[\w.-]+)??/+(assets/.+)$")
_PICTURE = re.compile(r"\.(?:png|jpe?g|gif|webp|tiff?|bmp)$", re.IGNORECASE)
_MOST_CHARACTERS = 1_000_000  # of a post, searched for its picture
_NOT_POSTS = re.compile(r"/assets/")


@tolerant
def parse(page: Page) -> Parsed:
    """One post, or the links of a folder."""
    if page.kind == "index":
        return Parsed(links=folder_links(page, skip_folders=_NOT_POSTS))
    facts, body = front_matter(decode(page.body, page.content_type))
    # Where the repository is not at hand, the same posts are read as the pages that the site makes of them.
    if not facts:
        paper = read_article(page)
        if paper is None:
            return Parsed(problems=(Problem(page.url, "neither front matter nor metadata found; expected a post's Markdown or its page"),))
        return Parsed(papers=(paper,), links=paper_links(paper))
    title = plain_text(text_fact(facts, "title"))
    if not title or text_fact(facts, "published").lower() == "false":
        return Parsed(problems=(Problem(page.url, "no `title` in its front matter, or `published: false`; it is left out"),))
    # The name of a post begins with its day (Jekyll, "Posts"), which its front matter need not repeat.
    doi = doi_in(text_fact(facts, "doi"))
    paper = Paper(
        key=doi or page.url,
        url=page.url,
        doi=doi,
        date=date_in(text_fact(facts, "date")) or date_in(urlsplit(page.url).path.rpartition("/")[2]),
        title=title,
        abstract=plain_text(text_fact(facts, "abstract", "description")),
        image_url=next(_own_pictures(page.url, facts, body), ""),
        licence=spdx(text_fact(facts, "license", "licence")),
        language=language_in(text_fact(facts, "lang", "language")),
    )
    return Parsed(papers=(paper,), links=paper_links(paper))


def _own_pictures(url: str, facts: dict, body: str) -> Iterator[str]:
    """Pictures under /assets/, beside the folder `_posts`, whatever base path the posts write before it."""
    # Pictures of the source tree lie beside `_posts`, while posts write the address that the finished site has.
    root = url.partition("/_posts/")[0] + "/"
    for address in [text_fact(facts, "image", "thumbnail"), *(match[1] or match[2] for match in _IN_MARKDOWN.finditer(body[:_MOST_CHARACTERS]))]:
        own = _ASSETS.match(address.strip())
        is_foreign = address.startswith("http") and urlsplit(address).netloc != urlsplit(url).netloc
        if own and not is_foreign and _PICTURE.search(own[1]):
            yield join(root, own[1])
