"""The crawl in progress, on disk: what it has asked for so far, so that a killed crawl continues where it was.

    crawl.json            its number, and the day of each source
    log.jsonl             one line an address that is done with: stored, unchanged, or why not
    crawl-00007.warc.gz   the responses that are new

A response is appended to the WARC file first and to the log at once after it; both survive SIGKILL. What the log lost is found again in the WARC
file.
"""

import json
import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Literal

from assets.papers.items import PageKind
from assets.papers.raw_pages import StoredPage, stored_page, warc_name
from assets.papers.warc_store import Exchange, Place, WarcError, WarcWriter, cut_torn_tail, read_exchange, whole_records
from stages.files import write_file_atomically

# Problems that the next night may find solved; with others a page is left alone until it changes or is due for another visit.
PASSING = frozenset(
    {"timeout", "cut_off", "unreachable", "unknown_host", "told_to_wait", "robots_unreachable", "credits_exhausted", "too_costly"}
) | {f"http_{status}" for status in (408, 429, 500, 502, 503, 504)}
# `same`: other bytes than the stored ones, in which the page object reads nothing else.
Outcome = Literal["stored", "unchanged", "same", "still_gone", "failed"]


@dataclass(frozen=True)
class Done:
    """One address that this crawl is done with.

    link: the address that was followed; another than `url` after redirects. tries: requests made for it. origin: what served the source.
    problem, words: why it failed. day and the other fields of a stored response: as in the index.
    """

    url: str
    link: str
    source: str
    kind: PageKind
    outcome: Outcome
    tries: int
    origin: str = ""
    status: int = 0
    problem: str = ""
    words: str = ""
    page: StoredPage | None = None

    def to_json(self) -> str:
        values = {key: value for key, value in vars(self).items() if value not in ("", None)}
        if self.page is not None:
            values["page"] = vars(self.page)
        return json.dumps(values, default=_moment, ensure_ascii=False)

    @classmethod
    def from_json(cls, line: str) -> "Done":
        values = json.loads(line)
        if page := values.get("page"):
            page["day"], page["fetched_at"] = date.fromisoformat(page["day"]), datetime.fromisoformat(page["fetched_at"])
            values["page"] = StoredPage(**page)
        return cls(**values)


