"""Put statements that may be about one paper into one group, so that a paper is merged again only when something new is said in its group.

A group holds every statement that shares a name (key, DOI, address) with another of it, so that what `merge` makes of a group alone is what it makes
of its papers among all others. Groups only ever grow together: one that is larger than it need be is merged more often, and not otherwise.
"""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import date

from assets.papers.identities import doi_of, plain_doi, shared_addresses
from assets.papers.items import Paper, Parsed
from assets.papers.merging import PageHistory, Version
from assets.papers.parsed_memo import parsed_from, plain

# told: what a page says of a group, version by version. shows: whose picture an address ever was. joined: groups that became part of another.
TABLES = """
CREATE TABLE names (name TEXT PRIMARY KEY, grp INTEGER) WITHOUT ROWID;
CREATE TABLE joined (old INTEGER PRIMARY KEY, new INTEGER);
CREATE TABLE shared (url TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE told (grp INTEGER, source TEXT, url TEXT, said TEXT);
CREATE UNIQUE INDEX told_by_group ON told (grp, source, url);
CREATE TABLE shows (url TEXT, grp INTEGER, PRIMARY KEY (url, grp)) WITHOUT ROWID;
"""

_BECOME = [f"UPDATE OR REPLACE {table} SET grp = ? WHERE grp = ?" for table in ("told", "papers", "rejects")]  # noqa: S608 - names of ours


