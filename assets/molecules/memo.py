"""Remember what every row was parsed into, so that the next build parses only rows it has not seen.

The memo is a pure function written down: (recipe, form, text) → result. The recipe names everything that decides a result: the rules, RDKit's
version, and the code of the modules that apply them, without comments and docstrings. It lies outside the output folder (in `.figment/`), so that
the output never depends on how it was made; without it, or with a damaged one, everything is parsed again and the same bytes come out.
"""

import dataclasses
import hashlib
import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy
import pyarrow as pa
import rdkit

from assets.molecules import standardize
from assets.molecules.standardize import Rules, Standardized
from formats import descriptors, polymer_smiles
from stages.files import sha256_of, write_file_atomically
from stages.source_code import code_of

_KEY_BYTES = 16
_BATCHES_IN_MEMORY = 16


def row_key(form: str, text: str) -> bytes:
    """16 bytes that stand for the text of a row; two different texts of a billion rows share a key with a probability below 1e-20."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_KEY_BYTES, person=form.encode()).digest()


def recipe_of(rules: Rules) -> str:
    """Names everything that decides what a row is parsed into."""
    facts = [rdkit.__version__, json.dumps(dataclasses.asdict(rules), sort_keys=True), *map(code_of, (standardize, descriptors, polymer_smiles))]
    return hashlib.sha256("\0".join(facts).encode()).hexdigest()


@dataclass(frozen=True)
class Recalled:
    """The remembered result of each key that was asked for, or None. batch: as the memo holds them, in that order, where it has them all."""

    results: list[Standardized | str | None]
    batch: pa.RecordBatch | None = None


class Memo:
    """The results of the previous build, opened for lookup; empty when there is none for this recipe."""

    def __init__(self, folder: Path, recipe: str) -> None:
        self._reader, self._keys, self._order = None, numpy.empty(0, dtype=f"S{_KEY_BYTES}"), numpy.empty(0, dtype=numpy.int64)
        self._starts = numpy.zeros(1, dtype=numpy.int64)
        self._next_row = 0
        self._recent: OrderedDict[int, pa.RecordBatch] = OrderedDict()
        path = _memo_path(folder)
        if _is_intact(folder, recipe):
            self._reader = pa.ipc.open_file(pa.OSFile(str(path)))
            self._index(path)

    def lookup(self, keys: Sequence[bytes]) -> Recalled:
        """What is remembered of each key. Ask in the order in which the rows were remembered, where there is one."""
        results: list[Standardized | str | None] = [None] * len(keys)
        if not len(self._keys):
            return Recalled(results)
        asked = numpy.array(keys, dtype=self._keys.dtype)
        low, high = numpy.searchsorted(self._keys, asked, side="left"), numpy.searchsorted(self._keys, asked, side="right")
        found = numpy.flatnonzero(low < high)
        rows = self._order[low[found]]
        for place in numpy.flatnonzero(high[found] - low[found] > 1):
            # A text that occurs often is remembered often: the occurrence nearest to where the last rows were found lies in a batch at hand.
            same = self._order[low[found[place]] : high[found[place]]]
            after = int(numpy.searchsorted(same, self._next_row + found[place]))
            rows[place] = min(same[max(0, after - 1) : after + 1], key=lambda row: abs(row - self._next_row - found[place]))
        if not len(rows):
            return Recalled(results)
        self._next_row = int(rows[-1]) + len(keys) - int(found[-1])
        remembered = self._rows(rows)
        for place, result in zip(found, _decode(remembered), strict=True):
            results[place] = result
        return Recalled(results, remembered if len(found) == len(keys) else None)

    def _index(self, path: Path) -> None:
        only_keys = pa.ipc.open_file(pa.OSFile(str(path)), options=pa.ipc.IpcReadOptions(included_fields=[0]))
        columns = [only_keys.get_batch(index).column(0) for index in range(only_keys.num_record_batches)]
        self._starts = numpy.cumsum([0, *map(len, columns)])
        buffers = [numpy.frombuffer(column.buffers()[1], dtype=f"S{_KEY_BYTES}", count=len(column)) for column in columns]
        keys = numpy.concatenate(buffers) if buffers else self._keys
        self._order = numpy.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    def _rows(self, rows: numpy.ndarray) -> pa.RecordBatch:
        """What stands at these rows, in their order; each batch is read once, and only where it is asked for."""
        batch_of = numpy.searchsorted(self._starts, rows, side="right") - 1
        batches = numpy.unique(batch_of)
        places = [numpy.flatnonzero(batch_of == batch) for batch in batches]
        taken = [self._batch(int(batch)).take(pa.array(rows[at] - self._starts[batch])) for batch, at in zip(batches, places, strict=True)]
        if len(taken) == 1:
            return taken[0]
        return pa.concat_batches(taken).take(pa.array(numpy.argsort(numpy.concatenate(places))))

    def _batch(self, batch: int) -> pa.RecordBatch:
        if batch not in self._recent:
            assert self._reader is not None
            self._recent[batch] = self._reader.get_batch(batch)
            if len(self._recent) > _BATCHES_IN_MEMORY:
                self._recent.popitem(last=False)
        self._recent.move_to_end(batch)
        return self._recent[batch]


class MemoWriter:
    """Writes the memo of this build beside the previous one; `publish` puts it in its place, `discard` forgets it."""

    def __init__(self, folder: Path, recipe: str, descriptor_count: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._recipe = folder, recipe
        self._temporary = folder / ".tmp-parsed.arrow"
        self._schema = _schema(descriptor_count)
        self._sink = pa.OSFile(str(self._temporary), "wb")
        self._writer = pa.ipc.new_file(self._sink, self._schema, options=pa.ipc.IpcWriteOptions(compression="zstd"))

    def add(self, keys: Sequence[bytes], results: Sequence[Standardized | str]) -> None:
        reasons = [result if isinstance(result, str) else None for result in results]
        kept = [None if isinstance(result, str) else result for result in results]
        texts = [[item and getattr(item, name) for item in kept] for name in ("smiles", "scaffold", "repeat_unit")]
        columns: list[Sequence] = [keys, reasons, *texts]
        columns += [[item and item.descriptors[index] for item in kept] for index in range(len(self._schema) - len(columns))]
        arrays = [pa.array(column, type=field.type) for column, field in zip(columns, self._schema, strict=True)]
        self._writer.write_batch(pa.record_batch(arrays, schema=self._schema))

    def copy(self, batch: pa.RecordBatch) -> None:
        """Remember what another memo of the same recipe held."""
        self._writer.write_batch(batch)

    def publish(self) -> None:
        self._writer.close()
        self._sink.close()
        digest = sha256_of(self._temporary)
        self._temporary.replace(_memo_path(self._folder))
        write_file_atomically(self._folder / "parsed.json", json.dumps({"recipe": self._recipe, "sha256": digest}).encode())

    def discard(self) -> None:
        self._sink.close()
        self._temporary.unlink(missing_ok=True)


def _memo_path(folder: Path) -> Path:
    return folder / "parsed.arrow"


def _is_intact(folder: Path, recipe: str) -> bool:
    """Whether the memo is of this recipe and its bytes are those that were written."""
    try:
        state = json.loads((folder / "parsed.json").read_text(encoding="utf-8"))
        return state == {"recipe": recipe, "sha256": sha256_of(_memo_path(folder))}
    except (FileNotFoundError, ValueError):
        return False


def _schema(descriptor_count: int) -> pa.Schema:
    fixed = [("key", pa.binary(_KEY_BYTES)), *((name, pa.string()) for name in ("reason", "smiles", "scaffold", "repeat_unit"))]
    return pa.schema(fixed + [(f"descriptor_{index}", pa.float64()) for index in range(descriptor_count)])


def _decode(batch: pa.RecordBatch) -> list[Standardized | str]:
    reasons, smiles, scaffolds, units, *numbers = (column.to_pylist() for column in batch.columns[1:])
    rows = zip(*numbers, strict=True) if numbers else [()] * len(reasons)
    return [
        reason if reason is not None else Standardized(one, scaffold, tuple(values), unit)
        for reason, one, scaffold, unit, values in zip(reasons, smiles, scaffolds, units, rows, strict=True)
    ]
