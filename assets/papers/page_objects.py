"""Find the page object that a source names in params.yaml: one of ours (assets/papers/pages), or one's own as `module:function`.

`NAME+open` is the same without the papers whose page names no open licence.
"""

import importlib
from collections.abc import Callable
from functools import wraps

from assets.papers.items import Page, PageObject, Parsed, Problem
from assets.papers.page_rules import keep_rules, only_open
from stages.near_misses import did_you_mean

_OPEN = "+open"


def find_page_object(name: str) -> PageObject:
    """The function `Page -> Parsed` of that name.

    name: a key of assets.papers.pages.PAGES, or `module:function` for a function of one's own that Python can import; either may end in `+open`.
    Raises ValueError saying what was found and what is known.
    """
    if name.endswith(_OPEN):
        return _of_open_licences(find_page_object(bare_name(name)))
    if ":" in name:
        return _imported(name)
    # Ours load lxml: not for a page object of one's own.
    from assets.papers.pages import PAGES

    if name not in PAGES:
        hint = did_you_mean(name, PAGES)
        raise ValueError(f"page '{name}' is not known{hint}; there are: {', '.join(sorted(PAGES))}, and `module:function` for one of your own")
    return PAGES[name]


def bare_name(name: str) -> str:
    """The name without `+open`."""
    return name.removesuffix(_OPEN)


def _of_open_licences(read: PageObject) -> PageObject:
    # By the name and module of the page object itself, of whose code the memo of parsed pages asks.
    @wraps(read)
    def read_open(page: Page) -> Parsed:
        return only_open(page, read(page))

    return read_open


def read_page(read: PageObject, page: Page, *, log: Callable[[str], None] | None = None) -> Parsed:
    """What the page object says of the page; where it raises, a problem that says so, which `log` hears at once."""
    try:
        return keep_rules(page, read(page))
    except Exception as error:  # noqa: BLE001 - it may be a user's own and raise anything, and one page is not worth all the others
        words = f"the page object failed: {type(error).__name__}: {str(error)[:200]}; this is a defect of it, not of the page"
        if log is not None:
            log(f"journal_pages: {page.url}: {words}")
        return Parsed(problems=(Problem(page.url, words),))


def _imported(name: str) -> PageObject:
    module, _, function = name.partition(":")
    try:
        found: PageObject = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"page '{name}' cannot be imported: {error}; expected `module:function`") from None
    if not callable(found):
        raise ValueError(f"page '{name}' is no function that takes a Page and gives a Parsed")  # noqa: TRY004 (one class for all that can be wrong with a name)
    return found