class Groups:
    """The groups of the tables that TABLES makes in `db`.

    sources: names of all. shared: addresses that name no paper. dirty: groups of which something new was said. again: pages that speak of two groups
    which became one; they must be told again.
    """

    def __init__(self, db: sqlite3.Connection, sources: Sequence[str]) -> None:
        self._db, self._sources = db, sources
        self._joined = dict(db.execute("SELECT old, new FROM joined"))
        self.shared = {url for (url,) in db.execute("SELECT url FROM shared")}
        self._next = 1 + max(db.execute("SELECT coalesce(max(grp), 0) FROM names").fetchone()[0], *self._joined, 0)
        # Without names, none is looked for.
        self._is_empty = self._next == 1
        self._known: dict[str, int] = {}
        self._new: set[str] = set()
        self._dirty: set[int] = set()
        self.again: set[tuple[str, str]] = set()

    @property
    def dirty(self) -> set[int]:
        """Groups of which something new was said."""
        return {self._root(group) for group in self._dirty}

    def learn(self, page: PageHistory, since: int) -> set[int]:
        """Group what the page says; gives the groups of whom it says something new in crawls after `since`, which become `dirty`."""
        ever: set[str] = set()
        before: dict[str, list] = {}
        was_there, reserved = False, None
        news: set[str] = set()
        for version in page.versions:
            now: dict[str, list] = {}
            if version.parsed is not None:
                now = self._learn_version(page, version.parsed)
            if version.crawl > since:
                # Who is named otherwise than before; all, where the page was away or says something else of mining, or its order is another.
                is_other = version.parsed is None or not was_there or version.tdm_reserved != reserved
                is_other = is_other or [key for key in now if key in before] != [key for key in before if key in now]
                news |= ever | set(now) if is_other else {key for key in (*now, *before) if now.get(key) != before.get(key)}
            ever |= set(now)
            was_there, reserved = version.parsed is not None, version.tdm_reserved
            before = now if version.parsed is not None else before
        groups = {self._of(name) for name in news}
        self._dirty |= groups
        return groups

    def tell(self, page: PageHistory, among: set[int]) -> None:
        """Note what the page says of each of these groups, in all its versions."""
        told: dict[int, list[list]] = defaultdict(list)
        groups: dict[int, None] = {}
        by_version = []
        for version in page.versions:
            papers, notices = defaultdict(list), defaultdict(list)
            for paper in version.parsed.papers if version.parsed else ():
                papers[self._of(_key(page.source, paper.key))].append(paper)
            for notice in version.parsed.withdrawals if version.parsed else ():
                notices[self._of(self._names_of_key(page.source, notice.key)[0])].append(notice)
            by_version.append((version, papers, notices))
            groups |= dict.fromkeys(group for group in (*papers, *notices) if group in among)
        for version, papers, notices in by_version:
            for group in groups:
                said = None if version.parsed is None else plain(Parsed(tuple(papers[group]), (), tuple(notices[group])))
                one = [version.crawl, version.day.isoformat(), version.state, said, version.tdm_reserved]
                # What is said again word for word changes nothing.
                if not told[group] or version.state != "there" or told[group][-1][2:] != one[2:]:
                    told[group].append(one)
        for group, versions in told.items():
            content = json.dumps([page.order, page.licence, page.kind, versions], default=date.isoformat)
            self._db.execute("INSERT OR REPLACE INTO told VALUES (?, ?, ?, ?)", (group, page.source, page.url, content))

    def histories(self, group: int) -> list[PageHistory]:
        """What pages say of a group."""
        rows = self._db.execute("SELECT source, url, said FROM told WHERE grp = ? ORDER BY source, url", (group,))
        found = []
        for source, url, said in rows:
            order, licence, kind, versions = json.loads(said)
            found.append(PageHistory(source, order, licence, url, kind, [_version(*one) for one in versions]))
        return found

    def all(self) -> set[int]:
        """Every group."""
        return {group for (group,) in self._db.execute("SELECT DISTINCT grp FROM told")}

    def showing(self, urls: Iterable[str]) -> set[int]:
        """The groups whose pictures may be at these addresses, those that became part of another as that one."""
        rows = (row for url in urls for row in self._db.execute("SELECT grp FROM shows WHERE url = ?", (url,)))
        return {self._root(group) for (group,) in rows}

    def save(self) -> None:
        """Write the names that are new."""
        rows = sorted((name, self._root(self._known[name])) for name in self._new)
        self._db.executemany("INSERT INTO names VALUES (?, ?)", rows)
        self._db.executemany("INSERT OR REPLACE INTO joined VALUES (?, ?)", self._joined.items())
        self._new.clear()

    def _learn_version(self, page: PageHistory, parsed: Parsed) -> dict[str, list]:
        """Everything that the version says, by the name of a paper's key, in order."""
        said: dict[str, list] = defaultdict(list)
        for url in shared_addresses(parsed) - self.shared:
            self.shared.add(url)
            self._db.execute("INSERT INTO shared VALUES (?)", (url,))
            if (group := self._find(_url(url))) is not None:
                self._dirty.add(group)
        for paper in parsed.papers:
            self._join(list(self._names(page, paper)))
            said[_key(page.source, paper.key)].append(paper)
        for notice in parsed.withdrawals:
            names = self._names_of_key(page.source, notice.key)
            self._join(names)
            said[names[0]].append(notice)
        return dict(said)

    def _names(self, page: PageHistory, paper: Paper) -> Iterator[str]:
        yield _key(page.source, paper.key)
        if doi := doi_of(paper):
            yield f"doi {doi}"
        addresses = [paper.url, paper.key, *([page.url] if page.kind == "article" else ())]
        yield from (_url(address) for address in addresses if "://" in address and address not in self.shared)
        # The original of a translation, whichever source is believed of the two; what it is called in there gives the translation its column.
        if paper.translation_of:
            yield from (name for source in self._sources for name in self._names_of_key(source, paper.translation_of))

    def _names_of_key(self, source: str, key: str) -> list[str]:
        """The names that `Identities.named` may find a paper by."""
        doi = plain_doi(key)
        return [f"doi {doi}"] if doi else [_key(source, key), _url(key)]

    def _join(self, names: list[str]) -> None:
        found = {self._root(group) for name in names if (group := self._find(name)) is not None}
        group = min(found, default=self._next)
        self._next += not found
        for other in found - {group}:
            self._joined[other] = group
            self._dirty.add(group)
            both = "SELECT source, url FROM told WHERE grp = ? INTERSECT SELECT source, url FROM told WHERE grp = ?"
            self.again.update(self._db.execute(both, (group, other)))
            for statement in _BECOME:
                self._db.execute(statement, (group, other))
        for name in names:
            if name not in self._known:
                self._known[name] = group
                self._new.add(name)

    def _find(self, name: str) -> int | None:
        if name not in self._known:
            if self._is_empty:
                return None
            row = self._db.execute("SELECT grp FROM names WHERE name = ?", (name,)).fetchone()
            if row is None:
                return None
            self._known[name] = row[0]
        return self._known[name]

    def _of(self, name: str) -> int:
        group = self._find(name)
        assert group is not None, name
        return self._root(group)

    def _root(self, group: int) -> int:
        while group in self._joined:
            group = self._joined[group]
        return group


def _key(source: str, key: str) -> str:
    return f"key {source}\n{key}"


def _url(address: str) -> str:
    return f"url {address}"


def _version(crawl: int, day: str, state: str, said: dict | None, reserved: bool | None) -> Version:
    return Version(crawl, date.fromisoformat(day), state, parsed_from(said) if said is not None else None, reserved)  # type: ignore[arg-type]
