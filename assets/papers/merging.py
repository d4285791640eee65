"""Make one paper of everything that pages said of it, crawl by crawl, so that first seen and last changed come from what was said.

Every statement counts from the crawl in which a page began to make it until the page says something else of the paper; a page that merely stops
listing a paper takes nothing back. Of several pages, field by field, the first that says something is believed:

    fields             in the order of
    all                article pages, then listings, then records of registries and harvests; within those, the order of the sources in
                       params.yaml, then what was said last
    picture            listings before article pages (a listing's picture is the ToC picture, an article's may be the journal's logo), and
                       pictures that are stored before those that are not
    licence            the pages' own; else the licence of the source it is taken from

Pages that are gone or have moved are believed only where nobody else tells of the paper.
"""

import dataclasses
import datetime
from collections import defaultdict
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from assets.papers.identities import Alias, Identities, Said, doi_of, paper_id
from assets.papers.items import PageKind, Paper, Parsed
from assets.papers.withdrawals import Claim, Withdrawn

PageState = Literal["there", "missing", "gone", "moved"]

_RANK: dict[str, int] = {"article": 0, "index": 1, "api": 2}
_PICTURE_RANK: dict[str, int] = {"index": 0, "article": 1, "api": 2}
_TEXTS = ("journal", "volume", "issue", "pages", "title", "abstract", "language", "translation_of")


@dataclass(frozen=True)
class Version:
    """One stored answer of a page. parsed: what it says; None when the page was not there."""

    crawl: int
    day: datetime.date
    state: Literal["there", "missing", "moved"]
    parsed: Parsed | None = None
    tdm_reserved: bool | None = None


@dataclass(frozen=True)
class PageHistory:
    """All stored answers of one address of one source, oldest first. order: place of the source in params.yaml."""

    source: str
    order: int
    licence: str
    url: str
    kind: PageKind
    versions: Sequence[Version]


@dataclass(frozen=True)
class Picture:
    """A stored picture as an address shows it. tdm_reserved: as the index says."""

    sha256: str
    tdm_reserved: bool | None


# What an address showed at a crawl, and the crawls in which that changed (with their days).
PictureAt = Callable[[str, str, int], Picture | None]
PictureChanges = Callable[[str, str], Sequence[tuple[int, datetime.date]]]


@dataclass(frozen=True)
class MergedPaper:
    """A paper as it stands after the last crawl. Serials, near-duplicates and requests for withdrawal come later.

    names: everything a request may call it by, besides its id. last_picture: sha256 of the last picture it showed. statements: pages that tell of it.
    """

    alias: Alias
    id: str
    first_crawl: int
    first_seen: datetime.date
    last_changed: datetime.date
    fields: "Fields"
    names: frozenset[str]
    withdrawn: Withdrawn | None
    last_picture: str
    statements: int


@dataclass(frozen=True)
class Fields:
    """What is believed of a paper; equal fields are an unchanged paper."""

    doi: str = ""
    journal: str = ""
    volume: str = ""
    issue: str = ""
    pages: str = ""
    date: datetime.date | None = None
    title: str = ""
    abstract: str = ""
    image_url: str = ""
    image_sha256: str = ""
    caption: str = ""
    licence: str = ""
    url: str = ""
    source: str = ""
    language: str = ""
    translation_of: str = ""
    tdm_reserved: bool | None = None


@dataclass
class _Teller:
    """What one page says of one paper now."""

    page: PageHistory
    paper: Paper | None = None
    since: int = 0
    is_current: bool = False
    state: PageState = "there"
    gone_on: tuple[int, int, datetime.date] | None = None
    tdm_reserved: bool | None = None
    claims: dict[str, Claim] = field(default_factory=dict)


@dataclass(frozen=True)
class _Change:
    """One page's version says something new of one paper. says: None when it does not speak of it any more."""

    place: int
    crawl: int
    day: datetime.date
    state: PageState
    says: Paper | None
    notices: Mapping[str, str]
    gone_since: int | None
    tdm_reserved: bool | None


