"""One build of `papers`: what pages say anew is read, the papers it is about are merged again, and their rows take the place of the old ones.

A first build is a night in which everything is new. What cannot be said of the old rows alone (serials that move, an output that is not the one that
was written) makes every paper new to the steps after it; the bytes are the same either way.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from assets.papers.build_facts import BuildFacts, PapersConfig
from assets.papers.build_memory import BuildMemory, files_of
from assets.papers.groups import Groups
from assets.papers.merging import MergedPaper, merge
from assets.papers.near_duplicates import Judged, Text, first_of_each, judge
from assets.papers.pictures import StoredPictures
from assets.papers.raw_pages import RawPages
from assets.papers.reading import PageReader, bounded, problems_of, rejected_row
from assets.papers.rows import fault_of, image_row, row_of, tombstone_of
from assets.papers.shared_pictures import set_aside_shared
from assets.papers.tables import IMAGES, PAPERS, REJECTED_PAPERS, WITHDRAWN
from assets.papers.text_index import TextIndex
from assets.papers.withdrawals import requests_for_papers, withdrawn_by
from formats.tables import read_table, table_from_rows, write_table
from stages.output_folder import OutputFolder
from stages.retractions import Request

_GROUPS_TOGETHER = 2_000
_FORGET = [f"DELETE FROM {table} WHERE grp = ?" for table in ("papers", "rejects")]  # noqa: S608 - names of ours
_NOT_STORED = "picture_not_stored"
_COMPARED = ["id", "serial", "title", "abstract", "language", "translation_of"]
_INSERT = (
    "INSERT INTO papers (id, grp, first_crawl, fate, source, sha256, family, has_abstract, is_translation, tombstone, names, statements) VALUES"
    " (:id, :grp, :first_crawl, :fate, :source, :sha256, :family, :has_abstract, :is_translation, :tombstone, :names, :statements)"
)


@dataclass
class Night:
    """The steps of a build, to be taken in order: read, merge, compare, write. is_first: whether nothing was known before."""

    config: PapersConfig
    raw: RawPages
    reader: PageReader
    memory: BuildMemory
    target: Path
    requests: Sequence[Request]
    is_first: bool = False
    _facts: BuildFacts = field(default_factory=BuildFacts)
    # The rows that are made anew, by id, and the serials that rows which are not there any more had.
    _rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    _replaced: dict[str, int] = field(default_factory=dict)
    _merged: set[int] = field(default_factory=set)
    _contents: set[str] = field(default_factory=set)
    # Papers that were forgotten and have not been numbered again: (serial, first crawl, id). Classes of texts that fewer papers may have now.
    _unnumbered: list[tuple[int, int, str]] = field(default_factory=list)
    _left_classes: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self._since = self.memory.known_rows(self.raw.index())
        self.is_first = self._since == 0
        self._db = self.memory.db
        # Rows may be taken over only from an output that is the one that was written.
        self._is_whole = self.is_first or files_of(self.target) != self.memory.fact("files")
        self._groups = Groups(self._db, list(self.reader.sources))
        self._pictures = StoredPictures(self.raw)
        self._texts = TextIndex(self._db, self.config.near_duplicate_similarity)
        self._old = _OldRows(self.target, self.config.rows_per_shard)

    # ---- what is said anew ----------------------------------------------------------------------------------------------------------

    def read(self) -> None:
        """Read the pages that have new answers, and learn which papers are concerned."""
        crawls = self.raw.index()["crawl"]
        last = crawls[self._since - 1].as_py() if self._since else 0
        touched = self.reader.pages(since=self._since)
        named: dict[tuple[str, str], tuple[int, str]] = {}
        for page, history in zip(touched, self.reader.histories(touched), strict=True):
            self._groups.tell(history, self._groups.learn(history, -1 if page in self.reader.of_two_kinds else last))
            name = "\n".join(page)
            if not self.is_first:
                self._db.execute("DELETE FROM rejects WHERE page = ?", (name,))
            self._db.executemany("INSERT INTO rejects VALUES (?, NULL, ?)", ((name, _json(row)) for row in problems_of(history)))
            for version in history.versions:
                for paper in version.parsed.papers if version.parsed else ():
                    if paper.image_url:
                        key, moment = (paper.image_url, history.source), (version.crawl, version.day.isoformat())
                        named[key] = min(named.get(key, moment), moment)
        # New answers of a picture's address concern those who show it, and those whose address leads there.
        rows = self.raw.index().slice(self._since)
        new = set(rows["url"].filter(pc.equal(rows["kind"], "image")).to_pylist())
        waiting = list(new)
        while waiting:
            found = {url for (url,) in self._db.execute("SELECT url FROM moves WHERE target = ?", (waiting.pop(),))} - new
            new |= found
            waiting += found
        self._concerned = self._groups.showing(new) | self._requested()
        self._note_pictures(named, new)
        # Of a paper that was two until now, a page that spoke of both is told again, as of one.
        for history in self.reader.histories(sorted(self._groups.again)):
            self._groups.tell(history, self._groups.dirty)
        self._groups.save()

    def _requested(self) -> set[int]:
        """The groups that requests for withdrawal are about, where those are others than before."""
        said = [[request.id, request.reason, request.day.isoformat()] for request in self.requests]
        if said == (self.memory.fact("requests") or []):
            return set()
        self.memory.note(requests=said)
        wanted = requests_for_papers(self.requests)
        rows = self._db.execute("SELECT grp, id, names, fate FROM papers")
        return {group for group, id, names, fate in rows if fate == "on_request" or wanted.naming([id, *json.loads(names)])}

    def _note_pictures(self, named: Mapping[tuple[str, str], tuple[int, str]], new: Iterable[str]) -> None:
        """Note which content each named address showed since when; serials of pictures are ranks by that."""
        keys = set()
        for (url, source), moment in named.items():
            row = self._db.execute("SELECT crawl, day FROM named WHERE url = ? AND source = ?", (url, source)).fetchone()
            if row is None or moment < row:
                self._db.execute("INSERT OR REPLACE INTO named VALUES (?, ?, ?, ?)", (url, source, *moment))
                keys.add((url, source))
        keys |= {(url, source) for url in new for (source,) in self._db.execute("SELECT source FROM named WHERE url = ?", (url,))}
        self._pictures.load(url for url, _ in keys)
        new_first: dict[str, tuple[int, str]] = {}
        has_moved = False
        for url, source in sorted(keys):
            begin = self._db.execute("SELECT crawl, day FROM named WHERE url = ? AND source = ?", (url, source)).fetchone()
            shown = self._pictures.shown_by(source, url, (begin[0], date.fromisoformat(begin[1])))
            before = {row[0]: row[1:] for row in self._db.execute("SELECT sha256, crawl, day FROM shown WHERE url = ? AND source = ?", (url, source))}
            now = {sha256: (crawl, day.isoformat()) for sha256, (crawl, day) in shown.items()}
            has_moved |= any(now.get(sha256) != moment for sha256, moment in before.items())
            for sha256, moment in now.items() - before.items():
                self._db.execute("INSERT OR REPLACE INTO shown VALUES (?, ?, ?, ?, ?)", (url, source, sha256, *moment))
                known = self._db.execute("SELECT crawl, day FROM pictures WHERE sha256 = ?", (sha256,)).fetchone()
                has_moved |= known is not None and moment < known
                if known is None:
                    new_first[sha256] = min(new_first.get(sha256, moment), moment)
            for sha256 in before.keys() - now:
                self._db.execute("DELETE FROM shown WHERE url = ? AND source = ? AND sha256 = ?", (url, source, sha256))
        # Serials are ranks by these moments: new ones come last. Where an old one moves, or may have, everything is made again.
        came = sorted((*moment, sha256) for sha256, moment in new_first.items())
        last = self._db.execute("SELECT crawl, day, sha256, serial FROM pictures ORDER BY serial DESC LIMIT 1").fetchone()
        if not has_moved and (not came or last is None or came[0] > last[:3]):
            begin = last[3] + 1 if last else 0
            rows = ((sha256, serial, crawl, day) for serial, (crawl, day, sha256) in enumerate(came, begin))
            self._db.executemany("INSERT INTO pictures VALUES (?, ?, ?, ?)", rows)
            self._contents = set(new_first)
            return
        self._is_whole = True
        first: dict[str, tuple[int, str]] = {}
        for sha256, crawl, day in self._db.execute("SELECT sha256, crawl, day FROM shown"):
            first[sha256] = min(first.get(sha256, (crawl, day)), (crawl, day))
        self._db.execute("DELETE FROM pictures")
        ranked = sorted((*moment, sha256) for sha256, moment in first.items())
        rows = ((sha256, serial, crawl, day) for serial, (crawl, day, sha256) in enumerate(ranked))
        self._db.executemany("INSERT INTO pictures VALUES (?, ?, ?, ?)", rows)

    # ---- who is concerned, merged again ---------------------------------------------------------------------------------------------

    def merge(self) -> None:
        """Make the rows of all who are concerned, and of those whose row depends on theirs."""
        wanted = requests_for_papers(self.requests)
        concerned = self._groups.all() if self._is_whole else self._groups.dirty | self._concerned
        while todo := sorted(concerned - self._merged):
            contents: set[str] = set()
            for start in range(0, len(todo), _GROUPS_TOGETHER):
                contents |= self._merge_groups(todo[start : start + _GROUPS_TOGETHER], wanted)
            self._contents |= contents
            # Whoever shows the same picture: how many they are decides whose it is, and the picture's row names them all.
            if not self._is_whole:
                sharing = (row for sha256 in contents for row in self._db.execute("SELECT grp FROM papers WHERE sha256 = ?", (sha256,)))
                concerned |= {group for (group,) in sharing}
            # A serial is the rank among all that ever came, so one that leaves moves no other; where two became one, all after it move.
            if self._number():
                self._is_whole = True
                concerned |= self._groups.all()
        self._facts.papers_merged = len(self._merged)
        moves = sorted(self._pictures.moves)
        self._db.executemany("INSERT OR IGNORE INTO moves VALUES (?, ?)", moves)
        # Every request is looked for among all names that a paper ever had.
        wanted = requests_for_papers(self.requests)
        if self.requests:
            for id, names in self._db.execute("SELECT id, names FROM papers"):
                wanted.naming([id, *json.loads(names)])
        self._facts.unknown_requests = wanted.unknown

    def _merge_groups(self, groups: Sequence[int], wanted: Any) -> set[str]:
        """Merge these groups; gives the pictures that their papers showed before or show now."""
        contents: set[str] = set()
        histories = {group: self._groups.histories(group) for group in groups}
        urls = {
            group: {paper.image_url for page in pages for version in page.versions if version.parsed for paper in version.parsed.papers} - {""}
            for group, pages in histories.items()
        }
        self._pictures.load({url for some in urls.values() for url in some})
        for group, pages in histories.items():
            if not self.is_first:
                contents |= self._forget(group)
            self._db.executemany("INSERT OR IGNORE INTO shows VALUES (?, ?)", ((url, group) for url in urls[group]))
            merged = merge(pages, picture_at=self._pictures.at, picture_changes=self._pictures.changes, shared=self._groups.shared)
            for paper in merged:
                contents |= self._sort_out(paper, group, wanted)
        self._merged.update(groups)
        return contents

    def _forget(self, group: int) -> set[str]:
        """Forget what was made of a group; gives the pictures that its papers showed."""
        before = self._db.execute("SELECT id, serial, first_crawl, sha256, fate, class FROM papers WHERE grp = ?", (group,)).fetchall()
        for id, serial, crawl, _, fate, number in before:
            if fate == "row":
                self._replaced[id] = serial
            self._unnumbered.append((serial, crawl, id))
            self._left_classes.add(number)
        for statement in _FORGET:
            self._db.execute(statement, (group,))
        return {row[3] for row in before if row[3]}

    def _sort_out(self, paper: MergedPaper, group: int, wanted: Any) -> set[str]:
        """Put one paper among the rows, the withdrawn or the rejected; gives its picture."""
        names = sorted(paper.names)
        # A person's request counts before anything that the sources say.
        why = withdrawn_by(wanted.naming([paper.id, *names])) or paper.withdrawn
        row: dict[str, Any] = {"source": paper.fields.source}
        fate, tombstone = "row", None
        if why is not None:
            fate, tombstone = why.reason, _json(tombstone_of(paper, why))
        elif (fault := fault_of(self.config, paper)) is not None:
            fate = "rejected"
            self._reject(group, rejected_row(paper.fields.source, paper.fields.url, paper.first_crawl, *fault, paper.id))
        else:
            row = self._rows[paper.id] = row_of(paper)
            if row["image_url"] and not row["image_sha256"]:
                # Its words are those of the problem that is known of the address when the table is written.
                self._reject(group, {**rejected_row(row["source"], "", row["first_crawl"], _NOT_STORED, "", row["id"]), "where": row["image_url"]})
        sha256 = row.get("image_sha256")
        facts = {
            "id": paper.id, "grp": group, "first_crawl": paper.first_crawl, "fate": fate, "source": row["source"], "sha256": sha256,
            "family": row.get("translation_of") or paper.id, "has_abstract": bool(row.get("abstract")), "tombstone": tombstone,
            "is_translation": bool(row.get("translation_of")), "names": json.dumps(names), "statements": paper.statements,
        }  # fmt: skip
        self._db.execute(_INSERT, facts)
        return {sha256} if sha256 else set()

    def _reject(self, group: int, row: Mapping[str, Any]) -> None:
        self._db.execute("INSERT INTO rejects VALUES (NULL, ?, ?)", (group, _json(row)))

    def _number(self) -> bool:
        """Give every paper its serial, the rank by first crawl and id; whether one moved whose row was not made anew."""
        before = {(crawl, id): serial for serial, crawl, id in self._unnumbered}
        rows = self._db.execute("SELECT first_crawl, id, fate, rowid FROM papers WHERE serial IS NULL ORDER BY first_crawl, id").fetchall()
        new = [row for row in rows if row[:2] not in before]
        last = self._db.execute("SELECT first_crawl, id, serial FROM papers WHERE serial IS NOT NULL ORDER BY serial DESC LIMIT 1").fetchone()
        last = max([(*key, serial) for key, serial in before.items()] + ([last] if last else []), default=None)
        moved = False
        if len(rows) - len(new) == len(self._unnumbered) and (not new or last is None or new[0][:2] > last[:2]):
            # The same as before, and new ones after them.
            ranks = {**before, **{row[:2]: serial for serial, row in enumerate(new, last[2] + 1 if last else 0)}}
            numbered = [(ranks[row[:2]], *row) for row in rows]
        else:
            every = self._db.execute("SELECT first_crawl, id, fate, rowid, grp, serial FROM papers ORDER BY first_crawl, id").fetchall()
            numbered = [(serial, *row[:4]) for serial, row in enumerate(every) if serial != row[5]]
            moved = any(serial != row[5] and row[4] not in self._merged for serial, row in enumerate(every))
        self._unnumbered.clear()
        self._db.executemany("UPDATE papers SET serial = ? WHERE rowid = ?", ((serial, rowid) for serial, _, _, _, rowid in numbered))
        for serial, _, id, fate, _ in numbered:
            if fate == "row" and id in self._rows:
                self._rows[id]["serial"] = serial
        return moved

    # ---- what depends on other papers -----------------------------------------------------------------------------------------------

    def compare(self) -> None:
        """Set aside the pictures that too many papers show, and find papers that nearly repeat earlier ones."""
        rows = sorted(self._rows.values(), key=lambda row: row["serial"])
        for rejected in set_aside_shared(rows):
            (group,) = self._db.execute("SELECT grp FROM papers WHERE id = ?", (rejected["id"],)).fetchone()
            self._reject(group, rejected)
        judged = ((row, judge(_text(row), self.config.near_duplicate_min_words)) for row in rows)
        places = ((self._texts.number_of(one) if one else None, bool(row["image_sha256"]), row["serial"]) for row, one in judged)
        self._db.executemany("UPDATE papers SET class = ?, has_image = ? WHERE serial = ?", list(places))
        held = "SELECT 1 FROM papers WHERE class = ? LIMIT 1"
        dead = {number for number in self._left_classes - {None} if self._db.execute(held, (number,)).fetchone() is None}
        self._facts.texts_compared = self._texts.update(dead, self._judged)
        # Only papers that stay are compared: a withdrawn one is no original that another could repeat.
        similar = self._texts.similar()
        several = {number for (number,) in self._db.execute("SELECT class FROM papers WHERE class IS NOT NULL GROUP BY class HAVING count(*) > 1")}
        of_class = "SELECT serial, id, family, class FROM papers WHERE class = ?"
        papers = sorted(paper for number in several | similar.keys() for paper in self._db.execute(of_class, (number,)))
        repeats = first_of_each((paper[1:] for paper in papers), similar)
        known = dict(self._db.execute("SELECT id, repeats FROM papers WHERE repeats IS NOT NULL"))
        for row in rows:
            row["near_duplicate_of"] = repeats.get(row["id"])
        same: list[int] = []
        for id in {*repeats, *known}:
            if repeats.get(id) != known.get(id):
                self._db.execute("UPDATE papers SET repeats = ? WHERE id = ?", (repeats.get(id), id))
                if id not in self._rows and (found := self._serial_of(id)) is not None:
                    same.append(found)
        # The same rows as before, but for that column.
        for row in self._old.rows(same):
            self._rows[row["id"]] = {**row, "near_duplicate_of": repeats.get(row["id"])}
            self._replaced[row["id"]] = row["serial"]

    def _serial_of(self, id: str) -> int | None:
        row = self._db.execute("SELECT serial FROM papers WHERE id = ? AND fate = 'row'", (id,)).fetchone()
        return row[0] if row else None

    def _judged(self, numbers: Iterable[int]) -> dict[int, Judged]:
        """What texts of these classes are compared by."""
        query = "SELECT id, serial FROM papers WHERE class = ? LIMIT 1"
        holders = {number: self._db.execute(query, (number,)).fetchone() for number in numbers}
        old = {row["id"]: row for row in self._old.rows([serial for id, serial in holders.values() if id not in self._rows], _COMPARED)}
        judged = {number: judge(_text(self._rows.get(id) or old[id]), self.config.near_duplicate_min_words) for number, (id, _) in holders.items()}
        return {number: one for number, one in judged.items() if one is not None}

    # ---- the tables -----------------------------------------------------------------------------------------------------------------

    def write(self, output: OutputFolder) -> BuildFacts:
        """Write the tables; order decides bytes: rows by serial, what was set aside by its own words."""
        self._write_papers(output)
        self._write_pictures(output)
        query = "SELECT tombstone, serial FROM papers WHERE tombstone IS NOT NULL ORDER BY serial"
        withdrawn = [{**_row(text), "serial": serial} for text, serial in self._db.execute(query)]
        write_table(output.file("withdrawn.parquet"), table_from_rows(WITHDRAWN, withdrawn))
        problems = {problem.url: f"{problem.kind}: {problem.words}" for problem in self.raw.problems()}
        rejected = [_with_words(_row(text), problems) for (text,) in self._db.execute("SELECT said FROM rejects")]
        # Merging sets papers aside by serial, reading by address: one order for both.
        rejected.sort(key=lambda row: tuple(str(row[name]) for name in ("source", "where", "reason", "words", "id")))
        write_table(output.file("rejected.parquet"), table_from_rows(REJECTED_PAPERS, rejected))
        self._facts.rejected = Counter(row["reason"] for row in rejected)
        self._count()
        self._facts.images_live = pc.sum(read_table(output.folder / "images.parquet", ["is_live"])["is_live"]).as_py() or 0
        return self._facts

    def _write_papers(self, output: OutputFolder) -> None:
        before: dict[str, dict] = {}
        by_shard: dict[int, list[dict]] = defaultdict(list)
        for row in self._rows.values():
            by_shard[row["serial"] // self.config.rows_per_shard].append(row)
        touched = {*by_shard, *(serial // self.config.rows_per_shard for serial in self._replaced.values())}
        untouched: set[int] = set()
        if self._is_whole:
            before = self._old.all()
        elif self._old.count():
            # An empty shard stands for no papers at all, and goes when there are any.
            untouched = self._old.shards() - touched
            for number in untouched:
                output.keep(_shard_name(number))
        # One shard at a time, so that a night whose changes are spread over all of them does not hold them all.
        for number in sorted(by_shard if self._is_whole else touched):
            table = table_from_rows(PAPERS, by_shard.get(number, []))
            if not self._is_whole:
                kept, gone = self._old.without(number, self._replaced)
                before |= {row["id"]: row for row in gone.to_pylist()}
                table = pa.concat_tables([kept, table])
            if len(table):
                write_table(output.file(_shard_name(number)), _by_serial(table))
                self._facts.shards_written += 1
        if not self._facts.shards_written and not untouched:
            write_table(output.file(_shard_name(0)), PAPERS.empty_table())
            self._facts.shards_written = 1
        # New, changed and left are told against the previous version, row by row; a version with other columns counts as none.
        self._facts.rows_before = self._old.count()
        self._facts.new = len(self._rows.keys() - before.keys())
        self._facts.left = len(before.keys() - self._rows.keys())
        self._facts.changed = sum(id in before and before[id] != row for id, row in self._rows.items())

    def _write_pictures(self, output: OutputFolder) -> None:
        """Every picture ever shown, by serial."""
        showing: dict[str, list[dict]] = defaultdict(list)
        for row in sorted(self._rows.values(), key=lambda row: row["serial"]):
            if row["image_sha256"]:
                showing[row["image_sha256"]].append(row)
        query = "SELECT sha256, serial, crawl, day FROM pictures"
        if self._is_whole:
            pictures = {row[0]: row[1:] for row in self._db.execute(query)}
        else:
            found = (self._db.execute(f"{query} WHERE sha256 = ?", (sha256,)).fetchone() for sha256 in self._contents | set(showing))
            pictures = {row[0]: row[1:] for row in found if row}
        missing = sorted(set(showing) - set(pictures))
        assert not missing, f"pictures of papers that were never shown: {missing[:3]}"
        mine = set(pictures) if self._is_whole else self._contents & set(pictures)
        if not mine and not self._is_whole:
            output.keep("images.parquet")
            return
        stored = self._pictures.first_of(mine & set(showing))
        rows = []
        for sha256 in mine:
            serial, crawl, day = pictures[sha256]
            rows.append(image_row(sha256, serial, (crawl, date.fromisoformat(day)), showing.get(sha256, ()), stored.get(sha256)))
        table = table_from_rows(IMAGES, rows)
        if not self._is_whole:
            old = read_table(self.target / "images.parquet").cast(IMAGES)  # a list names its members otherwise when read
            table = pa.concat_tables([old.filter(pc.invert(pc.is_in(old["sha256"], pa.array(mine, pa.string())))), table])
        write_table(output.file("images.parquet"), _by_serial(table))

    def _count(self) -> None:
        facts = self._facts
        facts.sources = {name: Counter(pages=pages) for name, pages in self.reader.count().items()}
        facts.sources_left_out = self.reader.left_out
        query = (
            "SELECT source, count(*), sum(has_abstract), sum(has_image), sum(has_abstract AND has_image), sum(repeats IS NOT NULL),"
            " sum(is_translation) FROM papers WHERE fate = 'row' GROUP BY source"
        )
        for source, papers, abstracts, images, complete, repeats, translations in self._db.execute(query):
            facts.sources[source] |= Counter(papers=papers, title=papers, abstract=abstracts, image=images, complete=complete)
            facts.papers += papers
            facts.with_abstract += abstracts
            facts.with_image += images
            facts.complete += complete
            facts.near_duplicates += repeats
            facts.translations += translations
        facts.with_title = facts.papers
        facts.merged_statements = self._db.execute("SELECT coalesce(sum(max(0, statements - 1)), 0) FROM papers").fetchone()[0]
        facts.withdrawn = Counter(dict(self._db.execute("SELECT fate, count(*) FROM papers WHERE fate NOT IN ('row', 'rejected') GROUP BY fate")))
        facts.images = self._db.execute("SELECT count(*) FROM pictures").fetchone()[0]


class _OldRows:
    """The rows of the previous version, read shard by shard and never held; none where it had other columns."""

    def __init__(self, target: Path, rows_per_shard: int) -> None:
        self._target, self._rows_per_shard = target, rows_per_shard

    def shards(self) -> set[int]:
        """Numbers of the shards."""
        return {int(path.stem.rpartition("-")[2]) for path in self._target.glob("papers-*.parquet")}

    def rows(self, serials: Iterable[int], names: list[str] = PAPERS.names) -> list[dict[str, Any]]:
        """These columns of the rows of these serials; `serial` is one of them."""
        by_shard: dict[int, list[int]] = defaultdict(list)
        for serial in serials:
            by_shard[serial // self._rows_per_shard].append(serial)
        found = []
        for number, some in by_shard.items():
            table = self._table(number, names)
            found += table.take(numpy.searchsorted(table["serial"].to_numpy(), some)).to_pylist()
            assert {row["serial"] for row in found} >= set(some), f"rows {some} are not in {self._target}"
        return found

    def without(self, number: int, ids: Iterable[str]) -> tuple[pa.Table, pa.Table]:
        """(the other rows, the rows of these ids) of one shard."""
        if number not in self.shards():
            return PAPERS.empty_table(), PAPERS.empty_table()
        table = self._table(number)
        is_in = pc.is_in(table["id"], pa.array(ids, pa.string()))
        return table.filter(pc.invert(is_in)), table.filter(is_in)

    def all(self) -> dict[str, dict]:
        """Every row by id."""
        try:
            return {row["id"]: row for number in self.shards() for row in self._table(number).to_pylist()}
        except (OSError, ValueError):
            return {}

    def count(self) -> int | None:
        """How many there are; None when there is no previous version."""
        try:
            counts = [pq.read_metadata(self._target / _shard_name(number)).num_rows for number in self.shards()]
        except (OSError, ValueError):
            return None
        return sum(counts) if counts else None

    def _table(self, number: int, names: list[str] = PAPERS.names) -> pa.Table:
        path = self._target / _shard_name(number)
        if pq.read_schema(path) != PAPERS:
            raise ValueError(f"{self._target}: papers with other columns")
        return read_table(path, names)


def _shard_name(number: int) -> str:
    return f"papers-{number:05d}.parquet"


def _by_serial(table: pa.Table) -> pa.Table:
    # In one piece: how rows were handed over must not show in the bytes.
    return table.sort_by("serial").combine_chunks()


def _text(row: Mapping[str, Any]) -> Text:
    return Text(row["id"], row["title"], row["abstract"] or "", row["language"] or "", row["translation_of"] or row["id"])


def _json(row: Mapping[str, Any]) -> str:
    return json.dumps(row, default=date.isoformat)


def _row(text: str) -> dict[str, Any]:
    """A row of `withdrawn` or `rejected` that `_json` wrote."""
    row: dict[str, Any] = json.loads(text)
    return {**row, "since": date.fromisoformat(row["since"])} if row.get("since") else row


def _with_words(row: dict[str, Any], problems: Mapping[str, str]) -> dict[str, Any]:
    """The same; one of a picture that is not stored with what is known of its address."""
    if row["reason"] != _NOT_STORED:
        return row
    words = problems.get(row["where"], "no crawl has stored a picture from this address, or it is gone")
    return {**row, "where": bounded(row["where"]), "words": bounded(words)}
