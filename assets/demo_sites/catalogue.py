"""What the imaginary journal holds in each of its editions: volumes, issues, papers, and what has happened to them since.

An edition is the whole journal as it stands on one day. Edition n + 1 is edition n with one abstract changed, one paper added to the newest issue
and one retracted. Everything follows from the seed and the number of the edition.
"""

import functools
import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from random import Random

from assets.demo_sites.drawings import Picture, draw, extension_of
from assets.demo_sites.writing import Written, write_paper

SEED = 2009
PREFIX = "10.5555"  # the prefix that DOI registries keep for examples
CODE = "imlett"
NAME = "Imaginary Letters"
LICENCE = "CC0-1.0"
FIRST_DAY = date(2026, 1, 5)
PAPERS_IN_FIRST_EDITION = 240
_PER_ISSUE = 10
# (volume, year, issues): three ages of the journal; between the second and the third it was only imagined.
_VOLUMES = ((1, 2010, 6), (2, 2011, 6), (15, 2024, 5), (16, 2025, 6), (17, 2026, 1))
# Papers that stand for what journals really have: items without abstract or picture, pictures that are not, a paper printed twice.
EDITORIALS = frozenset({1, 121})
WITHOUT_PICTURE = frozenset({17, 64, 158})
PICTURE_FAULTS = {33: "missing", 88: "html", 131: "too_small", 177: "truncated", 209: "one_pixel"}
PRINTED_TWICE = {187: 52}
_ODD = frozenset(PICTURE_FAULTS) | frozenset(PRINTED_TWICE)


@dataclass(frozen=True, order=True)
class Issue:
    volume: int
    number: int
    year: int

    @property
    def is_old(self) -> bool:
        """Whether its pages still look as they did when it appeared."""
        return self.year < 2012

    @property
    def day(self) -> date:
        """The day it came out."""
        return date(self.year, min(12, 2 * self.number - 1), 14) if self.year < 2026 else FIRST_DAY


@dataclass(frozen=True)
class Article:
    """One paper of the journal as an edition shows it. picture_name: the last part of its picture's address, '' where it has none."""

    number: int
    revision: int
    issue: Issue
    first_page: int
    last_page: int
    day: date
    is_editorial: bool
    picture_name: str

    @property
    def doi(self) -> str:
        return f"{PREFIX}/{CODE}.{self.issue.year % 100:02d}c{self.number:05d}"

    @functools.cached_property
    def written(self) -> Written:
        return written(self.number, self.revision)

    @property
    def pages(self) -> str:
        return f"{self.first_page}–{self.last_page}" if self.last_page > self.first_page else str(self.first_page)


@dataclass(frozen=True)
class Retraction:
    """number: the paper's. edition: the one in which it went."""

    number: int
    edition: int
    why: str


@dataclass(frozen=True)
class Edition:
    """The journal on one day. articles: by number, those that are still there; withdrawn: as they were, by number."""

    number: int
    articles: dict[int, Article]
    withdrawn: dict[int, Article]
    retractions: tuple[Retraction, ...]
    changed: tuple[int, ...]

    @property
    def now(self) -> datetime:
        return datetime.combine(FIRST_DAY + timedelta(days=self.number), time(4), UTC)

    @functools.cached_property
    def issues(self) -> dict[Issue, list[Article]]:
        """Every issue with its articles, oldest first."""
        found: dict[Issue, list[Article]] = {issue: [] for issue in _issues()}
        for article in self.articles.values():
            found[article.issue].append(article)
        return found


@dataclass(frozen=True)
class Change:
    """What an edition did to the one before it, by paper number."""

    changed: int
    added: int
    retracted: int


_WHYS = (
    "The authors have found the yield in another notebook.",
    "The compound has asked not to be named.",
    "The third flask was not independent of the second.",
    "An editor has woken up.",
    "The spectrum was that of a neighbouring paper.",
)


