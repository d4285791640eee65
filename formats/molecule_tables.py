"""Read the Parquet shards of `data/molecules` and `data/polymers`: SMILES, split and properties.

Only what a training needs is read; how the tables come to be is written in assets/molecules.
"""

import difflib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy

if TYPE_CHECKING:
    import pyarrow as pa


class MoleculeTableError(Exception):
    """A table of molecules is missing, empty, or lacks a column that was asked for."""


@dataclass(frozen=True)
class MoleculeTable:
    """Molecules of one split, in the order of the dataset.

    smiles: N canonical SMILES. properties: [N, P] float64 in the units of the dataset, NaN where a value is missing.
    property_names: P column names. units: unit by property name, "" where the dataset states none.
    """

    smiles: list[str]
    properties: numpy.ndarray
    property_names: tuple[str, ...]
    units: dict[str, str]

    def __len__(self) -> int:
        return len(self.smiles)


def read_molecules(
    folder: Path, *, split: str, split_column: str = "split_random", properties: Sequence[str] = (), absent_is_missing: bool = False
) -> MoleculeTable:
    """The rows of split `split` ("train", "valid" or "test") of all shards in `folder`, e.g. data/molecules.

    A molecule that was measured at several conditions has several rows; those that differ in nothing that is asked for are one.
    absent_is_missing: a property that the dataset does not have is NaN in every row, rather than an error.
    Raises MoleculeTableError naming the folder, what was found and the nearest column name.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from formats.tables import read_table

    shards = shard_paths(folder)
    schema = _schema_of(shards[0])
    present = [name for name in properties if name in _property_names(schema)] if absent_is_missing else list(properties)
    _check_columns(folder, schema, split_column, present)
    table = pa.concat_tables([read_table(shard, ["smiles", split_column, *present]) for shard in shards])
    table = table.filter(pc.equal(table[split_column], split))
    # A property that is absent fills its column with NaN, so that the matrix has the columns that were asked for, in their order.
    values = [
        table[name].to_numpy(zero_copy_only=False).astype(numpy.float64) if name in present else numpy.full(table.num_rows, numpy.nan)
        for name in properties
    ]
    smiles = table["smiles"].to_pylist()
    matrix = numpy.stack(values, axis=1) if values else numpy.zeros((table.num_rows, 0))
    if any((field.metadata or {}).get(b"role") == b"condition" for field in schema):
        # By bytes, so that a missing value (NaN) equals another.
        first = {(one, row.tobytes()): place for place, (one, row) in reversed(list(enumerate(zip(smiles, matrix, strict=True))))}
        places = sorted(first.values())
        smiles, matrix = [smiles[place] for place in places], matrix[places]
    return MoleculeTable(
        smiles=smiles,
        properties=matrix,
        property_names=tuple(properties),
        units={name: _unit(schema.field(name)) for name in present},
    )


def read_scaffolds(folder: Path, *, split: str, split_column: str = "split_random") -> list[str]:
    """The Bemis-Murcko scaffolds of the molecules that `read_molecules` gives for the same arguments; "" of one without rings.

    Raises MoleculeTableError.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from formats.tables import read_table

    shards = shard_paths(folder)
    schema = _schema_of(shards[0])
    _check_columns(folder, schema, split_column, ())
    if "scaffold" not in schema.names:
        raise MoleculeTableError(f"{folder}: expected a column scaffold, found {', '.join(schema.names)}; make the dataset again")
    table = pa.concat_tables([read_table(shard, ["scaffold", split_column]) for shard in shards])
    return table.filter(pc.equal(table[split_column], split))["scaffold"].to_pylist()


def shard_paths(folder: Path) -> list[Path]:
    """The Parquet shards of the dataset `folder` in order: `<folder name>-00000.parquet`, … Raises MoleculeTableError when there is none."""
    shards = sorted(folder.glob(f"{folder.name}-[0-9]*.parquet"))
    if not shards:
        raise MoleculeTableError(f"{folder}: no shard {folder.name}-00000.parquet here; make the dataset first: figment materialize {folder.name}")
    return shards


def property_columns(folder: Path) -> list[str]:
    """The names of the numeric columns of the dataset: descriptors first, then the sources' own properties."""
    return _property_names(_schema_of(shard_paths(folder)[0]))


def _schema_of(path: Path) -> "pa.Schema":
    from formats.tables import read_schema

    return read_schema(path)


def _check_columns(folder: Path, schema: "pa.Schema", split_column: str, properties: Sequence[str]) -> None:
    known = _property_names(schema)
    if "smiles" not in schema.names or split_column not in schema.names:
        raise MoleculeTableError(f"{folder}: expected columns smiles and {split_column}, found {', '.join(schema.names)}; make the dataset again")
    for name in properties:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            near = f" (did you mean '{close[0]}'?)" if close else ""
            raise MoleculeTableError(f"{folder}: no property '{name}'{near}; the dataset has {', '.join(known) or 'no numeric column'}")


def _property_names(schema: "pa.Schema") -> list[str]:
    import pyarrow as pa

    return [field.name for field in schema if pa.types.is_floating(field.type)]


def _unit(field: "pa.Field") -> str:
    metadata = field.metadata or {}
    raw = metadata.get(b"unit", b"").decode()
    # Units may be stored as plain text or as JSON text.
    return json.loads(raw) if raw.startswith('"') else raw
