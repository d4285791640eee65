"""What each picture address showed at each crawl, from the index of the raw store alone; redirects are followed as they were then."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from functools import cache
from urllib.parse import urljoin

import numpy
import pyarrow as pa
import pyarrow.compute as pc

from assets.papers.merging import Picture
from assets.papers.raw_pages import RawPages, StoredPage

_LONGEST_REDIRECT_CHAIN = 10


class StoredPictures:
    """Looks up the pictures of a raw store. moves: (target, address) of every redirect that was followed."""

    def __init__(self, raw: RawPages) -> None:
        self._raw = raw
        self.moves: set[tuple[str, str]] = set()
        self._histories: dict[str, list[StoredPage]] = {}
        self._is_image = pc.equal(raw.index()["kind"], "image")
        self._rows: dict[str, list[int]] = defaultdict(list)
        urls = raw.index()["url"].filter(self._is_image).to_pylist()
        for row, url in zip(numpy.flatnonzero(self._is_image.to_numpy()).tolist(), urls, strict=True):
            self._rows[url].append(row)
        self._targets = cache(self._read_target)

    def load(self, urls: Iterable[str]) -> None:
        """Read the histories of many addresses together, which is cheaper than one by one."""
        rows = {url: self._rows[url] for url in urls if url in self._rows and url not in self._histories}
        if not rows:
            return
        records = iter(self._raw.records_at([row for some in rows.values() for row in some]))
        for url, some in rows.items():
            self._histories[url] = sorted((next(records) for _ in some), key=lambda record: (record.crawl, record.source))

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

    def first_of(self, contents: Iterable[str]) -> dict[str, StoredPage]:
        """The first stored answer of each of these contents, by sha256."""
        is_wanted = pc.is_in(self._raw.index()["content_sha256"], pa.array(contents, pa.string()))
        rows = numpy.flatnonzero(pc.and_(self._is_image, is_wanted).to_numpy())
        found: dict[str, StoredPage] = {}
        for record in sorted(self._raw.records_at(rows), key=lambda record: (record.crawl, record.url, record.source)):
            if not record.is_gone and not record.is_redirect:
                found.setdefault(record.content_sha256, record)
        return found

    def shown_by(self, source: str, url: str, begin: tuple[int, date]) -> dict[str, tuple[int, date]]:
        """(crawl, day) in which each content was first shown by an address from the moment on in which a page first named it.

        A picture served before that was nobody's yet. Which paper it belongs to does not matter, so that nothing learnt later about papers moves a
        serial, which is a rank by this.
        """
        shown: dict[str, tuple[int, date]] = {}
        for moment in [begin, *(change for change in self.changes(source, url) if change > begin)]:
            picture = self.at(source, url, moment[0])
            if picture is not None:
                shown[picture.sha256] = min(shown.get(picture.sha256, moment), moment)
        return shown

    def _history(self, source: str, url: str) -> list[StoredPage]:
        # Two sources may show the same picture, and it is asked for once: where this source has none stored, any other's counts.
        self.load([url])
        history = self._histories.get(url, [])
        return [record for record in history if record.source == source] or history

    def _read_target(self, record: StoredPage) -> str:
        target = urljoin(record.url, self._raw.headers(record).get("location", ""))
        self.moves.add((target, record.url))
        return target


def is_reserved(record: StoredPage) -> bool | None:
    """Whether the answer reserves text and data mining, by the protocol for it or by `noai` in X-Robots-Tag; None where it says nothing."""
    words = {word.strip() for word in (record.robots_tag or "").lower().replace(":", ",").split(",")}
    return True if words & {"noai", "noimageai"} else record.tdm_reserved
