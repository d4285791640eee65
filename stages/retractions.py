"""The reading of retractions.yaml: what must not be used any more because somebody asked. Papers and items of archives stand in one list."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from stages.params import read_yaml

RETRACTIONS_FILE = "retractions.yaml"
_SCHEME = re.compile(r"^https?://")


class RetractionsError(Exception):
    """retractions.yaml is not what it should be: the message names the entry, what was found and what was expected."""


@dataclass(frozen=True)
class Request:
    """An entry of retractions.yaml. id: as whatever it withdraws is called: a paper's id, DOI or address, an item's identifier, …"""

    id: str
    reason: str
    day: date


def read_requests(path: Path) -> list[Request]:
    """The entries of `path`; none when the file is missing or empty. Raises RetractionsError; ParamsError when it is no YAML."""
    if not path.exists():
        return []
    entries = read_yaml(path)
    if entries is None:
        return []
    if not isinstance(entries, list):
        raise RetractionsError(f"{path}: found {type(entries).__name__}, expected a list of entries with id, reason and day")
    return [_request(entry, f"{path}: entry {number}") for number, entry in enumerate(entries, 1)]


def _request(entry: Any, where: str) -> Request:
    if not isinstance(entry, Mapping):
        raise RetractionsError(f"{where}: found {entry!r}, expected a mapping with id, reason and day")
    unknown = sorted(map(str, set(entry) - {"id", "reason", "day"}))
    if unknown:
        raise RetractionsError(f"{where}: found the key {unknown[0]!r}, expected id, reason and day")
    name, reason = entry.get("id"), entry.get("reason")
    if not isinstance(name, str) or not name.strip():
        raise RetractionsError(f"{where}: id is {name!r}, expected an id, DOI or address as text; put quotation marks around it")
    if not isinstance(reason, str):
        raise RetractionsError(f"{where} ({name}): reason is {reason!r}, expected a few words")
    return Request(name.strip(), reason, _day(entry.get("day"), f"{where} ({name})"))


def _day(value: Any, where: str) -> date:
    if isinstance(value, datetime):
        return value.date()
    if isinstance(value, date):
        return value
    try:
        return date.fromisoformat(value)
    except (TypeError, ValueError):
        raise RetractionsError(f"{where}: day is {value!r}, expected a day such as 2026-11-20") from None


def plain_name(name: str) -> str:
    """An id or address without letter case, scheme and final slash."""
    return _SCHEME.sub("", name.strip().lower()).rstrip("/")


class Requests:
    """Finds the request that names a paper or an item, and knows which requests named none.

    plain: makes one of all spellings of a name.
    """

    def __init__(self, requests: Sequence[Request], plain: Callable[[str], str] = plain_name) -> None:
        self._plain = plain
        # Reversed, so that of two entries for one name the first in the file is kept.
        self._requests = {plain(request.id): request for request in reversed(requests)}
        self._unused = dict(self._requests)

    def naming(self, names: Sequence[str]) -> Request | None:
        """The oldest request that names what is called `names`."""
        # Every entry that names it counts as used, also where another one gives the reason.
        found = [plain for name in names if name and (plain := self._plain(name)) in self._requests]
        for plain in found:
            self._unused.pop(plain, None)
        return min((self._requests[plain] for plain in found), key=lambda one: (one.day, one.id), default=None)

    @property
    def unknown(self) -> list[str]:
        """The ids of requests that named nothing so far, in alphabetical order."""
        return sorted(request.id for request in self._unused.values())
