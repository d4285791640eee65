"""Why a paper may not be used any more: retracted, deleted, gone from its site, or withdrawn on request; and the reading of retractions.yaml.

    gone        every article page of it (or, where it has none, every page that tells of it) answered 404 or 410 in two crawls running
    retracted   a notice (Crossref `update-to`) or the paper's own page says so
    deleted     its source's record is marked deleted (OAI-PMH), and no newer record of that source has it
    on_request  it is listed in retractions.yaml

The first three end when the source says otherwise again; the last ends when the entry is removed.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

from assets.papers.identities import plain_doi
from stages.params import read_yaml

Reason = Literal["on_request", "retracted", "deleted", "gone"]
# Where several hold, the first is told.
REASONS: tuple[Reason, ...] = ("on_request", "retracted", "deleted", "gone")

_SCHEME = re.compile(r"^https?://")


class RetractionsError(Exception):
    """retractions.yaml is not what it should be: the message names the entry, what was found and what was expected."""


@dataclass(frozen=True)
class Withdrawn:
    """Why a paper is withdrawn, in words, and since when."""

    reason: Reason
    why: str
    since: date


@dataclass(frozen=True)
class Request:
    """An entry of retractions.yaml. id: a paper's id, its DOI (plain or as an address), its address or that of its picture."""

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
        raise RetractionsError(f"{where}: id is {name!r}, expected a paper's id, DOI or address as text; put quotation marks around it")
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


class Requests:
    """Finds the request that names a paper, and knows which requests named none."""

    def __init__(self, requests: Sequence[Request]) -> None:
        # Reversed, so that of two entries for one name the first in the file is kept.
        self._requests = {_plain(request.id): request for request in reversed(requests)}
        self._unused = dict(self._requests)

    def naming(self, names: Sequence[str]) -> Withdrawn | None:
        """The request that names a paper which is called `names`: its id, DOI, addresses."""
        # Every entry that names the paper counts as used, also where another one gives the reason.
        found = [plain for name in names if name and (plain := _plain(name)) in self._requests]
        for plain in found:
            self._unused.pop(plain, None)
        request = min((self._requests[plain] for plain in found), key=lambda one: (one.day, one.id), default=None)
        return Withdrawn("on_request", request.reason, request.day) if request else None

    @property
    def unknown(self) -> list[str]:
        """The ids of requests that named no paper so far, in alphabetical order."""
        return sorted(request.id for request in self._unused.values())


def _plain(name: str) -> str:
    """A DOI in any spelling, or an id or address without letter case, scheme and final slash."""
    return plain_doi(name) or _SCHEME.sub("", name.strip().lower()).rstrip("/")


@dataclass
class Claim:
    """A page's saying that a paper is retracted or deleted.

    since: the crawl in which the page began to say so. lapsed: the crawl in which it fell silent without calling the paper published, or None.
    """

    reason: Literal["retracted", "deleted"]
    words: str
    since: int
    day: date
    lapsed: int | None = None

    def is_answered(self, published_since: Sequence[int]) -> bool:
        """Whether the source has taken it back. published_since: crawls in which pages of this source began to call the paper published.

        A retraction notice stands as long as it is shown: the paper's own record goes on beside it. A deleted record stands until a newer one.
        """
        if self.lapsed is not None:
            return any(since >= self.lapsed for since in published_since)
        return self.reason == "deleted" and any(since > self.since for since in published_since)
