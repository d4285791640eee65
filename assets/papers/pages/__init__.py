"""Page objects: one module a site or format, each with `parse(page) -> Parsed`, a pure function that never raises on what it is given.

Here belongs how pages are read. How they are asked for is the crawl's business, and what is made of many pages together is that of `papers`.
docs/journals.md tells how to add one.
"""

from assets.papers.items import PageObject
from assets.papers.pages import (
    acs,
    article,
    beilstein,
    crossref,
    distill,
    folder_index,
    jats,
    jekyll_blog,
    legacy_csv,
    oai,
    programming_historian,
)

PAGES: dict[str, PageObject] = {
    "acs": acs.parse,
    "acs_lists": acs.parse_lists,
    "article": article.parse,
    "beilstein": beilstein.parse,
    "crossref": crossref.parse,
    "distill": distill.parse,
    "folder_index": folder_index.parse,
    "jats": jats.parse,
    "jekyll_blog": jekyll_blog.parse,
    "legacy_csv": legacy_csv.parse,
    "legacy_csv_png": legacy_csv.parse_png,
    "oai": oai.parse,
    "programming_historian": programming_historian.parse,
}
