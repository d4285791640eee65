"""Merge the spellings of one molecule, in two passes that hold neither molecules nor rows in memory.

The first pass writes each molecule, when it first occurs, to a temporary file, and remembers of later occurrences only what they add. The second
reads that file back, in the same order, completed with what was added. Numbers stated by several rows become their median, which one wrong entry
cannot move far. Rows of one molecule at different conditions (solvent, temperature) stay apart.
"""

import hashlib
import itertools
import json
import statistics
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa

from assets.molecules.parsing import ParsedBatch
from assets.molecules.rows import BadRow, Row
from assets.molecules.standardize import Standardized
from formats.splits import SplitRule
from formats.tables import columns

_TEXT_CHARS_KEPT = 200
# What is spilled of each molecule before its conditions and numbers.
_FIXED = columns(source=int, name=str, digest=str, id=str, smiles=str, scaffold=str, repeat_unit=str)


@dataclass(frozen=True)
class SourceFacts:
    """What every molecule of a source gets. properties, conditions: name in the dataset of each of the row's values and conditions."""

    name: str
    licence: str
    origin: str
    properties: tuple[str, ...]
    conditions: tuple[str, ...] = ()


@dataclass
class SourceCounts:
    """rows = accepted + sum of rejected; duplicates are the accepted rows that were merged into an earlier one."""

    rows: int = 0
    accepted: int = 0
    duplicates: int = 0
    rejected: Counter = field(default_factory=Counter)


@dataclass
class MergedValues:
    """How far the values of one property that became a median were apart: for each row of the dataset that had several, greatest less smallest."""

    values: int = 0
    most: int = 0
    spreads: list[float] = field(default_factory=list)

    def add(self, values: Sequence[float]) -> None:
        self.values += len(values)
        self.most = max(self.most, len(values))
        self.spreads.append(max(values) - min(values))

    def as_record(self) -> dict[str, float]:
        spread = {"spread_median": statistics.median(self.spreads), "spread_most": max(self.spreads)}
        return {"rows": len(self.spreads), "values": self.values, "most_values_of_a_row": self.most, **spread}


