"""The part of the archive's query language that harvests use: `collection:books date:[1880 TO 1899] OR title:"a word" AND NOT mediatype:image`.

Words beside each other must all be there, as with AND; OR binds less. `*` stands for anything inside a value, and case does not matter.
"""

import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

_TERM = re.compile(r'(-?)(?:([\w.-]+):)?("[^"]*"|\[[^\]]*\]|[^\s()"\[\]-][^\s()"\[\]]*)')
_TEXTS = ("identifier", "title", "description", "creator", "subject")


class SearchError(ValueError):
    """The query cannot be read."""


def matcher(query: str) -> Callable[[Mapping[str, Any]], bool]:
    """What tells whether the fields of an item fit the query. Raises SearchError."""
    ways: list[list[tuple[bool, str, str]]] = [[]]
    is_refused = False
    for minus, name, value in _TERM.findall(query):
        if name or value not in {"AND", "OR", "NOT"}:
            ways[-1].append((is_refused or minus == "-", name, value))
        elif value == "OR":
            ways.append([])
        is_refused = value == "NOT" and not name
    if "".join(_TERM.sub("", query).split()) or is_refused or not all(ways):
        raise SearchError(f"cannot read the query {query[:80]!r}; expected words and field:value, with AND, OR and NOT between them")
    return lambda item: any(all(_has(item, name, value) != is_unwanted for is_unwanted, name, value in way) for way in ways)


def _has(item: Mapping[str, Any], name: str, value: str) -> bool:
    stated = [item.get(field) for field in ((name,) if name else _TEXTS)]
    return any(_fits(str(text), value) for texts in stated if texts is not None for text in (texts if isinstance(texts, list) else [texts]))


def _fits(text: str, value: str) -> bool:
    if value.startswith("["):
        low, _, high = (end.strip() for end in value.strip("[]").partition(" TO "))
        # Dates are ISO texts; one that is cut short means all that it begins.
        return (low in {"*", "null"} or text >= low) and (high in {"*", "null"} or text[: len(high)] <= high)
    wanted, text = value.strip('"').lower(), text.lower()
    if "*" in wanted:
        return fnmatchcase(text, wanted)
    return wanted == text or wanted in re.findall(r"[\w.-]+", text) or (" " in wanted and wanted in text)
