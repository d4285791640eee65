"""The words that crawling, page objects and the building of papers share.

A page object turns one stored response into what it says: papers, withdrawals and links. It is a pure function, so saved pages prove it, and
pages that were fetched once can be read again by a better parser without asking anybody for them.
"""

import datetime
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

PageKind = Literal["robots", "index", "api", "article", "image"]
PaperStatus = Literal["published", "retracted", "deleted"]


@dataclass(frozen=True)
class Page:
    """A response as a page object sees it.

    body: without content encodings. url: the last one, after redirects. headers: names in lower case. source: name of the source it belongs to.
    """

    url: str
    body: bytes
    kind: PageKind
    source: str
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Link:
    """Where to go next. fingerprint: what the listing says of the target (title, date, …); another one means that the target has changed.

    paper_key: the paper whose link it is (its `key`), for article and image links.
    """

    url: str
    kind: PageKind
    fingerprint: str = ""
    paper_key: str = ""


@dataclass(frozen=True)
class Paper:
    """What one page says of one paper. Empty strings and None mean that the page does not say.

    caption: what the page writes below the picture.
    key: names the paper in its source: the lower-case DOI, an OAI identifier, or the address. Texts are normalised plain Unicode text.
    status: "retracted" and "deleted" are what the source itself says.
    """

    key: str
    url: str
    doi: str = ""
    journal: str = ""
    volume: str = ""
    issue: str = ""
    pages: str = ""
    date: datetime.date | None = None
    title: str = ""
    abstract: str = ""
    image_url: str = ""
    caption: str = ""
    licence: str = ""
    language: str = ""
    translation_of: str = ""
    status: PaperStatus = "published"


@dataclass(frozen=True)
class Withdrawal:
    """A notice that another record is withdrawn, such as a retraction notice's `update-to`. key: DOI (lower case) or OAI identifier of the target."""

    key: str
    reason: Literal["retracted", "deleted"]
    words: str


@dataclass(frozen=True)
class Problem:
    """Something a page object could not use. where: an address, a key or a place in the page; words: found, expected, remedy."""

    where: str
    words: str


@dataclass(frozen=True)
class Parsed:
    """Everything a page says. A page may say different things about a paper than another; `papers` merges them, field by field.

    left_out: how many papers of the page a rule of its source keeps from being told.
    """

    papers: tuple[Paper, ...] = ()
    links: tuple[Link, ...] = ()
    withdrawals: tuple[Withdrawal, ...] = ()
    problems: tuple[Problem, ...] = ()
    left_out: int = 0


PageObject: TypeAlias = Callable[[Page], Parsed]
