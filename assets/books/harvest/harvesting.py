"""One harvest: ask every source what there is, take what is new or has changed, mark what is gone, publish, remember."""

import contextlib
import hashlib
import itertools
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path

from assets.books.harvest.archive import Archive, open_archive
from assets.books.harvest.choice import MARKS, choose, kind_of
from assets.books.harvest.config import IDENTIFIER, ArchiveItemsConfig, SourceParams
from assets.books.harvest.stated import Stated, StatedFile
from assets.books.harvest.store import Row, Store, is_at_hand, publish, read_store
from assets.books.harvest.unfinished import Memory, Remembered, Replies, read_memory, write_memory
from assets.downloads.batch import Outcome, download_all
from assets.downloads.guarded_http import DownloadError, UnavailableError
from assets.downloads.one_file import Wanted
from assets.images.columns import UNKNOWN_LICENCE
from assets.images.licences import spdx
from stages.locks import take_lock
from stages.output_folder import OutputBusyError
from stages.reporting import Reporter

_BATCH = 64
# A source of which more items than this, and more than half, answer nothing at all in one night, is taken to be out of order.
_FEW = 3


class HarvestError(Exception):
    """Nothing could be harvested, or a source cannot be asked as params.yaml says; the same command goes on."""


@dataclass
class Tally:
    """What a harvest did at one source. left_out: items that its caps kept away. problems: what it could not say now; tomorrow it may."""

    source: str
    listed: int = 0
    asked: int = 0
    new: int = 0
    changed: int = 0
    dark: int = 0
    left_out: int = 0
    downloaded: int = 0
    downloaded_bytes: int = 0
    problems: list[str] = field(default_factory=list)


@dataclass
class Harvest:
    """What came of it. here_before: living items of the harvest before."""

    store: Store
    tallies: list[Tally]
    here_before: int
    is_new: bool


def harvest(config: ArchiveItemsConfig, target: Path, *, state: Path, authorization: str, reporter: Reporter) -> Harvest:
    """Harvest all sources once into the folder `target`.

    state: a folder for what is not part of the output. authorization: of an account at the archive, or empty.
    Raises HarvestError, ItemsError (the output is damaged), OutputBusyError (another harvest runs) or OSError (disk full …); the same call goes on.
    """
    own = state / hashlib.sha256(str(target.resolve()).encode()).hexdigest()[:16]
    own.mkdir(parents=True, exist_ok=True)
    with _only_harvest(own / "lock", target):
        old = read_store(target)
        replies = Replies(own / "replies.jsonl")
        with contextlib.closing(replies):
            if replies:
                reporter.log(f"archive_items: going on with a harvest that knows of {len(replies):,} items already")
            run = _Run(config, target, old, old.copy(), read_memory(own / "memory.json", config), replies, own / "downloads", authorization, reporter)
            for source in config.sources:
                run.harvest_source(source)
            run.leave_what_nobody_asks_for()
            if not run.store.items and any(tally.problems for tally in run.tallies):
                raise HarvestError(f"nothing could be harvested: {next(tally.problems[0] for tally in run.tallies if tally.problems)}")
            # First the output, all at once; then what is remembered of it. Killed in between, the next harvest hears the same answers again.
            is_new = publish(target, old, run.store, run.downloaded)
            write_memory(own / "memory.json", run.memory, config)
            replies.discard()
            run.clear_downloads()
    return Harvest(run.store, run.tallies, len(old.living()), is_new)


