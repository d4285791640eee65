"""The harvest of one source: what is listed there, what is stated of it, which files of it come, and what is written down of each item."""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from assets.books.harvest.archive import Archive
from assets.books.harvest.choice import MARKS, choose, kind_of
from assets.books.harvest.config import SourceParams
from assets.books.harvest.run import Run, Tally
from assets.books.harvest.stated import Stated, StatedFile
from assets.books.harvest.store import Row, is_at_hand
from assets.books.harvest.unfinished import Remembered, keep_reply, recall_reply
from assets.downloads.batch import Outcome, download_all
from assets.downloads.guarded_http import DownloadError, UnavailableError
from assets.downloads.one_file import Wanted
from assets.images.columns import UNKNOWN_LICENCE
from assets.images.licences import spdx

_BATCH = 64
# A source of which more items than this, and more than half, answer nothing at all in one night, is taken to be out of order.
_FEW = 3


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
    def needs(self) -> "_Amounts":
        """What it takes of the caps when its files are here, as far as it states that."""
        size = sum(file.bytes or 0 for file in self.wanted) + _size(self.kept)
        return (1, self.stated.pages or 0, size) if self.wanted or self.kept else (0, 0, 0)

    def without(self, reason: str, words: str) -> "_Judged":
        """The same without what it wants, and why."""
        return replace(self, wanted=[], reason=reason, words=words)


# Items with a file, their pages, their bytes.
_Amounts = tuple[int, int, int]


@dataclass
class _Room:
    """What the caps of a source leave room for; None: no limit."""

    left: list[int | None]

    def fits(self, more: _Amounts) -> bool:
        return all(left is None or amount <= max(0, left) for left, amount in zip(self.left, more, strict=True))

    def take(self, more: _Amounts) -> None:
        self.left = [None if left is None else left - amount for left, amount in zip(self.left, more, strict=True)]