def merge(
    pages: Sequence[PageHistory], *, picture_at: PictureAt, picture_changes: PictureChanges, shared: Container[str] | None = None
) -> list[MergedPaper]:
    """Every paper that was ever told of, ordered by (first_crawl, id). The order of `pages` does not matter.

    shared: the addresses that name no paper, where `pages` are not all there are, or say only part of what they say; found here otherwise.
    """
    # Identities first, from all that was ever said: an article page of the third crawl may join two listings of the first.
    pages = sorted(pages, key=lambda page: (page.source, page.url))
    identities = Identities((said for page in pages for said in _said(page)), shared)
    changes: dict[Alias, list[_Change]] = defaultdict(list)
    for place, page in enumerate(pages):
        _collect_changes(place, page, identities, changes)
    merged = []
    for alias, mine in changes.items():
        if any(change.says for change in mine):
            merged.append(_Timeline(alias, mine, pages, picture_at, picture_changes).run())
    merged.sort(key=lambda paper: (paper.first_crawl, paper.id))
    return _with_originals(merged, identities)


def _said(page: PageHistory) -> Iterable[Said]:
    return [Said(page.source, page.url, page.kind, version.crawl, version.parsed) for version in page.versions if version.parsed is not None]


def _collect_changes(place: int, page: PageHistory, identities: Identities, changes: dict[Alias, list[_Change]]) -> None:
    """Go through the versions of a page and note, for each paper, where it says something else than before."""
    said: dict[Alias, Paper] = {}
    noticed: dict[Alias, dict[str, str]] = {}
    ever: set[Alias] = set()
    state: PageState = "there"
    missed: int | None = None
    tdm: bool | None = None
    for version in page.versions:
        before = state
        # The page is there: it speaks of these papers now. Concerned are those of which it says something new, or which it stopped naming;
        # after an absence all that it ever named, and with another reservation of mining all that it names now.
        if version.state == "there" and version.parsed is not None:
            now = _papers_of(Said(page.source, page.url, page.kind, version.crawl, version.parsed), identities)
            notices = _notices_of(page.source, version.parsed, identities)
            concerned = {
                alias for alias in (*now, *said, *noticed, *notices) if now.get(alias) != said.get(alias) or notices.get(alias) != noticed.get(alias)
            }
            state, missed = "there", None
            concerned |= ever if before != state else set()
            concerned |= set(now) if version.tdm_reserved != tdm else set()
            said, noticed, tdm = now, notices, version.tdm_reserved
            ever |= set(now) | set(notices)
        else:
            # Not found once is missing, twice running is gone: one bad night of a server withdraws nothing.
            state = "moved" if version.state == "moved" else "gone" if before in ("missing", "gone") else "missing"
            concerned = ever if state != before else set()
        for alias in concerned:
            change = _Change(place, version.crawl, version.day, state, said.get(alias), noticed.get(alias, {}), missed, tdm)
            changes[alias].append(change)
        if state == "missing":
            missed = version.crawl


def _papers_of(version: Said, identities: Identities) -> dict[Alias, Paper]:
    found: dict[Alias, Paper] = {}
    for paper in version.parsed.papers:
        alias = identities.paper_of(version, paper)
        found[alias] = _joined(found[alias], paper) if alias in found else paper
    return found


def _joined(first: Paper, second: Paper) -> Paper:
    """Two statements of one page about one paper: the first, completed by the second."""
    values = {name: getattr(first, name) or getattr(second, name) for name in first.__dataclass_fields__}
    worst = max((first.status, second.status), key=("published", "deleted", "retracted").index)
    return Paper(**(values | {"status": worst}))


def _notices_of(source: str, parsed: Parsed, identities: Identities) -> dict[Alias, dict[str, str]]:
    found: dict[Alias, dict[str, str]] = defaultdict(dict)
    for notice in parsed.withdrawals:
        found[identities.named(source, notice.key)].setdefault(notice.reason, notice.words)
    return dict(found)


