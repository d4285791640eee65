"""Page objects: one module a site or format, each with `parse(page) -> Parsed`, a pure function that never raises on what it is given.

Here belongs how pages are read. How they are asked for is the crawl's business, and what is made of many pages together is that of `papers`.
docs/journals.md tells how to add one.
"""

import difflib
import importlib

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


class UnknownPageObject(ValueError):
    """A source names a page object that does not exist."""


def page_object(name: str) -> PageObject:
    """The page object called `name` in PAGES, or the function of a `module:function`. Raises UnknownPageObject."""
    if name in PAGES:
        return PAGES[name]
    module, colon, function = name.partition(":")
    if not colon:
        near = difflib.get_close_matches(name, PAGES, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"one of {', '.join(sorted(PAGES))}, or module:function"
        raise UnknownPageObject(f"page object '{name}' is not known; {hint}")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise UnknownPageObject(
            f"page object '{name}': {error}; expected the name of a module and of a function in it, as in my_pages.my_journal:parse"
        ) from error
    if not callable(found):
        raise UnknownPageObject(f"page object '{name}' is a {type(found).__name__}; expected a function from Page to Parsed")
    return found
