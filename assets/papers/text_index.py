"""Remember which texts are similar, so that a night compares new texts with all, and no old one with another.

Classes of equal texts (near_duplicates.Judged) have numbers. For each class the first members of its set, in an order that was fixed once, lie in one
sorted array: who shares one of them is compared, and nobody else (prefix filtering).
"""

import hashlib
import io
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy

from assets.papers.near_duplicates import Judged, Order, are_similar, join

TABLES = """
CREATE TABLE classes (number INTEGER PRIMARY KEY, digest BLOB UNIQUE);
CREATE TABLE similar (one INTEGER, other INTEGER, PRIMARY KEY (one, other)) WITHOUT ROWID;
CREATE TABLE arrays (name TEXT PRIMARY KEY, content BLOB);
"""
_POSTING = numpy.dtype([("member", "<u8"), ("number", "<u4")])


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
        self._db.execute("INSERT INTO classes VALUES (?, ?)", (number, digest))
        self._fresh[number] = judged
        return number

    def update(self, living: Sequence[int], judged_of: Callable[[int], Judged]) -> int:
        """Forget the classes that are not `living` any more and compare the new ones; gives how many those were.

        judged_of: what a text of a known class is compared by.
        """
        known = numpy.array([number for (number,) in self._db.execute("SELECT number FROM classes")], dtype=numpy.int64)
        dead = numpy.setdiff1d(known, numpy.array(living, dtype=numpy.int64))
        gone = set(dead.tolist())
        fresh = {number: judged for number, judged in self._fresh.items() if number not in gone}
        if not len(dead) and not fresh:
            return 0
        self._db.executemany("DELETE FROM classes WHERE number = ?", ((number,) for number in dead.tolist()))
        self._db.executemany("DELETE FROM similar WHERE one = ?1 OR other = ?1", ((number,) for number in dead.tolist()))
        numbers, judged = list(fresh), list(fresh.values())
        order, postings = self._load()
        if order is None:
            order = Order.counted([one.members for one in judged])
        postings = postings[~numpy.isin(postings["number"], dead)]
        prefixes = {number: order.prefix(one.members, self._similarity) for number, one in fresh.items()}
        pairs = [(numbers[one], numbers[other]) for one, other in join(judged, list(prefixes.values()), self._similarity)]
        if len(postings):
            pairs += self._met(prefixes, fresh, postings, judged_of)
        self._db.executemany("INSERT INTO similar VALUES (?, ?)", (pair for one, other in pairs for pair in ((one, other), (other, one))))
        added = numpy.empty(sum(map(len, prefixes.values())), _POSTING)
        if len(added):
            added["member"] = numpy.concatenate(list(prefixes.values()))
            added["number"] = numpy.repeat(list(prefixes), [len(prefix) for prefix in prefixes.values()])
            added = added[numpy.argsort(added["member"], kind="stable")]
            postings = numpy.insert(postings, numpy.searchsorted(postings["member"], added["member"]), added)
        self._save(order, postings)
        self._fresh.clear()
        return len(fresh)

    def similar(self) -> Mapping[int, set[int]]:
        """For each class that has any, the others whose texts are similar enough."""
        found: dict[int, set[int]] = defaultdict(set)
        for one, other in self._db.execute("SELECT one, other FROM similar"):
            found[one].add(other)
        return found

    def _met(
        self, prefixes: Mapping[int, numpy.ndarray], fresh: Mapping[int, Judged], postings: numpy.ndarray, judged_of: Callable[[int], Judged]
    ) -> list[tuple[int, int]]:
        pairs = []
        for number, prefix in prefixes.items():
            starts, ends = (numpy.searchsorted(postings["member"], prefix, side) for side in ("left", "right"))
            met = {int(other) for start, end in zip(starts, ends, strict=True) for other in postings["number"][start:end]}
            for other in sorted(met):
                judged = judged_of(other)
                if judged.traits.agree(fresh[number].traits) and are_similar(judged.members, fresh[number].members, self._similarity):
                    pairs.append((number, other))
        return pairs

    def _load(self) -> tuple[Order | None, numpy.ndarray]:
        arrays = {name: numpy.load(io.BytesIO(content)) for name, content in self._db.execute("SELECT name, content FROM arrays")}
        if not arrays:
            return None, numpy.empty(0, _POSTING)
        return Order(arrays["common"], arrays["counts"]), arrays["postings"]

    def _save(self, order: Order, postings: numpy.ndarray) -> None:
        for name, array in (("common", order.common), ("counts", order.counts), ("postings", postings)):
            content = io.BytesIO()
            numpy.save(content, array)
            self._db.execute("INSERT OR REPLACE INTO arrays VALUES (?, ?)", (name, content.getbuffer()))