class _Timeline:
    """One paper through the crawls."""

    def __init__(
        self, alias: Alias, changes: Sequence[_Change], pages: Sequence[PageHistory], picture_at: PictureAt, picture_changes: PictureChanges
    ) -> None:
        self._alias, self._pages = alias, pages
        self._changes = sorted(changes, key=lambda change: (change.crawl, change.place))
        self._picture_at, self._picture_changes = picture_at, picture_changes
        self._tellers: dict[int, _Teller] = {}
        self._statements: list[tuple[int, str, Paper]] = []

    def run(self) -> MergedPaper:
        # The crawls in which anything about the paper may have changed: a page's words, or what the address of a picture shows.
        moments: dict[int, list[datetime.date]] = defaultdict(list)
        for change in self._changes:
            moments[change.crawl].append(change.day)
        first = min(change.crawl for change in self._changes if change.says)
        for source, url in {
            (self._pages[change.place].source, change.says.image_url) for change in self._changes if change.says and change.says.image_url
        }:
            for crawl, day in self._picture_changes(source, url):
                if crawl >= first:
                    moments[crawl].append(day)
        # Replay them in order. The day of the last one after which it stood otherwise than before is `last_changed`.
        waiting = list(reversed(self._changes))
        before: tuple[Fields, Withdrawn | None] | None = None
        last_changed, last_picture = datetime.date.min, ""
        for crawl, days in sorted(moments.items()):
            while waiting and waiting[-1].crawl <= crawl:
                self._apply(waiting.pop())
            if crawl >= first:
                now = (self._fields(crawl), self._withdrawn())
                last_changed = last_changed if now == before else max(days)
                before, last_picture = now, now[0].image_sha256 or last_picture
        assert before is not None, self._alias
        return MergedPaper(
            self._alias,
            paper_id(self._statements),
            first,
            min(change.day for change in self._changes if change.crawl == first and change.says),
            last_changed,
            before[0],
            self._names(),
            before[1],
            last_picture,
            sum(teller.paper is not None for teller in self._tellers.values()),
        )

    def _apply(self, change: _Change) -> None:
        page = self._pages[change.place]
        teller = self._tellers.setdefault(change.place, _Teller(page))
        was_current = teller.is_current
        teller.state, teller.tdm_reserved = change.state, change.tdm_reserved
        if change.state == "gone":
            teller.gone_on = (change.gone_since or change.crawl, change.crawl, change.day)
        if change.state != "there":
            return
        # A page that is back takes its absence back. One that no longer lists the paper keeps what it said (module docstring).
        teller.gone_on = None
        teller.is_current = change.says is not None
        if change.says is not None:
            if change.says != teller.paper or not was_current:
                teller.since = change.crawl
                self._statements.append((change.crawl, page.source, change.says))
            teller.paper = change.says
        _update_claims(teller, change)

    def _fields(self, crawl: int) -> Fields:
        tellers = [teller for teller in self._tellers.values() if teller.paper is not None]
        # Pages that went away count only where no other page tells of the paper.
        tellers = [teller for teller in tellers if teller.state in ("there", "missing")] or tellers
        tellers.sort(key=lambda teller: (_RANK.get(teller.page.kind, 9), teller.page.order, -teller.since, teller.page.url))
        # Field by field, the first that says something is believed.
        papers = [teller.paper for teller in tellers if teller.paper is not None]
        image_url, picture = self._picture(tellers, crawl)
        reserved = [teller.tdm_reserved for teller in tellers] + [picture.tdm_reserved if picture else None]
        texts = {name: next((value for paper in papers if (value := getattr(paper, name))), "") for name in _TEXTS}
        return Fields(
            doi=next((doi for paper in papers if (doi := doi_of(paper))), self._alias[1] if self._alias[0] == "doi" else ""),
            date=next((paper.date for paper in papers if paper.date), None),
            image_url=image_url,
            image_sha256=picture.sha256 if picture else "",
            # Of the page that shows this very picture, whoever else says something of another.
            caption=next((paper.caption for paper in papers if paper.caption and paper.image_url == image_url), "") if image_url else "",
            licence=next((paper.licence for paper in papers if paper.licence), tellers[0].page.licence),
            url=next((paper.url for paper in papers if paper.url), tellers[0].page.url),
            source=tellers[0].page.source,
            tdm_reserved=True if True in reserved else False if False in reserved else None,
            **texts,
        )

    def _picture(self, tellers: Sequence[_Teller], crawl: int) -> tuple[str, Picture | None]:
        ranked = sorted(tellers, key=lambda teller: _PICTURE_RANK.get(teller.page.kind, 9))  # stable: otherwise the order of the fields
        stated = [(teller.page.source, teller.paper.image_url) for teller in ranked if teller.paper is not None and teller.paper.image_url]
        for source, url in stated:
            picture = self._picture_at(source, url, crawl)
            if picture is not None:
                return url, picture
        return (stated[0][1] if stated else ""), None

    def _withdrawn(self) -> Withdrawn | None:
        # When each source's pages began to call it published: what a claim of the same source is answered by.
        published: dict[str, list[int]] = defaultdict(list)
        for teller in self._tellers.values():
            is_shown = teller.is_current and teller.state in ("there", "missing")
            if teller.paper is not None and is_shown and teller.paper.status == "published":
                published[teller.page.source].append(teller.since)
        standing = [
            claim for teller in self._tellers.values() for claim in teller.claims.values() if not claim.is_answered(published[teller.page.source])
        ]
        if standing:
            # A retraction outranks a deletion; then the oldest claim, so that the reason told does not change from night to night.
            claim = min(standing, key=lambda one: (one.reason != "retracted", one.since, one.words))
            return Withdrawn(claim.reason, claim.words, claim.day)
        return self._gone()

    def _gone(self) -> Withdrawn | None:
        tellers = [teller for teller in self._tellers.values() if teller.paper is not None]
        # Article pages decide where there are any; a page that moved is no loss, and one page that is still there keeps the paper.
        deciding = [teller for teller in tellers if teller.page.kind == "article"] or tellers
        deciding = [teller for teller in deciding if teller.state != "moved"]
        if not deciding or any(teller.gone_on is None for teller in deciding):
            return None
        (before, crawl, day), url = max((teller.gone_on, teller.page.url) for teller in deciding if teller.gone_on is not None)
        return Withdrawn("gone", f"not found in crawls {before} and {crawl}: {url}", day)

    def _names(self) -> frozenset[str]:
        """What a request for withdrawal may call the paper, besides its id."""
        papers = [paper for _, _, paper in self._statements]
        names = {name for paper in papers for name in (paper.doi, paper.key, paper.url, paper.image_url)}
        names |= {teller.page.url for teller in self._tellers.values() if teller.page.kind == "article"}
        return frozenset(name for name in names | set(self._alias[1:2] if self._alias[0] == "doi" else ()) if name)