@functools.cache
def edition(number: int) -> Edition:
    """The journal's edition `number`, from 1."""
    articles = {article: _article(article, 0) for article in range(1, PAPERS_IN_FIRST_EDITION + 1)}
    withdrawn: dict[int, Article] = {}
    retractions: list[Retraction] = []
    changed: list[int] = []
    # Each edition is made from the one before it, never from outside: edition 7 is the same whether or not anybody asked for 3.
    for later in range(2, number + 1):
        change = _change(later, articles)
        articles[change.changed] = _article(change.changed, articles[change.changed].revision + 1)
        articles[change.added] = _article(change.added, 0, day=FIRST_DAY + timedelta(days=later))
        withdrawn[change.retracted] = articles.pop(change.retracted)
        retractions.append(Retraction(change.retracted, later, _WHYS[later % len(_WHYS)]))
        changed.append(change.changed)
    return Edition(number, articles, withdrawn, tuple(retractions), tuple(changed))


def _change(later: int, articles: dict[int, Article]) -> Change:
    random = Random(f"edition {SEED} {later}")
    retracted = _last_in_the_archive(articles)
    with_abstract = [number for number, article in sorted(articles.items()) if not article.is_editorial and number != retracted]
    return Change(random.choice(with_abstract), PAPERS_IN_FIRST_EDITION + later - 1, retracted)


def _last_in_the_archive(articles: dict[int, Article]) -> int:
    """The paper of the first edition whose picture comes last in an archive in the order (first seen, sha256).

    There the newest pictures are added, so that taking this one away touches no other part of such an archive.
    """
    shown = [article for number, article in articles.items() if article.picture_name and number not in _ODD]
    first = [article for article in shown if article.number <= PAPERS_IN_FIRST_EDITION]
    return max(first or shown, key=lambda article: hashlib.sha256(picture(article.number).body).hexdigest()).number


@functools.cache
def picture(number: int) -> Picture:
    """The picture of a paper; the same in every edition."""
    told = written(number, 0)
    return draw(SEED, number, label=told.subject, scene=told.scene, tone=told.tone, fault=PICTURE_FAULTS.get(number, ""))


@functools.cache
def written(number: int, revision: int) -> Written:
    original = write_paper(SEED, PRINTED_TWICE.get(number, number), revision)
    if number in PRINTED_TWICE:
        return replace(original, abstract=f"{original.abstract} Reprinted by popular demand.")
    if number in EDITORIALS:
        return Written("Editorial: On Not Being There", "", ("The Editors",), "")
    return original


@functools.cache
def _issues() -> tuple[Issue, ...]:
    return tuple(Issue(volume, number, year) for volume, year, count in _VOLUMES for number in range(1, count + 1))


def _article(number: int, revision: int, *, day: date | None = None) -> Article:
    # Papers that later editions add go into the newest issue; its pages simply go on.
    place = min((number - 1) // _PER_ISSUE, len(_issues()) - 1)
    issue = _issues()[place]
    first_in_issue = place * _PER_ISSUE + 1
    first_page = 1 + 60 * (issue.number - 1) + sum(_length(earlier) for earlier in range(first_in_issue, number))
    is_editorial = number in EDITORIALS
    has_picture = not is_editorial and number not in WITHOUT_PICTURE
    return Article(
        number=number,
        revision=revision,
        issue=issue,
        first_page=first_page,
        last_page=first_page + _length(number) - 1,
        day=day or issue.day - timedelta(days=(number * 7) % 40),
        is_editorial=is_editorial,
        picture_name=_picture_name(number, issue) if has_picture else "",
    )


def _length(number: int) -> int:
    return 1 if number in EDITORIALS else 2 + number * 5 % 7


def _picture_name(number: int, issue: Issue) -> str:
    extension = extension_of(number)
    if issue.is_old:
        return f"il-{issue.year}-{number:06d}_0002.{extension}"
    return f"il{issue.year % 100:02d}c{number:05d}_0005.{extension}"
