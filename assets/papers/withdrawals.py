"""Why a paper may not be used any more: retracted, deleted, gone from its site, or withdrawn on request.

    gone        every article page of it (or, where it has none, every page that tells of it) answered 404 or 410 in two crawls running
    retracted   a notice (Crossref `update-to`) or the paper's own page says so
    deleted     its source's record is marked deleted (OAI-PMH), and no newer record of that source has it
    on_request  it is listed in retractions.yaml

The first three end when the source says otherwise again; the last ends when the entry is removed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

from assets.papers.identities import plain_doi
from stages.retractions import Request, Requests, plain_name

Reason = Literal["on_request", "retracted", "deleted", "gone"]
# Where several hold, the first is told.
REASONS: tuple[Reason, ...] = ("on_request", "retracted", "deleted", "gone")


@dataclass(frozen=True)
class Withdrawn:
    """Why a paper is withdrawn, in words, and since when."""

    reason: Reason
    why: str
    since: date


def requests_for_papers(requests: Sequence[Request]) -> Requests:
    """Finds the request that names a paper by its id, DOI or addresses."""
    return Requests(requests, _plain)


def withdrawn_by(request: Request | None) -> Withdrawn | None:
    """A request as the withdrawal it is."""
    return Withdrawn("on_request", request.reason, request.day) if request else None


def _plain(name: str) -> str:
    """A DOI in any spelling, or an id or address without letter case, scheme and final slash."""
    return plain_doi(name) or plain_name(name)


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
