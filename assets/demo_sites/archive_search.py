"""The part of the archive's query language that harvests use: `collection:(books OR maps) AND date:[1880 TO 1899] NOT title:"a word"`.

Words beside each other must all be there, as with AND. `*` stands for anything inside a value. Values are compared without regard to case.
"""

import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

_TOKEN = re.compile(r'\(|\)|-(?=[^\s)])|(?:[\w.-]+:)?(?:"[^"]*"|\[[^\]]*\])|[\w.-]+:(?=\()|[^\s()"\[\]]+')
_TEXTS = ("identifier", "title", "description", "creator", "subject")
Matcher = Callable[[Mapping[str, Any]], bool]


class SearchError(ValueError):
    """The query cannot be read."""


def matcher(query: str) -> Matcher:
    """What tells whether the fields of an item fit the query. Raises SearchError."""
    tokens = _TOKEN.findall(query)
    if "".join("".join(tokens).split()) != "".join(query.split()):
        raise SearchError(f"cannot read the query {query[:80]!r}")
    try:
        found = _any(tokens, "")
    except (IndexError, RecursionError):
        raise SearchError(f"the query ends too early: {query[:80]!r}") from None
    if tokens:
        raise SearchError(f"{tokens[0]!r} is not expected there in the query {query[:80]!r}")
    return found


def _any(tokens: list[str], field: str) -> Matcher:
    parts = [_all(tokens, field)]
    while tokens and tokens[0] == "OR":
        del tokens[0]
        parts.append(_all(tokens, field))
    return lambda item: any(part(item) for part in parts)


def _all(tokens: list[str], field: str) -> Matcher:
    parts = [_one(tokens, field)]
    while tokens and tokens[0] not in {")", "OR"}:
        if tokens[0] == "AND":
            del tokens[0]
        parts.append(_one(tokens, field))
    return lambda item: all(part(item) for part in parts)


def _one(tokens: list[str], field: str) -> Matcher:
    """Takes what it reads from the front of `tokens`. field: of the bracket it is in, '' outside of one."""
    first = tokens.pop(0)
    if first in {")", "AND", "OR"}:
        raise SearchError(f"{first!r} is not expected where it stands in the query")
    if first in {"NOT", "-"}:
        part = _one(tokens, field)
        return lambda item: not part(item)
    if first == "(" or (first.endswith(":") and tokens and tokens[0] == "("):
        if first != "(":
            field = first[:-1]
            del tokens[0]
        part = _any(tokens, field)
        if tokens.pop(0) != ")":
            raise SearchError("a bracket is not closed in the query")
        return part
    stated = re.match(r"([\w.-]+):", first)
    name, value = (stated[1], first[stated.end() :]) if stated else (field, first)
    return lambda item: any(_fits(text, value) for text in _texts(item, name))


def _texts(item: Mapping[str, Any], field: str) -> list[str]:
    stated = [item.get(name) for name in ((field,) if field else _TEXTS)]
    return [str(text) for value in stated if value is not None for text in (value if isinstance(value, list) else [value])]


def _fits(text: str, value: str) -> bool:
    if value.startswith("["):
        low, _, high = (end.strip() for end in value.strip("[]").partition(" TO "))
        # Dates are ISO texts; one that is cut short means all that it begins.
        return (low in {"*", "null"} or text >= low) and (high in {"*", "null"} or text[: len(high)] <= high)
    wanted, text = value.strip('"').lower(), text.lower()
    if "*" in wanted:
        return fnmatchcase(text, wanted)
    return wanted == text or wanted in re.findall(r"[\w.-]+", text) or (" " in wanted and wanted in text)