def _update_claims(teller: _Teller, change: _Change) -> None:
    """Open, keep, lapse and drop what the page claims: that the paper is retracted or deleted."""
    claimed = dict(change.notices)
    is_published = change.says is not None and change.says.status == "published"
    if change.says is not None and change.says.status != "published":
        claimed.setdefault(change.says.status, f"{teller.page.url} calls it {change.says.status}")
    for reason, words in claimed.items():
        # A claim that goes on in other words keeps its day; one that had lapsed begins anew.
        known = teller.claims.get(reason)
        if known is None or known.lapsed is not None or known.words != words:
            since, day = (known.since, known.day) if known is not None and known.lapsed is None else (change.crawl, change.day)
            teller.claims[reason] = Claim("retracted" if reason == "retracted" else "deleted", words, since, day)
    # A claim that is not repeated: dropped where the page calls the paper published, else it lapses and waits for an answer.
    for reason in set(teller.claims) - set(claimed):
        if is_published:
            del teller.claims[reason]
        elif teller.claims[reason].lapsed is None:
            teller.claims[reason].lapsed = change.crawl


def _with_originals(merged: list[MergedPaper], identities: Identities) -> list[MergedPaper]:
    """Replace the name that a translation gives its original by the original's id, where that is among the papers."""
    ids = {paper.alias: paper.id for paper in merged}
    result = []
    for paper in merged:
        fields = paper.fields
        if fields.translation_of:
            original = ids.get(identities.named(fields.source, fields.translation_of), fields.translation_of)
            own = "" if original == paper.id else original
            paper = dataclasses.replace(paper, fields=dataclasses.replace(fields, translation_of=own))
        result.append(paper)
    return result