@dataclass
class Unfinished:
    """The crawl in progress in `folder`, which is continued when it is there.

    origins: what serves each source, by name; responses that came from another origin do not count. about: the fields of the WARC file's first
    record.
    """

    folder: Path
    crawl: int
    origins: Mapping[str, str]
    about: Mapping[str, str]
    done: dict[str, Done] = field(default_factory=dict)
    days: dict[str, date] = field(default_factory=dict)
    _lost: dict[str, Place] = field(default_factory=dict)
    _log: int = -1
    _reader: int = -1
    _writer: WarcWriter | None = None

    @property
    def warc(self) -> Path:
        return self.folder / warc_name(self.crawl)

    def open(self) -> None:
        """Read what is there, repair its tail, and be ready to go on."""
        self.folder.mkdir(parents=True, exist_ok=True)
        # The order matters: days before rows, the log before the WARC file that it is compared with, and only then files open for appending.
        self._read_days()
        self._read_log()
        self._mend_warc()
        self._writer = WarcWriter(self.warc, about=self.about)
        self._reader = os.open(self.warc, os.O_RDONLY)
        # The log begins anew without its torn line and without what the WARC file has lost.
        write_file_atomically(self.folder / "log.jsonl", "".join(map(_line_of, self.done.values())).encode("utf-8"))
        self._log = os.open(self.folder / "log.jsonl", os.O_WRONLY | os.O_APPEND)

    def close(self) -> None:
        for descriptor in (self._log, self._reader):
            if descriptor >= 0:
                os.close(descriptor)
        self._log = self._reader = -1
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def day_of(self, source: str) -> date:
        """The day of this crawl at that source; the local UTC day until `note_date` has seen a response."""
        return self.days.get(source) or datetime.now(UTC).date()

    def note_date(self, source: str, header: str) -> None:
        """Fix the day of the source by the Date header of its first response."""
        if source in self.days:
            return
        self.days[source] = _day_of_header(header) or datetime.now(UTC).date()
        self._write_days()

    def keep(self, exchange: Exchange, done: Done, *, content_sha256: str, tdm_reserved: bool | None, parts: Iterable[Exchange] = ()) -> Done:
        """Store the response, and what it was made from, and note it; gives `done` with its index row."""
        # Already in the file, when the program was killed before it could log it; else append it now.
        place = self._lost.pop(exchange.url, None) or self._append(exchange, parts)
        page = stored_page(
            exchange.headers,
            place,
            url=exchange.url,
            source=done.source,
            kind=done.kind,
            crawl=self.crawl,
            day=self.day_of(done.source),
            fetched_at=exchange.fetched_at,
            status=exchange.status,
            content_sha256=content_sha256,
            tdm_reserved=tdm_reserved,
        )
        done = replace(done, page=page)
        self.note(done)
        return done

    def note(self, done: Done) -> None:
        """Note that the crawl is done with an address."""
        line = _line_of(done).encode("utf-8")
        written = 0
        while written < len(line):
            written += os.write(self._log, line[written:])
        self.done[done.url] = done

    def read(self, page: StoredPage) -> Exchange:
        """A response stored by this crawl."""
        return read_exchange(self.warc, page.place, descriptor=self._reader)

    def take_lost(self, url: str) -> Exchange | None:
        """A response that is in the WARC file but not in the log, because the program was killed between the two."""
        place = self._lost.get(url)
        return read_exchange(self.warc, place, descriptor=self._reader) if place else None

    def stored(self) -> Iterator[StoredPage]:
        """The index rows of this crawl."""
        return (done.page for done in self.done.values() if done.page is not None)

    def _append(self, exchange: Exchange, parts: Iterable[Exchange]) -> Place:
        assert self._writer is not None
        return self._writer.write(exchange, parts)

    def _read_days(self) -> None:
        path = self.folder / "crawl.json"
        try:
            self.days = {name: date.fromisoformat(day) for name, day in json.loads(path.read_bytes())["days"].items()}
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            # Not there yet, or damaged: sites tell the day again.
            self._write_days()

    def _write_days(self) -> None:
        value = {"crawl": self.crawl, "days": {name: day.isoformat() for name, day in self.days.items()}}
        write_file_atomically(self.folder / "crawl.json", json.dumps(value, indent=2).encode("utf-8"))

    def _read_log(self) -> None:
        path = self.folder / "log.jsonl"
        text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
        for line in text.split("\n")[:-1]:  # What follows the last newline is a torn line.
            try:
                done = _done_of(line)
            except (ValueError, TypeError, KeyError):
                break
            self.done[done.url] = done

    def _is_whole(self, page: StoredPage, size: int) -> bool:
        if sum(page.place) > size:
            return False
        try:
            return read_exchange(self.warc, page.place).url == page.url
        except WarcError:
            return False

    def _mend_warc(self) -> None:
        size = self.warc.stat().st_size if self.warc.exists() else 0
        # After a power cut the log may know more than the file holds, and the end of the file may be empty blocks.
        logged_end = 0
        for page in sorted(self.stored(), key=lambda page: page.offset, reverse=True):
            if self._is_whole(page, size):
                logged_end = sum(page.place)
                break
            del self.done[page.url]
        self.done = {url: done for url, done in self.done.items() if self.origins.get(done.source) == done.origin}
        if size == 0:
            return
        # Records after the last logged one were written before the program was killed: found again, they need not be asked for.
        cut_torn_tail(self.warc, start=logged_end)
        found = [record for record in whole_records(self.warc, start=logged_end) if record.kind == "response"]
        self._lost = {record.url: record.place for record in found if record.url not in self.done}


def _line_of(done: Done) -> str:
    """A line of the log: what was done, and behind a tab its CRC-32."""
    text = done.to_json()
    return f"{text}\t{zlib.crc32(text.encode('utf-8')):08x}\n"


def _done_of(line: str) -> Done:
    """Raises ValueError, TypeError or KeyError for a line that is not what was written. Those of earlier releases have no CRC-32."""
    text, tab, known = line.rpartition("\t")
    if tab and f"{zlib.crc32(text.encode('utf-8')):08x}" != known:
        raise ValueError("a damaged line")
    return Done.from_json(text if tab else line)


def unfinished_crawl(folder: Path) -> int | None:
    """The number of the crawl in progress there, None when there is none."""
    try:
        return int(json.loads((folder / "crawl.json").read_bytes())["crawl"])
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def _day_of_header(header: str) -> date | None:
    try:
        return parsedate_to_datetime(header).astimezone(UTC).date()
    except (ValueError, TypeError, OverflowError):
        return None


def _moment(value: Any) -> str:
    return str(value.isoformat())