class Merger:
    """Takes parsed batches in order with `add`, then gives the merged table in pieces with `tables`."""

    def __init__(self, sources: Sequence[SourceFacts], schema: pa.Schema, *, descriptor_count: int, temporary: Path) -> None:
        self._sources, self._schema, self._temporary = sources, schema, temporary
        # Molecules go to a temporary file as they come; memory holds their hashes and what later rows add to them.
        self._properties = [name for name in schema.names if any(name in source.properties for source in sources)]
        self._conditions = [item for item in schema if any(item.name in source.conditions for source in sources)]
        self._has_units = "repeat_unit" in schema.names
        self._descriptor_count = descriptor_count
        self._first: dict[int, int] = {}
        self._also: dict[int, list[tuple[str, tuple[float | None, ...]]]] = {}
        self.counts = [SourceCounts() for _ in sources]
        self.merged: dict[str, MergedValues] = {}
        self._spill_schema = _spill_schema(self._conditions, descriptor_count, len(self._properties))
        self._sink = pa.OSFile(str(temporary), "wb")
        self._spill = pa.ipc.new_stream(self._sink, self._spill_schema)

    def add(self, batch: ParsedBatch) -> list[dict]:
        """Take a batch; gives back its rejected rows as records of the table of rejected rows."""
        facts, counts = self._sources[batch.source], self.counts[batch.source]
        # Where each property of the dataset stands in this source's rows.
        places = [facts.properties.index(name) if name in facts.properties else None for name in self._properties]
        at = [facts.conditions.index(item.name) if item.name in facts.conditions else None for item in self._conditions]
        fresh: list[tuple] = []
        rejected = []
        for row, key, result in zip(batch.rows, batch.keys, batch.results, strict=True):
            counts.rows += 1
            if isinstance(result, str) or isinstance(row, BadRow):
                reason = result if isinstance(result, str) else ""
                counts.rejected[reason] += 1
                rejected.append(_rejected(facts.name, row, reason))
                continue
            counts.accepted += 1
            # The row's position would be the plainest name for a row without one, but removing a row would then change all that follow.
            name = f"{facts.name}:{row.id or '#' + key.hex()[:12]}"
            values = tuple([None if place is None else row.values[place] for place in places])
            conditions = tuple([None if place is None else row.conditions[place] for place in at])
            self._place((batch.source, name), conditions, values, result, fresh, counts)
        self._write(fresh)
        return rejected

    def tables(self, split: SplitRule) -> Iterator[pa.Table]:
        """The merged molecules in order of first occurrence, one table for each batch that was added."""
        # The places of first occurrence are needed no more; what later rows added stays until its molecule is read back.
        self._spill.close()
        self._sink.close()
        self._first.clear()
        ordinal = 0
        with pa.OSFile(str(self._temporary)) as stream:
            for batch in pa.ipc.open_stream(stream):
                yield self._complete(batch, ordinal, split)
                ordinal += len(batch)

    def close(self) -> None:
        self._sink.close()
        self._temporary.unlink(missing_ok=True)

    def _place(
        self, named: tuple[int, str], conditions: tuple, values: tuple, result: Standardized, fresh: list[tuple], counts: SourceCounts
    ) -> None:
        # 64 bits of the hash stand for the row: in a set of 10⁸ two share them with a probability of about 3·10⁻⁴.
        digest = hashlib.sha256(result.smiles.encode()).hexdigest()
        key = digest[:16]
        if any(condition is not None for condition in conditions):
            key = hashlib.sha256(f"{result.smiles}\0{json.dumps(conditions)}".encode()).hexdigest()[:16]
        known = len(self._first)
        first = self._first.setdefault(int(key, 16), known)
        if first == known:
            texts = (digest, key, result.smiles, result.scaffold, result.repeat_unit)
            fresh.append((*named, *texts, *conditions, *result.descriptors, *values))
        else:
            counts.duplicates += 1
            self._also.setdefault(first, []).append((named[1], values))

    def _write(self, fresh: list[tuple]) -> None:
        if fresh:
            arrays = [pa.array(column, type=kind.type) for column, kind in zip(zip(*fresh, strict=True), self._spill_schema, strict=True)]
            self._spill.write_batch(pa.record_batch(arrays, schema=self._spill_schema))

    def _complete(self, batch: pa.RecordBatch, ordinal: int, split: SplitRule) -> pa.Table:
        column = dict(zip(batch.schema.names, batch.columns, strict=True))
        source, scaffold = column["source"].to_pylist(), column["scaffold"].to_pylist()
        molecules = [one[:16] for one in column["digest"].to_pylist()]
        measured = len(_FIXED) + len(self._conditions) + self._descriptor_count
        names, values = self._merge(ordinal, column["name"].to_pylist(), batch.columns[measured:])
        # In the order of the dataset's schema: what is known of every molecule, conditions, descriptors, then the properties of its sources. Columns
        # that are written as they were read stay in Arrow.
        complete = [
            column["id"],
            column["smiles"],
            [self._sources[one].name for one in source],
            names,
            [self._sources[one].licence for one in source],
            [self._sources[one].origin for one in source],
            column["digest"],
            column["scaffold"],
            [split.split_of(one) for one in molecules],
            [split.scaffold_split_of(one, molecule) for one, molecule in zip(scaffold, molecules, strict=True)],
            *([column["repeat_unit"]] if self._has_units else []),
            *batch.columns[len(_FIXED) : measured],
            *values,
        ]
        arrays = [one if isinstance(one, pa.Array) else pa.array(one, type=kind.type) for one, kind in zip(complete, self._schema, strict=True)]
        return pa.Table.from_arrays(arrays, schema=self._schema)

    def _merge(self, ordinal: int, name: list[str], stated: Sequence[pa.Array]) -> tuple[list[list[str]], Sequence[pa.Array | list]]:
        """The names and the values of each molecule, with what later rows added."""
        names = [[one] for one in name]
        added = [(place, also) for place in range(len(names)) if (also := self._also.get(ordinal + place))]
        for place, also in added:
            names[place] = sorted([name[place], *(other for other, _ in also)])
        if not added or not stated:
            return names, stated
        values = [column.to_pylist() for column in stated]
        for (index, column), (place, also) in itertools.product(enumerate(values), added):
            known = [value for value in (column[place], *(others[index] for _, others in also)) if value is not None]
            if len(known) > 1:
                self.merged.setdefault(self._properties[index], MergedValues()).add(known)
            column[place] = statistics.median(known) if known else None
        return names, values


def cut_into_shards(tables: Iterator[pa.Table], *, rows_per_shard: int) -> Iterator[pa.Table]:
    """The rows of `tables` in order, cut where their content says so.

    A shard ends after a molecule whose id is divisible by `rows_per_shard`, from a quarter to twice that many rows. Every place to cut depends on
    the rows near it alone, so a removed or added molecule changes its own shard, and those behind it keep their rows; cutting at fixed counts would
    shift them all. Hash buckets would not do: molecules added at the end of a source would fall into every bucket.
    """
    # Content-defined chunking, with bounds on both sides.
    least, most = max(1, rows_per_shard // 4), 2 * rows_per_shard
    pending: list[pa.Table] = []
    count = 0
    for table in tables:
        start = 0
        for place, molecule in enumerate(table["id"].to_pylist()):
            count += 1
            if count >= most or (count >= least and int(molecule, 16) % rows_per_shard == 0):
                pending.append(table.slice(start, place + 1 - start))
                yield pa.concat_tables(pending).combine_chunks()
                pending, count, start = [], 0, place + 1
        if start < len(table):
            pending.append(table.slice(start))
    if pending:
        yield pa.concat_tables(pending).combine_chunks()


def _rejected(source: str, row: Row | BadRow, reason: str) -> dict:
    name = row.id if isinstance(row, Row) else ""
    text = row.text.encode("utf-8", "replace").decode("utf-8")
    return {"source": source, "row": row.row, "id": name[:_TEXT_CHARS_KEPT], "text": text[:_TEXT_CHARS_KEPT], "reason": reason}


def _spill_schema(conditions: Sequence[pa.Field], descriptor_count: int, property_count: int) -> pa.Schema:
    numbers = [pa.field(f"number_{index}", pa.float64()) for index in range(descriptor_count + property_count)]
    return pa.schema([*_FIXED, *conditions, *numbers])
