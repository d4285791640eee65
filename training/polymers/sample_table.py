"""The samples of a molecule model: one Parquet table, read as groups that were made in the same way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy

if TYPE_CHECKING:
    import pyarrow as pa

REQUESTED = "requested_"
# What the mode of samples ends in that were written under a guide; see training/polymers/guided.py.
GUIDED = " guided"
_REQUIRED = ("index", "mode", "temperature", "smiles", "finished")

# Wanted properties by name, in the units of the dataset; {} wants none.
Request = Mapping[str, float]


class SampleTableError(Exception):
    """The samples cannot be read, or lack a column that judging them needs."""


@dataclass(frozen=True)
class SampledMolecule:
    """smiles: as written, valid or not. finished: whether the model ended it; otherwise the room ran out."""

    smiles: str
    finished: bool


@dataclass(frozen=True)
class SampleRow:
    """A molecule and how it was made. mode: `unconditional`, or `conditional` where something was requested; with `GUIDED` behind it."""

    mode: str
    temperature: float
    molecule: SampledMolecule
    request: Request


@dataclass(frozen=True)
class SampleGroup:
    """The samples of one mode at one temperature, in the order they were made.

    smiles: the decoded texts, None where there was none. finished: how many ended by themselves before the maximum length.
    requested: by property name [N] float64 in the units of the dataset, NaN where that sample was given no such request.
    """

    mode: str
    temperature: float
    smiles: tuple[str | None, ...]
    finished: int
    requested: Mapping[str, numpy.ndarray]

    @property
    def name(self) -> str:
        """Such as `conditional_t0.8` or `conditional_guided_t1`: opens the names of this group's metrics."""
        return f"{self.mode.replace(' ', '_')}_t{self.temperature:g}"

    @property
    def is_guided(self) -> bool:
        return self.mode.endswith(GUIDED)


def write_samples(rows: Sequence[SampleRow], path: Path, *, units: Mapping[str, str]) -> None:
    """The table of `rows`, with the same bytes for the same rows. units: by name, of every property that could be requested; may be empty."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {
        "index": pa.array(range(len(rows)), pa.int64()),
        "mode": pa.array([row.mode for row in rows], pa.string()),
        "temperature": pa.array([row.temperature for row in rows], pa.float64()),
        "smiles": pa.array([row.molecule.smiles for row in rows], pa.string()),
        "finished": pa.array([row.molecule.finished for row in rows], pa.bool_()),
    }
    fields = [pa.field(name, array.type) for name, array in columns.items()]
    for name, unit in units.items():
        columns[REQUESTED + name] = pa.array([row.request.get(name) for row in rows], pa.float64())
        fields.append(pa.field(REQUESTED + name, pa.float64(), metadata={"unit": unit} if unit else None))
    table = pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))
    pq.write_table(table, path, compression="zstd", row_group_size=65_536)


def read_sample_groups(path: Path) -> list[SampleGroup]:
    """The groups of the table at `path`, ordered by mode (unconditional first) and falling temperature; at least one.

    Raises SampleTableError naming the file, what it has and the remedy.
    """
    table = _read(path)
    requested_names = [name for name in table.column_names if name.startswith(REQUESTED)]
    modes, temperatures = table["mode"].to_pylist(), table["temperature"].to_pylist()
    if None in modes or None in temperatures:
        raise SampleTableError(f"{path}: a sample has no mode or no temperature; sample again: figment materialize {path.parent.name}")
    if not modes:
        raise SampleTableError(f"{path}: no sample in it; sample again: figment materialize {path.parent.name}")
    keys = sorted(set(zip(modes, temperatures, strict=True)), key=lambda key: (key[0] != "unconditional", key[0], -key[1]))
    return [_group(table, mode, temperature, requested_names) for mode, temperature in keys]


def _read(path: Path) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise SampleTableError(f"{path}: no such file; make the samples first: figment materialize {path.parent.name}") from None
    except pa.ArrowInvalid as error:
        raise SampleTableError(
            f"{path}: not a Parquet file that can be read ({error}); sample again: figment materialize {path.parent.name}"
        ) from None
    missing = [name for name in _REQUIRED if name not in table.column_names]
    if missing:
        raise SampleTableError(f"{path}: no column {missing[0]}; found {', '.join(table.column_names)}, expected {', '.join(_REQUIRED)}")
    return table.sort_by("index")


def _group(table: "pa.Table", mode: str, temperature: float, requested_names: list[str]) -> SampleGroup:
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = table.filter(pc.and_(pc.equal(table["mode"], mode), pc.equal(table["temperature"], temperature)))
    requested = {name.removeprefix(REQUESTED): rows[name].cast(pa.float64()).to_numpy() for name in requested_names}
    return SampleGroup(
        mode=mode,
        temperature=temperature,
        smiles=tuple(rows["smiles"].to_pylist()),
        finished=sum(bool(finished) for finished in rows["finished"].to_pylist()),
        requested={name: values for name, values in requested.items() if numpy.isfinite(values).any()},
    )