@dataclass
class _Run:
    """old, store: the harvest before and this one. downloaded: new files by their path in the output. parts: beginnings that are worth keeping."""

    config: ArchiveItemsConfig
    target: Path
    old: Store
    store: Store
    memory: Memory
    replies: Replies
    scratch: Path
    authorization: str
    reporter: Reporter
    tallies: list[Tally] = field(default_factory=list)
    downloaded: dict[str, Path] = field(default_factory=dict)
    parts: set[Path] = field(default_factory=set)
    today: date = date.min

    def __post_init__(self) -> None:
        self.serials = itertools.count(max((row["serial"] for row in self.old.items.values()), default=-1) + 1)
        self.number = max((row["first_harvest"] for row in self.old.items.values()), default=0) + 1

    def harvest_source(self, source: SourceParams) -> None:
        self.tallies.append(tally := Tally(source.name))
        try:
            with open_archive(source, self.config, self.authorization) as archive:
                _OneSource(self, source, archive, tally).harvest()
                self.today = max(self.today, archive.day)
        except (ValueError, FileNotFoundError) as error:
            raise HarvestError(f"source '{source.name}': {error}") from None
        for problem in tally.problems[:3]:
            self.reporter.notice(f"archive_items: source '{source.name}': {problem}")

    def leave_what_nobody_asks_for(self) -> None:
        """Items whose source is not in params.yaml any more keep their row and number, and nothing else."""
        asked = {source.name for source in self.config.sources}
        for row in self.store.items.values():
            if row["source"] not in asked and row["status"] in {"here", "without_file"}:
                row |= {"status": "left", "words": f"source '{row['source']}' is not asked any more", "last_changed": self.today}
                self.store.files.pop(row["identifier"], None)
        self.store.rejected = {key: rows for key, rows in self.store.rejected.items() if key[0] in asked}

    def clear_downloads(self) -> None:
        """Remove what is part of the output now, or of no use; the beginnings of files that could not be had today stay."""
        for path in self.scratch.iterdir() if self.scratch.is_dir() else ():
            if path not in self.parts:
                path.unlink() if path.is_file() else shutil.rmtree(path)


@dataclass
class _Judged:
    """An item that the archive told of. useless: files that were fetched in vain before, and are the same still."""

    stated: Stated
    wanted: list[StatedFile]
    kept: list[Row]
    useless: dict[str, str]
    reason: str = ""
    words: str = ""

    @property
    def size(self) -> int:
        """Bytes of its files when they are here, as far as they are stated."""
        return sum(file.bytes or 0 for file in self.wanted) + _size(self.kept)

    def without(self, reason: str, words: str) -> "_Judged":
        """The same without what it wants, and why."""
        return replace(self, wanted=[], reason=reason, words=words)


@dataclass
class _Room:
    """What the caps of a source leave room for; None: no limit."""

    items: int | None
    pages: int | None
    bytes: int | None

    def fits(self, items: int, pages: int, size: int) -> bool:
        return all(left is None or more <= max(0, left) for left, more in ((self.items, items), (self.pages, pages), (self.bytes, size)))

    def take(self, items: int, pages: int, size: int) -> None:
        self.items, self.pages, self.bytes = (
            None if left is None else left - less for left, less in ((self.items, items), (self.pages, pages), (self.bytes, size))
        )


