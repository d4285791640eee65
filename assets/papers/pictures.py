"""What each picture address showed at each crawl, from the index of the raw store alone; redirects are followed as they were then."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from functools import cache
from urllib.parse import urljoin

from assets.papers.merging import PageHistory, Picture
from assets.papers.raw_pages import RawPages, StoredPage

_LONGEST_REDIRECT_CHAIN = 10


class StoredPictures:
    """Looks up the pictures of a raw store."""

    def __init__(self, raw: RawPages) -> None:
        self._raw = raw
        self._of_source: dict[tuple[str, str], list[StoredPage]] = defaultdict(list)
        self._of_any: dict[str, list[StoredPage]] = defaultdict(list)
        records = [record for record in raw.records() if record.kind == "image"]
        for record in sorted(records, key=lambda record: (record.crawl, record.url, record.source)):
            self._of_source[record.source, record.url].append(record)
            self._of_any[record.url].append(record)
        self._targets = cache(self._read_target)

    def at(self, source: str, url: str, crawl: int) -> Picture | None:
        """The picture that `url` showed after the crawl; None where there was none, or it was gone in two crawls running."""
        for _ in range(_LONGEST_REDIRECT_CHAIN):
            # The address as that crawl knew it: only answers up to then, newest last.
            known = [record for record in self._history(source, url) if record.crawl <= crawl]
            if not known:
                return None
            if known[-1].is_redirect:
                url = self._targets(known[-1])
                continue
            # The rule for pages holds for pictures: missing once may be a bad night, twice is gone.
            if len(known) > 1 and all(record.is_gone for record in known[-2:]):
                return None
            shown = next((record for record in reversed(known) if not record.is_gone and not record.is_redirect), None)
            return Picture(shown.content_sha256, is_reserved(shown)) if shown else None
        return None

    def changes(self, source: str, url: str) -> list[tuple[int, date]]:
        """(crawl, day) of every answer that may have changed what `url` shows."""
        # Along redirects as well: a target that changes its bytes changes what the first address shows.
        found: set[tuple[int, date]] = set()
        waiting, seen = [url], {url}
        while waiting and len(seen) <= _LONGEST_REDIRECT_CHAIN:
            for record in self._history(source, waiting.pop()):
                found.add((record.crawl, record.day))
                if record.is_redirect and (target := self._targets(record)) not in seen:
                    seen.add(target)
                    waiting.append(target)
        return sorted(found)

    def records(self) -> dict[str, StoredPage]:
        """The first stored answer of each content, by sha256."""
        first: dict[str, StoredPage] = {}
        for records in self._of_source.values():
            for record in records:
                if not record.is_gone and not record.is_redirect:
                    known = first.get(record.content_sha256)
                    if known is None or (record.crawl, record.url, record.source) < (known.crawl, known.url, known.source):
                        first[record.content_sha256] = record
        return first

    def first_shown(self, pages: Iterable[PageHistory]) -> dict[str, tuple[int, date]]:
        """(crawl, day) in which each content was first shown by an address that some page had named by then; serials are ranks by this.

        Which paper it belongs to does not matter, so that nothing learnt later about papers moves a serial.
        """
        # When each address was first named by a page; a picture served before that was nobody's yet.
        named: dict[tuple[str, str], tuple[int, date]] = {}
        for page in pages:
            for version in page.versions:
                for paper in version.parsed.papers if version.parsed else ():
                    key = (page.source, paper.image_url)
                    named[key] = min(named.get(key, (version.crawl, version.day)), (version.crawl, version.day))
        # The earliest moment in which any named address showed each content.
        shown: dict[str, tuple[int, date]] = {}
        for (source, url), begin in named.items():
            for moment in [begin, *(change for change in self.changes(source, url) if change > begin)] if url else ():
                picture = self.at(source, url, moment[0])
                if picture is not None:
                    shown[picture.sha256] = min(shown.get(picture.sha256, moment), moment)
        return shown

    def _history(self, source: str, url: str) -> list[StoredPage]:
        # Two sources may show the same picture, and it is asked for once: where this source has none stored, any other's counts.
        return self._of_source.get((source, url)) or self._of_any.get(url, [])

    def _read_target(self, record: StoredPage) -> str:
        return urljoin(record.url, self._raw.headers(record).get("location", ""))


def is_reserved(record: StoredPage) -> bool | None:
    """Whether the answer reserves text and data mining, by the protocol for it or by `noai` in X-Robots-Tag; None where it says nothing."""
    words = {word.strip() for word in (record.robots_tag or "").lower().replace(":", ",").split(",")}
    return True if words & {"noai", "noimageai"} else record.tdm_reserved
