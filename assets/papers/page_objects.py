"""Find the page object that a source names in params.yaml: one of ours (assets/papers/pages), or one's own as `module:function`."""

import difflib
import importlib

from assets.papers.items import PageObject


def find_page_object(name: str) -> PageObject:
    """The function `Page -> Parsed` of that name.

    name: a key of assets.papers.pages.PAGES, or `module:function` for a function of one's own that Python can import.
    Raises ValueError saying what was found and what is known.
    """
    if ":" in name:
        return _imported(name)
    # Ours load lxml: not for a page object of one's own.
    from assets.papers.pages import PAGES

    if name not in PAGES:
        near = difflib.get_close_matches(name, PAGES, n=1)
        hint = f" (did you mean '{near[0]}'?)" if near else ""
        raise ValueError(f"page '{name}' is not known{hint}; there are: {', '.join(sorted(PAGES))}, and `module:function` for one of your own")
    return PAGES[name]


def _imported(name: str) -> PageObject:
    module, _, function = name.partition(":")
    try:
        found: PageObject = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError, ValueError) as error:
        raise ValueError(f"page '{name}' cannot be imported: {error}; expected `module:function`") from None
    if not callable(found):
        raise ValueError(f"page '{name}' is no function that takes a Page and gives a Parsed")  # noqa: TRY004 (one class for all that can be wrong with a name)
    return found