@dataclass
class _OneSource:
    """The harvest of one source. listed: what the search told of each item; of named ones nothing is told. is_whole: it came to its end."""

    run: _Run
    source: SourceParams
    archive: Archive
    tally: Tally
    listed: dict[str, str] = field(default_factory=dict)
    is_whole: bool = True

    def harvest(self) -> None:
        store = self.run.store
        self._list()
        self.tally.listed = len(self.listed)
        # Items of sources that are not asked any more belong to the first that asks for them now.
        asked = {source.name for source in self.run.config.sources}
        mine = [
            row
            for row in store.items.values()
            if row["source"] == self.source.name or (row["source"] not in asked and row["identifier"] in self.listed)
        ]
        for row in mine:
            row["source"] = self.source.name
        # Known items first, then as many new ones as there is room for, then the files of both.
        answers = self._ask([row["identifier"] for row in mine if self._must_ask(row)])
        answers = self._without_an_outage(answers, mine)
        room = _Room(self.source.max_items, self.source.max_pages, None if self.source.max_mib is None else self.source.max_mib * 2**20)
        for row in store.living(self.source.name):
            room.take(1, row["pages"] or 0, _size(store.files[row["identifier"]]))
        judged = []
        for stated in answers:
            if stated.is_gone:
                self._darken(stated)
            else:
                judged.append(self._within(room, self._judge(stated)))
        self._fetch([*judged, *self._new_ones(room)])

    # What there is.

    def _list(self) -> None:
        if self.source.identifiers:
            self.listed = dict.fromkeys(_named(self.source), "")
            return
        found = self.archive.search(self.source.question)
        try:
            for identifier, told in self.run.reporter.progress(found, total=None, what=f"archive_items: {self.source.name}, listed"):
                self.listed[identifier] = told
        except DownloadError as error:
            # What was found is there; what was not found may be there as well.
            self.is_whole = False
            self._problem(error)

    def _must_ask(self, row: Row) -> bool:
        """Whether the archive may have something new to say of a known item."""
        name = row["identifier"]
        if name not in self.listed:
            # It left the collection, or went dark: only its metadata tell which.
            return self.is_whole and row["status"] in {"here", "without_file"}
        is_lost = any(not is_at_hand(self.run.target, file) for file in self.run.store.files.get(name, ()))
        return row["status"] in {"dark", "left"} or is_lost or not self._is_as_it_was(name)

    def _is_as_it_was(self, name: str) -> bool:
        """Whether the search tells of an item what it told when its metadata were read last, not too long ago."""
        known, told = self.run.memory.items.get((self.source.name, name)), self.listed[name]
        return known is not None and bool(told) and told == known.told and not self._is_due(known)

    def _is_due(self, known: Remembered) -> bool:
        return (self.archive.day - known.asked).days >= self.run.config.revisit_after_days

    def _ask(self, names: Sequence[str]) -> list[Stated]:
        """What the archive states of items, in their order; those of which it cannot tell now are left out."""
        found: list[Stated] = []
        with ThreadPoolExecutor(self.run.config.at_once, thread_name_prefix="metadata") as pool:
            try:
                answers = pool.map(self._ask_one, names)
                what = f"archive_items: {self.source.name}, metadata"
                for name, answer in zip(names, self.run.reporter.progress(answers, total=len(names), what=what), strict=True):
                    if isinstance(answer, Stated):
                        found.append(answer)
                    elif isinstance(answer, UnavailableError) or name in self.run.store.items:
                        self._problem(answer)
                    else:
                        self._reject(name, [("", answer.reason, self.archive.in_tables(str(answer)))])
            finally:
                pool.shutdown(cancel_futures=True)
        return found

    def _ask_one(self, name: str) -> Stated | DownloadError:
        known = self.run.replies.get(self.source.name, name)
        if known is not None:
            return known
        try:
            stated = self.archive.metadata(name)
        except DownloadError as error:
            return error
        self.run.replies.add(self.source.name, stated)
        return stated

    # What to do about it.

    def _without_an_outage(self, answers: list[Stated], mine: Sequence[Row]) -> list[Stated]:
        """An archive that answers nothing at all for most of what it had is out of order; single items do go."""
        self.tally.asked = len(answers)
        had = {row["identifier"] for row in mine if row["status"] in {"here", "without_file"}}
        empty = [stated for stated in answers if stated.is_empty and stated.identifier in had]
        if len(empty) <= max(_FEW, len(had) / 2):
            return answers
        self._problem(UnavailableError(f"{len(empty):,} of {len(had):,} items have no metadata, first {empty[0].identifier}; taken for an outage"))
        return [stated for stated in answers if stated not in empty]

    def _darken(self, stated: Stated) -> None:
        """The item becomes a tombstone: its row stays, its files go."""
        row = self.run.store.items[stated.identifier]
        if row["status"] == "dark":
            return
        words = "the archive says that it is dark" if stated.is_dark else "the archive has no item of this name any more"
        row |= {"status": "dark", "words": words, "last_changed": self.archive.day}
        self.run.store.files.pop(stated.identifier, None)
        self._reject(stated.identifier, [])
        self._remember(stated, {})
        self.tally.dark += 1

    def _judge(self, stated: Stated) -> _Judged:
        config, name = self.run.config, stated.identifier
        choice = choose(stated, prefer=config.prefer, files=config.files, max_bytes=config.max_file_mib * 2**20)
        known = self.run.memory.items.get((self.source.name, name))
        vain = known.useless if known is not None and not self._is_due(known) else {}
        useless = {file.name: file.md5 for file in choice.files if vain.get(file.name) == file.md5}
        have = {row["name"]: row for row in self._have(name)}
        kept = [have[file.name] for file in choice.files if file.name in have and have[file.name]["md5"] == file.md5]
        done = {row["name"] for row in kept} | set(useless)
        return _Judged(stated, [file for file in choice.files if file.name not in done], kept, useless, choice.reason, choice.words)

    def _have(self, name: str) -> list[Row]:
        return [row for row in self.run.store.files.get(name, ()) if is_at_hand(self.run.target, row)]

    def _within(self, room: _Room, judged: _Judged) -> _Judged:
        """Take the room that a known item needs more than before; where there is none, it keeps the files that it has."""
        row = self.run.store.items[judged.stated.identifier]
        have = self._have(row["identifier"])
        more = (row["status"] != "here", (judged.stated.pages or 0) - (row["pages"] or 0 if have else 0), judged.size - _size(have))
        if not judged.wanted or room.fits(*more):
            room.take(*more)
            return judged
        return judged.without("over_cap", "there is no room for its new file within the caps of the source")

    def _new_ones(self, room: _Room) -> Iterator[_Judged]:
        """Items that were never here, in the order of the search, until the caps are reached."""
        unknown = [name for name in self.listed if name not in self.run.store.items and not self._is_as_it_was(name)]
        alone = _Room(self.source.max_items, self.source.max_pages, None if self.source.max_mib is None else self.source.max_mib * 2**20)
        is_full, place = False, 0
        while place < len(unknown) and not (is_full or room.items == 0):
            batch = unknown[place : place + min(_BATCH, room.items or _BATCH)]
            answers = self._ask(batch)
            self.tally.asked += len(answers)
            place += len(batch)
            for number, stated in enumerate(answers):
                if stated.is_gone:
                    self._reject(
                        stated.identifier, [("", "dark" if stated.is_dark else "not_found", "the archive does not show an item of this name")]
                    )
                    self._remember(stated, {})
                    continue
                judged = self._judge(stated)
                needs = (1, stated.pages or 0, judged.size)
                if judged.wanted and not alone.fits(*needs):
                    judged = judged.without("over_cap", f"its {needs[1]:,} pages and {needs[2]:,} bytes are more than the source may have in all")
                elif judged.wanted and not room.fits(*needs):
                    is_full, place = True, place - len(answers) + number
                    break
                elif judged.wanted:
                    room.take(*needs)
                yield judged
        self.tally.left_out = len(unknown) - place

    # The files.

    def _fetch(self, judged: Sequence[_Judged]) -> None:
        wanted = [self._wanted(found.stated.identifier, file) for found in judged for file in found.wanted]
        what = f"archive_items: {self.source.name}"
        outcomes = iter(download_all(wanted, self.archive.rules, what=what, reporter=self.run.reporter, hosts=self.archive.hosts))
        for found in judged:
            self._settle(found, [(file, next(outcomes)) for file in found.wanted])

    def _wanted(self, identifier: str, file: StatedFile) -> Wanted:
        key = hashlib.sha256(f"{self.archive.base}\0{identifier}\0{file.name}\0{file.md5}".encode()).hexdigest()[:40]
        sums = {"md5": file.md5} | ({"sha1": file.sha1} if file.sha1 else {})
        return Wanted(self.archive.file_url(identifier, file.name), self.run.scratch / key, sums, file.bytes, MARKS[kind_of(file) or "pdf"])

    def _settle(self, judged: _Judged, outcomes: Sequence[tuple[StatedFile, Outcome]]) -> None:
        """Write down what became of an item, now that its files are here or not."""
        store, stated = self.run.store, judged.stated
        name, key = stated.identifier, (self.source.name, stated.identifier)
        late = [outcome for _, outcome in outcomes if outcome.reason == UnavailableError.reason]
        if late:
            # Nothing of it is settled: the item stays as it is, and what has come of its files waits for the next harvest.
            self.run.parts |= {outcome.wanted.target for _, outcome in outcomes}
            self.run.memory.items.pop(key, None)
            self.tally.problems += [self.archive.in_tables(outcome.problem) for outcome in late]
            return
        row = store.items.get(name) or self._new_row(name)
        came = [self._file_row(row, file, outcome) for file, outcome in outcomes if outcome.sha256]
        bad = [(file.name, outcome.reason, self.archive.in_tables(outcome.problem)) for file, outcome in outcomes if outcome.problem]
        # A file that could not be replaced stays; so does what there is when nothing better can be had.
        have = self._have(name)
        files = [*judged.kept, *came, *(old for old in have if old["name"] in {lost for lost, *_ in bad})]
        files = files or (have if bad or judged.useless or judged.reason == "over_cap" else [])
        told = [(old["name"], old["reason"], old["words"]) for old in store.rejected.get(key, ()) if old["name"] in judged.useless]
        rejected = [*bad, *told, *([("", judged.reason, judged.words)] if judged.reason else [])]
        self._reject(name, rejected)
        store.files[name] = files
        if not files:
            del store.files[name]
        words = "" if files else rejected[0][2] if rejected else "its file was of no use"
        now = row | self._told(stated) | {"status": "here" if files else "without_file", "words": words}
        if name in store.items and (now != row or came):
            now["last_changed"] = self.archive.day
            self.tally.changed += 1
        self.tally.new += name not in store.items
        store.items[name] = now
        self._remember(stated, judged.useless | {file.name: file.md5 for file, outcome in outcomes if outcome.problem})

    def _new_row(self, name: str) -> Row:
        day = self.archive.day
        return {"identifier": name, "serial": next(self.run.serials), "first_harvest": self.run.number, "first_seen": day, "last_changed": day}

    def _told(self, stated: Stated) -> Row:
        licence = (spdx(stated.licence_url) or UNKNOWN_LICENCE) if stated.licence_url else self.source.licence
        return {
            "title": stated.title or None,
            "creators": list(stated.creators),
            "date": stated.date or None,
            "languages": list(stated.languages),
            "collections": list(stated.collections),
            "pages": stated.pages,
            "licence": licence,
            "licence_url": stated.licence_url or None,
            "source": self.source.name,
            "url": f"{self.source.base}/details/{stated.identifier}",
            "item_updated": stated.updated,
        }

    def _file_row(self, item: Row, file: StatedFile, outcome: Outcome) -> Row:
        kind = kind_of(file)
        path = f"files/{outcome.sha256}.{'zip' if kind == 'jp2_zip' else 'pdf'}"
        size = outcome.wanted.target.stat().st_size
        self.run.downloaded[path] = outcome.wanted.target
        self.tally.downloaded += 1
        self.tally.downloaded_bytes += size
        facts = {"name": file.name, "kind": kind, "format": file.format or None, "md5": file.md5, "sha1": file.sha1 or None}
        return {"identifier": item["identifier"], "serial": item["serial"], **facts, "bytes": size, "sha256": outcome.sha256, "path": path}

    def _reject(self, name: str, found: Sequence[tuple[str, str, str]]) -> None:
        """Note what was set aside of an item, in place of what was noted before. found: of each the file's name, the reason and words."""
        key = (self.source.name, name)
        self.run.store.rejected.pop(key, None)
        if found:
            base = {"source": self.source.name, "identifier": name}
            self.run.store.rejected[key] = [base | {"name": file, "reason": reason, "words": words} for file, reason, words in found]

    def _remember(self, stated: Stated, useless: dict[str, str]) -> None:
        told = self.listed.get(stated.identifier, "")
        self.run.memory.items[self.source.name, stated.identifier] = Remembered(told, self.archive.day, useless)

    def _problem(self, error: DownloadError) -> None:
        self.tally.problems.append(self.archive.in_tables(str(error)))


def _size(rows: Iterable[Row]) -> int:
    return sum(row["bytes"] for row in rows)


def _named(source: SourceParams) -> list[str]:
    """The items of a source that names them. Raises ValueError or FileNotFoundError."""
    if isinstance(source.identifiers, list):
        return source.identifiers
    lines = Path(source.identifiers).read_text(encoding="utf-8").splitlines()
    names = [line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#")]
    wrong = next((name for name in names if not IDENTIFIER.fullmatch(name)), None)
    if wrong is not None:
        raise ValueError(f"{source.identifiers}: '{wrong[:80]}' is not an identifier; expected one a line, as in archive.org/details/…")
    return names


@contextlib.contextmanager
def _only_harvest(path: Path, target: Path) -> Iterator[None]:
    descriptor = take_lock(path)
    if descriptor is None:
        raise OutputBusyError(f"{target}: another harvest is running now; wait for it, or stop it")
    try:
        yield
    finally:
        os.close(descriptor)
