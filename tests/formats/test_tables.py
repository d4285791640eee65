"""The Parquet files: equal rows, equal bytes; every column has a meaning and every number a unit."""

import subprocess
import sys
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.parquet as pq

from formats.tables import (
    COLUMN_DOCS,
    MOLECULE_COLUMNS,
    REJECTED_ROWS,
    SOURCE_INDEX,
    columns,
    molecule_schema,
    read_table,
    table_from_rows,
    write_table,
)


def test_equal_rows_give_equal_bytes_however_they_are_chunked(tmp_path):
    rows = [{"source": "a", "row": index, "id": "", "text": f"C{index}", "reason": "x"} for index in range(1_000)]
    whole = table_from_rows(REJECTED_ROWS, rows)
    pieces = pa.concat_tables([table_from_rows(REJECTED_ROWS, rows[:7]), table_from_rows(REJECTED_ROWS, rows[7:])])
    write_table(tmp_path / "a", whole)
    write_table(tmp_path / "b", pieces)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_unit_comes_back_with_its_column(tmp_path):
    schema = molecule_schema({"mol_wt": "Da"}, {"band_gap": "hartree"})
    write_table(tmp_path / "t", table_from_rows(schema, [{"id": "x", "mol_wt": 1.0}]))
    read = pq.read_schema(tmp_path / "t")
    assert {name: read.field(name).metadata[b"unit"] for name in ("mol_wt", "band_gap")} == {"mol_wt": b"Da", "band_gap": b"hartree"}
    assert read.field("band_gap").nullable
    assert b"pandas" not in (read.metadata or {})


def test_the_fixed_columns_come_first_then_descriptors_then_properties():
    names = molecule_schema({"tpsa": "angstrom2"}, {"density": "g/cm3"}).names
    assert names == [*MOLECULE_COLUMNS.names, "tpsa", "density"]


def test_every_column_is_explained():
    names = {*SOURCE_INDEX.names, *REJECTED_ROWS.names, *MOLECULE_COLUMNS.names}
    assert names <= set(COLUMN_DOCS)


def test_columns_are_written_as_names_and_python_types():
    schema = columns(name=str, count=int, share=float, is_new=bool, day=date, moment=datetime, **{"class": list[str]})
    values = ["x", 1, 0.5, True, date(2026, 1, 2), datetime(2026, 1, 2, 3, tzinfo=UTC), ["a", "b"]]
    row = dict(zip(schema.names, values, strict=True))
    assert table_from_rows(schema, [row, {}]).to_pylist() == [row, dict.fromkeys(row)]


def test_a_file_is_read_whole_or_by_columns(tmp_path):
    table = table_from_rows(columns(name=str, count=int), [{"name": "a", "count": 1}, {"name": "b"}])
    write_table(tmp_path / "t", table)
    assert read_table(tmp_path / "t") == table
    assert read_table(tmp_path / "t", ["count"]).to_pylist() == [{"count": 1}, {"count": None}]


PROGRAM = """
import sys
from pathlib import Path
from formats.tables import columns, read_table, table_from_rows, write_table

path = Path(sys.argv[1])
write_table(path, table_from_rows(columns(name=str, parts=list[str]), [{"name": "a", "parts": ["b"]}]))
table = read_table(path)
print(table.to_pylist(), "pandas" in sys.modules, "pyarrow.dataset" in sys.modules)
try:
    import pandas
except ModuleNotFoundError:
    print(1)
else:
    print(len(table.to_pandas()))
"""


def test_tables_are_written_and_read_without_pandas_which_is_still_there_for_whoever_asks(tmp_path):
    done = subprocess.run([sys.executable, "-c", PROGRAM, str(tmp_path / "t")], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("[{'name': 'a', 'parts': ['b']}] False False\n1\n", "")