@dataclass
class OneSource:
    """named: items, where the source names them. listed: what the search told of each, nothing of named ones. is_whole: it came to its end."""

    run: Run
    source: SourceParams
    archive: Archive
    tally: Tally
    named: list[str]
    listed: dict[str, str] = field(default_factory=dict)
    is_whole: bool = True

    def harvest(self) -> None:
        store = self.run.store
        self._list()
        self.tally.listed = len(self.listed)
        # Items for which no other source asks any more belong to the first that asks for them now.
        for name, row in store.items.items():
            if name in self.listed and (row["status"] == "left" or row["source"] not in self.run.asked_sources):
                row["source"] = self.source.name
        mine = [row for row in store.items.values() if row["source"] == self.source.name]
        # Known items first, then as many new ones as there is room for, then the files of both.
        answers = self._without_an_outage(self._ask([row["identifier"] for row in mine if self._must_ask(row)]), mine)
        for row in mine:
            if self.source.identifiers and row["identifier"] not in self.listed:
                self.run.leave(row, f"source '{self.source.name}' does not name it any more", self.archive.day)
            if not row["licence_url"] and row["licence"] != self.source.licence:
                row |= {"licence": self.source.licence, "last_changed": self.archive.day}
        for stated in answers:
            if stated.is_gone:
                self._darken(stated)
        room = self._room()
        for row in mine:
            room.take(self._had(row))
        judged = [self._within(room, self._judge(stated)) for stated in answers if not stated.is_gone]
        self._fetch([*judged, *self._new_ones(room)])

    # What there is.

    def _list(self) -> None:
        self.listed = dict.fromkeys(self.named, "")
        if self.source.identifiers:
            return
        found = self.archive.search(self.source.question)
        try:
            for identifier, told in self.run.reporter.progress(found, total=None, what=f"archive_items: {self.source.name}, listed"):
                # A folder's archive has no times of its own: only the metadata tell whether a file in it changed.
                self.listed[identifier] = "" if self.source.folder else told
        except DownloadError as error:
            # What was found is there; what was not found may be there as well.
            self.is_whole = False
            self._problem(error)

    def _must_ask(self, row: Row) -> bool:
        """Whether the archive may have something new to say of a known item."""
        name = row["identifier"]
        if name not in self.listed:
            # It left the collection, or went dark: only its metadata tell which.
            return self.is_whole and not self.source.identifiers and row["status"] in {"here", "without_file"}
        is_lost = any(not is_at_hand(self.run.target, file) for file in self.run.store.files.get(name, ()))
        return row["status"] in {"dark", "left"} or is_lost or not self._is_as_it_was(name)

    def _is_as_it_was(self, name: str) -> bool:
        """Whether the search tells of an item what it told when its metadata were read last, not too long ago."""
        known, told = self.run.memory.get((self.source.name, name)), self.listed[name]
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
            except BaseException:
                # After an error or Ctrl-C, those under way stop at their next piece, and nobody begins.
                self.archive.hosts.stop.set()
                pool.shutdown(cancel_futures=True)
                raise
        return found

    def _ask_one(self, name: str) -> Stated | DownloadError:
        question = f"{self.archive.base} {name} {self.listed.get(name)}"
        if known := recall_reply(self.run.replies, question):
            return known
        try:
            stated = self.archive.metadata(name)
        except DownloadError as error:
            return error
        keep_reply(self.run.replies, question, stated)
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
        return [stated for stated in answers if not (stated.is_empty and stated.identifier in had)]

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
        known = self.run.memory.get((self.source.name, name))
        vain = known.useless if known is not None and not self._is_due(known) else {}
        useless = {file.name: file.md5 for file in choice.files if vain.get(file.name) == file.md5}
        have = {row["name"]: row for row in self._have(name)}
        kept = [have[file.name] for file in choice.files if file.name in have and have[file.name]["md5"] == file.md5]
        done = {row["name"] for row in kept} | set(useless)
        return _Judged(stated, [file for file in choice.files if file.name not in done], kept, useless, choice.reason, choice.words)

    def _have(self, name: str) -> list[Row]:
        return [row for row in self.run.store.files.get(name, ()) if is_at_hand(self.run.target, row)]

    def _room(self) -> _Room:
        mib = self.source.max_mib
        return _Room([self.source.max_items, self.source.max_pages, None if mib is None else mib * 2**20])

    def _had(self, row: Row) -> _Amounts:
        """What an item takes of the caps now."""
        return (1, row["imagecount"] or 0, _size(self.run.store.files[row["identifier"]])) if row["status"] == "here" else (0, 0, 0)

    def _within(self, room: _Room, judged: _Judged) -> _Judged:
        """Let a known item take what it needs more than before; where there is no room for that, it keeps the files that it has."""
        now, before = judged.needs, self._had(self.run.store.items[judged.stated.identifier])
        more = (now[0] - before[0], now[1] - before[1], now[2] - before[2])
        if judged.wanted and not room.fits(more):
            return judged.without("over_cap", "there is no room for its new file within the caps of the source")
        room.take(more)
        return judged

    def _new_ones(self, room: _Room) -> Iterator[_Judged]:
        """Items that were never here, in the order of the search, until the caps are reached."""
        unknown = [name for name in self.listed if name not in self.run.store.items and not self._is_as_it_was(name)]
        while unknown and room.fits((1, 0, 0)):
            # Where items are capped, no more are asked about than are wanted.
            count = min(_BATCH, room.left[0] or _BATCH)
            answers, unknown = self._ask(unknown[:count]), unknown[count:]
            self.tally.asked += len(answers)
            for place, stated in enumerate(answers):
                if stated.is_gone:
                    self._reject(stated.identifier, [("", "dark" if stated.is_dark else "not_found", "the archive shows no item of this name")])
                    self._remember(stated, {})
                    continue
                judged = self._judge(stated)
                if judged.wanted and not self._room().fits(judged.needs):
                    words = f"its {judged.needs[1]:,} pages and {judged.needs[2]:,} bytes are more than the source may have in all"
                    judged = judged.without("over_cap", words)
                elif not room.fits(judged.needs):
                    self.tally.left_out = len(unknown) + len(answers) - place
                    return
                room.take(judged.needs)
                yield judged
        self.tally.left_out = len(unknown)

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
        return Wanted(self.archive.file_url(identifier, file.name), self.run.downloads / key, sums, file.bytes, MARKS[kind_of(file) or "pdf"])

    def _settle(self, judged: _Judged, outcomes: Sequence[tuple[StatedFile, Outcome]]) -> None:
        """Write down what became of an item, now that its files are here or not."""
        store, stated = self.run.store, judged.stated
        name, key = stated.identifier, (self.source.name, stated.identifier)
        late = [outcome for _, outcome in outcomes if outcome.reason == UnavailableError.reason]
        if late:
            # Nothing of it is settled: the item stays as it is, and what has come of its files waits for the next harvest.
            self.run.waiting |= {outcome.wanted.target for _, outcome in outcomes}
            self.run.memory.pop(key, None)
            self.tally.problems += [self.archive.in_tables(outcome.problem) for outcome in late]
            return
        row = store.items.get(name) or self._new_row(name)
        is_only = len(outcomes) + len(judged.kept) == 1
        came = [self._file_row(row, file, outcome, is_only=is_only) for file, outcome in outcomes if outcome.sha256]
        bad = [(file.name, outcome.reason, self.archive.in_tables(outcome.problem)) for file, outcome in outcomes if outcome.problem]
        # A file that could not be replaced stays; so does what there is when nothing better can be had.
        have = self._have(name)
        files = [*judged.kept, *came, *(old for old in have if old["name"] in {lost for lost, *_ in bad})]
        files = files or (have if bad or judged.useless or judged.reason == "over_cap" else [])
        told = [(old["name"], old["reason"], old["words"]) for old in store.rejected.get(key, ()) if old["name"] in judged.useless]
        rejected = [*bad, *told, *([("", judged.reason, judged.words)] if judged.reason else [])]
        self._reject(name, rejected)
        before = store.files.pop(name, [])
        if files:
            store.files[name] = files
        words = "" if files else rejected[0][2] if rejected else "its file was of no use"
        now = row | self._told(stated) | {"status": "here" if files else "without_file", "words": words}
        # A file that was lost here and came again is the same row.
        if name in store.items and (now != row or len(files) != len(before) or any(file not in before for file in files)):
            now["last_changed"] = self.archive.day
            self.tally.changed += 1
        self.tally.new += name not in store.items
        store.items[name] = now
        useless = judged.useless | {file.name: file.md5 for file, outcome in outcomes if outcome.problem}
        self._remember(stated, useless, is_new=bool(outcomes))

    def _new_row(self, name: str) -> Row:
        day = self.archive.day
        numbers = {"serial": next(self.run.serials), "first_harvest": self.run.number, "last_file": None}
        return {"identifier": name, **numbers, "first_seen": day, "last_changed": day}

    def _told(self, stated: Stated) -> Row:
        licence = (spdx(stated.licence_url) or UNKNOWN_LICENCE) if stated.licence_url else self.source.licence
        return {
            "title": stated.title or None,
            "creators": list(stated.creators),
            "date": stated.date or None,
            "languages": list(stated.languages),
            "collections": list(stated.collections),
            "imagecount": stated.pages,
            "licence": licence,
            "licence_url": stated.licence_url or None,
            "source": self.source.name,
            "url": f"{self.source.base}/details/{stated.identifier}",
            "item_updated": stated.updated,
        }

    def _file_row(self, item: Row, file: StatedFile, outcome: Outcome, *, is_only: bool) -> Row:
        kind = kind_of(file)
        path = f"files/{outcome.sha256}.{'zip' if kind == 'jp2_zip' else 'pdf'}"
        size = outcome.wanted.target.stat().st_size
        self.run.downloaded[path] = outcome.wanted.target
        self.tally.downloaded += 1
        facts = {"name": file.name, "kind": kind, "format": file.format or None, "md5": file.md5, "sha1": file.sha1 or None}
        # A file that is replaced keeps its number; so does the only one of an item, whatever it is called now, and wherever it was meanwhile.
        before = {row["name"]: row["serial"] for row in self.run.store.files.get(item["identifier"], ())}
        serial = before.get(file.name, item["last_file"] if is_only else None)
        if serial is None:
            serial = item["last_file"] = next(self.run.file_serials)
        return {"identifier": item["identifier"], "serial": serial, **facts, "bytes": size, "sha256": outcome.sha256, "path": path}

    def _reject(self, name: str, found: Sequence[tuple[str, str, str]]) -> None:
        """Note what was set aside of an item, in place of what was noted before. found: of each the file's name, the reason and words."""
        key = (self.source.name, name)
        self.run.store.rejected.pop(key, None)
        if found:
            base = {"source": self.source.name, "identifier": name}
            self.run.store.rejected[key] = [base | {"name": file, "reason": reason, "words": words} for file, reason, words in found]

    def _remember(self, stated: Stated, useless: dict[str, str], *, is_new: bool = True) -> None:
        key = (self.source.name, stated.identifier)
        # While nothing is fetched anew because it was useless, the day on which it was found so counts.
        asked = self.run.memory[key].asked if useless and key in self.run.memory and not is_new else self.archive.day
        self.run.memory[key] = Remembered(self.listed.get(stated.identifier, ""), asked, useless)

    def _problem(self, error: DownloadError) -> None:
        self.tally.problems.append(self.archive.in_tables(str(error)))


def _size(rows: Iterable[Row]) -> int:
    return sum(row["bytes"] for row in rows)
