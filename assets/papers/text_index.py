"""Remember which texts are similar, so that a night compares new texts with all, and no old one with another.

Classes of equal texts (near_duplicates.Judged) have numbers. For each class the first members of its set, in an order that was fixed once, lie in one
sorted array: who shares one of them is compared, and nobody else (prefix filtering).
"""

import hashlib
import io
import itertools
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping

import numpy

from assets.papers.near_duplicates import Judged, Order, may_be_similar

TABLES = """
CREATE TABLE classes (number INTEGER PRIMARY KEY, digest BLOB UNIQUE, size INTEGER);
CREATE TABLE similar (one INTEGER, other INTEGER, PRIMARY KEY (one, other)) WITHOUT ROWID;
CREATE TABLE arrays (name TEXT PRIMARY KEY, content BLOB);
"""
_MEETINGS_TOGETHER = 1 << 22


class TextIndex:
    """The classes of the tables that TABLES makes in `db`."""

    def __init__(self, db: sqlite3.Connection, similarity: float) -> None:
        self._db, self._similarity = db, similarity
        self._next = db.execute("SELECT coalesce(max(number) + 1, 0) FROM classes").fetchone()[0]
        self._fresh: dict[int, Judged] = {}

    def number_of(self, judged: Judged) -> int:
        """The class of such texts; a new one is compared with the others by `update`."""
        digest = hashlib.blake2b(judged.shingles + repr(judged.traits).encode("utf-8", "replace"), digest_size=16).digest()
        row = self._db.execute("SELECT number FROM classes WHERE digest = ?", (digest,)).fetchone()
        if row:
            return int(row[0])
        number = self._next
        self._next += 1
        self._db.execute("INSERT INTO classes VALUES (?, ?, ?)", (number, digest, len(judged.members)))
        self._fresh[number] = judged
        return number

    def update(self, dead: Collection[int], judged_of: Callable[[Iterable[int]], Mapping[int, Judged]]) -> int:
        """Forget the classes that are `dead` and compare the new ones; gives how many those were.

        judged_of: what texts of known classes are compared by, by class.
        """
        fresh = {number: judged for number, judged in self._fresh.items() if number not in dead}
        if not dead and not fresh:
            return 0
        self._db.executemany("DELETE FROM classes WHERE number = ?", ((number,) for number in dead))
        self._db.executemany("DELETE FROM similar WHERE one = ?1 OR other = ?1", ((number,) for number in dead))
        order, members, holders = self._load()
        if order is None:
            order = Order.counted([one.members for one in fresh.values()])
        if dead:
            stays = numpy.isin(holders, numpy.fromiter(dead, numpy.uint32), invert=True)
            members, holders = members[stays], holders[stays]
        pairs: set[tuple[int, int]] = set()
        if fresh:
            prefixes = [order.prefix(one.members, self._similarity) for one in fresh.values()]
            added = numpy.concatenate(prefixes)
            owners = numpy.repeat(numpy.array(list(fresh), numpy.uint32), [len(prefix) for prefix in prefixes])
            by_member = numpy.argsort(added, kind="stable")
            added, owners = added[by_member], owners[by_member]
            places = numpy.searchsorted(members, added)
            members, holders = numpy.insert(members, places, added), numpy.insert(holders, places, owners)
            for meetings in _meetings(added, owners, members, holders):
                pairs |= self._similar_among(fresh, meetings, judged_of)
        self._db.executemany("INSERT INTO similar VALUES (?, ?)", (pair for one, other in pairs for pair in ((one, other), (other, one))))
        self._save(common=order.common, counts=order.counts, members=members, holders=holders)
        self._fresh.clear()
        return len(fresh)

    def similar(self) -> Mapping[int, set[int]]:
        """For each class that has any, the others whose texts are similar enough."""
        found: dict[int, set[int]] = defaultdict(set)
        for one, other in self._db.execute("SELECT one, other FROM similar"):
            found[one].add(other)
        return found

    def _similar_among(
        self, fresh: Mapping[int, Judged], meetings: Collection[tuple[int, int]], judged_of: Callable[[Iterable[int]], Mapping[int, Judged]]
    ) -> set[tuple[int, int]]:
        """The pairs (new class, other) of these that are similar enough; each pair of new ones once."""
        known = {other for _, other in meetings if other not in fresh}
        sizes = {number: len(judged.members) for number, judged in fresh.items()} | {other: self._size_of(other) for other in known}
        may_be = [(one, other) for one, other in meetings if may_be_similar(sizes[one], sizes[other], self._similarity)]
        judged = {**judged_of({other for _, other in may_be if other not in fresh}), **fresh}
        return {(one, other) for one, other in may_be if judged[one].is_like(judged[other], self._similarity)}

    def _size_of(self, number: int) -> int:
        return int(self._db.execute("SELECT size FROM classes WHERE number = ?", (number,)).fetchone()[0])

    def _load(self) -> tuple[Order | None, numpy.ndarray, numpy.ndarray]:
        """(order, members, holders): the first members of every class, sorted, and beside each whose it is."""
        arrays = {name: numpy.load(io.BytesIO(content)) for name, content in self._db.execute("SELECT name, content FROM arrays")}
        if not arrays:
            return None, numpy.empty(0, numpy.uint64), numpy.empty(0, numpy.uint32)
        return Order(arrays["common"], arrays["counts"]), arrays["members"], arrays["holders"]

    def _save(self, **arrays: numpy.ndarray) -> None:
        for name, array in arrays.items():
            content = io.BytesIO()
            numpy.save(content, array)
            self._db.execute("INSERT OR REPLACE INTO arrays VALUES (?, ?)", (name, content.getbuffer()))


def _meetings(added: numpy.ndarray, owners: numpy.ndarray, members: numpy.ndarray, holders: numpy.ndarray) -> Iterator[list[tuple[int, int]]]:
    """The pairs of a new class and one before it that hold a member in common, some at a time: one that all texts share does not fill memory.

    added, owners: members of new classes, and whose they are. members, holders: of all classes, new ones among them; members are sorted.
    """
    starts = numpy.searchsorted(members, added, "left")
    counts = numpy.searchsorted(members, added, "right") - starts
    ends = numpy.cumsum(counts)
    cuts = numpy.unique(numpy.searchsorted(ends, numpy.arange(0, ends[-1] + _MEETINGS_TOGETHER, _MEETINGS_TOGETHER)))
    for begin, end in itertools.pairwise([*cuts.tolist(), len(added)]):
        some = counts[begin:end]
        runs = numpy.repeat(starts[begin:end] - numpy.cumsum(some) + some, some) + numpy.arange(some.sum())
        one, other = numpy.repeat(owners[begin:end].astype(numpy.uint64), some), holders[runs].astype(numpy.uint64)
        met = numpy.unique((one << numpy.uint64(32) | other)[other < one])
        yield [(pair >> 32, pair & 0xFFFFFFFF) for pair in met.tolist()]
