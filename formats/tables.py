"""The one way to write Parquet files, and the columns of the molecule tables; those of papers are in assets/papers/tables.py.

Equal rows give equal bytes: codec, level, row group size and format version are pinned, no pandas metadata and no times are stored. The unit of a
numeric column lies in the metadata of its field, under `unit`.
"""

import contextlib
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from functools import cache
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_ROW_GROUP = 16_384
_KINDS: Mapping[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    float: pa.float64(),
    bool: pa.bool_(),
    date: pa.date32(),
    datetime: pa.timestamp("us", tz="UTC"),
    list[str]: pa.list_(pa.string()),
}


def columns(**kinds: Any) -> pa.Schema:
    """Columns by name, each of the Arrow type that holds str, int, float, bool, date, datetime (UTC) or list[str]; all may be null."""
    return pa.schema([(name, _KINDS[kind]) for name, kind in kinds.items()])


COLUMN_DOCS: Mapping[str, str] = {
    "id": "first 16 hexadecimal digits of `sha256`; for a row measured at conditions, of the SHA-256 of `smiles` and the conditions",
    "smiles": "canonical SMILES as RDKit writes it; in `polymers`, of the canonical repeat unit (formats/polymer_smiles.py)",
    "source": "name of the source in which the molecule occurs first",
    "source_ids": "every row merged into this one, sorted: `source:the row's own id`, or `source:#digest of the row's text` where it has none",
    "licence": "licence of the source of the first occurrence",
    "origin": "where that source came from: an address, a path inside the rdkit wheel, or a path in the project",
    "sha256": "SHA-256 of `smiles`",
    "scaffold": "Bemis-Murcko scaffold as canonical SMILES; empty for a molecule without rings",
    "split_random": "train, valid or test by a hash of the first 16 digits of `sha256`: one molecule is in one split, at whatever conditions",
    "split_scaffold": "train, valid or test by a hash of `scaffold`: one scaffold is never in two splits",
    "repeat_unit": "in `polymers`: the repeat unit as its first source drew it, its frame and the marks of its ends kept; SMILES as RDKit writes it",
    "row": "position of the row among the records of its source, from 0",
    "text": "what the row said, shortened",
    "reason": "why the row was rejected",
    "file": "path of the file inside the folder of the artifact",
    "kind": "how the file came: rdkit, file, url or repeat_units",
    "format": "format asked for; auto: recognised by name and content",
    "bytes": "size of the file",
    "role": "which dataset the source feeds: molecules or polymers",
    "options": "how to read the file, as JSON: columns, units, delimiter, encoding, member",
}

SOURCE_INDEX = columns(source=str, file=str, kind=str, format=str, origin=str, licence=str, sha256=str, bytes=int, role=str, options=str)

REJECTED_ROWS = columns(source=str, row=int, id=str, text=str, reason=str)

MOLECULE_COLUMNS = columns(
    id=str, smiles=str, source=str, source_ids=list[str], licence=str, origin=str, sha256=str, scaffold=str, split_random=str, split_scaffold=str,
)  # fmt: skip


POLYMER_COLUMNS = pa.schema([*MOLECULE_COLUMNS, *columns(repeat_unit=str)])


def molecule_schema(
    descriptor_units: Mapping[str, str],
    property_units: Mapping[str, str],
    *,
    condition_units: Mapping[str, str] | None = None,
    fixed: pa.Schema = MOLECULE_COLUMNS,
) -> pa.Schema:
    """The columns of `molecules` and `polymers`: the fixed ones, then the conditions, the descriptors, and the properties of the sources (nullable).

    descriptor_units, property_units, condition_units: unit by column name, in column order; a condition without a unit is a text.
    """
    numbers = [*descriptor_units.items(), *property_units.items()]
    conditions = [
        pa.field(name, pa.float64() if unit else pa.string(), metadata={"unit": unit, "role": "condition"} if unit else {"role": "condition"})
        for name, unit in (condition_units or {}).items()
    ]
    return pa.schema([*fixed, *conditions, *(pa.field(name, pa.float64(), metadata={"unit": unit}) for name, unit in numbers)])


def write_table(path: Path, table: pa.Table) -> None:
    """Write `table` to the new file `path`."""
    with open_writer(path, table.schema) as writer:
        writer.write_table(table, row_group_size=ROWS_PER_ROW_GROUP)


def open_writer(path: Path, schema: pa.Schema) -> pq.ParquetWriter:
    """A writer with the pinned settings. Give it tables of whole row groups, or the bytes depend on how the rows were handed over."""
    return pq.ParquetWriter(path, schema, compression="zstd", compression_level=3, version="2.6", data_page_version="1.0", write_page_checksum=True)


class DamagedTableError(OSError):
    """A Parquet file is not what was written: what it was made by must make it again."""


def read_table(path: Path, names: Sequence[str] | None = None) -> pa.Table:
    """One Parquet file, or the columns of these names. pyarrow's own function of this name loads its machinery for folders of files first.

    Raises DamagedTableError, also where a page is not what its checksum says.
    """
    _leave_pandas_out()
    with _undamaged(path), pq.ParquetFile(path, page_checksum_verification=True) as file:
        return file.read(names)


def read_schema(path: Path) -> pa.Schema:
    """The columns of a Parquet file. Raises DamagedTableError."""
    with _undamaged(path):
        return pq.read_schema(path)


@contextlib.contextmanager
def _undamaged(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        found = " ".join(str(error).split())[:200]
        raise DamagedTableError(f"{path}: damaged, or no Parquet file ({found}); make it again, `figment doctor` says from what") from None


def table_from_rows(schema: pa.Schema, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """`rows` as a table; a missing key is a null."""
    _leave_pandas_out()
    return pa.Table.from_pylist(list(rows), schema=schema)


class _WithoutPandas(MetaPathFinder):
    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:  # noqa: ARG002 - importlib's signature
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname)


@cache
def _leave_pandas_out() -> None:
    """Let pyarrow find out now that nobody uses pandas.

    At the first list that it is given it imports pandas, a quarter of a second, to see whether the list is one of its; what needs pandas, such as
    `to_pandas`, looks for it again.
    """
    if "pandas" in sys.modules:
        return
    finder = _WithoutPandas()
    sys.meta_path.insert(0, finder)
    try:
        pa.array([None])
    finally:
        sys.meta_path.remove(finder)
