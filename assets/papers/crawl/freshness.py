"""Which links to ask for: the rules that make a night without changes cost the listings only."""

from dataclasses import dataclass
from datetime import date

from assets.papers.crawl.memory import Known
from assets.papers.items import Link
from assets.papers.raw_pages import RawPages

# A page that failed in so many crawls is left alone until it is due for another visit.
MOST_FAILURES = 3
# A list that is gone is asked for again after 1, 2, 4 … days, and this many at most.
LONGEST_PAUSE_DAYS = 32


@dataclass(frozen=True)
class Freshness:
    """Decides by the store and what is remembered. today: the day of the crawl at the link's source."""

    raw: RawPages
    revisit_after_days: int

    def is_wanted(self, link: Link, known: Known, *, today: date, has_changed: bool) -> bool:
        """Whether to ask for the target of a link.

        has_changed: the paper that shows it has changed in this crawl (images only).
        """
        # Lists are where news appears: they are asked for every night, conditionally, but for those that are gone.
        if link.kind in {"index", "api", "robots"}:
            return not self._is_pausing(known, today)
        # A picture is immutable until its paper changes, so that a night without changes asks for none.
        if link.kind == "image":
            return has_changed or self._is_missing(known, today)
        # An article is asked for again when its listing says something else of it, when it is not had, and now and then for what no listing tells.
        has_new_fingerprint = link.fingerprint not in known.fingerprints and known.failures < MOST_FAILURES
        return has_new_fingerprint or self._is_missing(known, today) or self._is_due(known, today)

    def is_worth_a_look(self, known: Known, *, today: date) -> bool:
        """Whether to ask for a page that nothing links to any more: once when that is new, again while it may be gone, and when it is due."""
        if known.kind == "image" or self.raw.is_gone(known.url) or self._is_pausing(known, today):
            return False
        newest = self.raw.latest(known.url)
        return newest is not None and (known.is_listed or newest.is_gone or self._is_due(known, today))

    def _is_missing(self, known: Known, today: date) -> bool:
        """Never had, or gone for one crawl and perhaps for good, or gone for good and listed again."""
        newest = self.raw.latest(known.url)
        if newest is None:
            return known.failures < MOST_FAILURES or self._is_due(known, today)
        # A missing image tells nothing of its paper: once is enough.
        return newest.is_gone and known.kind != "image" and not (known.is_listed and self.raw.is_gone(known.url))

    def _is_pausing(self, known: Known, today: date) -> bool:
        if known.kind == "article" or not known.absences or known.asked is None:
            return False
        pause_days = min(2 ** min(known.absences - 1, 16), LONGEST_PAUSE_DAYS, self.revisit_after_days)
        return (today - known.asked).days < pause_days

    def _is_due(self, known: Known, today: date) -> bool:
        return known.asked is not None and (today - known.asked).days >= self.revisit_after_days
