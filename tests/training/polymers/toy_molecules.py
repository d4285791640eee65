"""A small data folder of enumerated molecules with made-up properties, for tests that need no rdkit."""

import itertools
from pathlib import Path

import numpy
import pyarrow as pa
import pyarrow.parquet as pq

CHAINS = ("C", "CC", "CCC", "N", "O", "CO", "CN", "CCN", "[O-]C", "[NH3+]C")
MIDDLES = ("C(=O)", "C(C)", "c1ccc(cc1)", "C1CC1", "N", "O", "CC", "c1c[nH]c2c1cccc2", "C#C", "S")
ENDS = ("Cl", "Br", "C", "O", "N", "F", "CC", "C(=O)O", "C(N)=O", "[N+](=O)[O-]")


def enumerated_molecules(number: int) -> list[str]:
    """The first `number` of up to 1,000 different SMILES in a fixed, mixed order."""
    every = [chain + middle + end for chain, middle, end in itertools.product(CHAINS, MIDDLES, ENDS)]
    order = numpy.random.default_rng(7).permutation(len(every))
    return [every[index] for index in order[:number]]


def write_molecules(
    data: Path, *, number: int = 300, name: str = "molecules", splits: tuple[str, ...] = ("train", "train", "train", "valid", "test")
) -> list[str]:
    """`data/<name>` with two shards: SMILES, splits in turn, `length` (characters) and `rings` (missing in every third row). Returns the SMILES."""
    molecules = enumerated_molecules(number)
    split = [splits[row % len(splits)] for row in range(number)]
    rings = [float(smiles.count("1") // 2) if row % 3 else None for row, smiles in enumerate(molecules)]
    table = pa.table(
        {
            "smiles": molecules,
            "scaffold": [smiles if "1" in smiles else "" for smiles in molecules],
            "split_random": split,
            "split_scaffold": split,
            "length": pa.array([float(len(smiles)) for smiles in molecules], pa.float64()),
            "rings": pa.array(rings, pa.float64()),
        }
    )
    fields = [field.with_metadata({"unit": "characters"}) if field.name == "length" else field for field in table.schema]
    table = table.cast(pa.schema(fields))
    folder = data / name
    folder.mkdir(parents=True)
    half = number // 2
    pq.write_table(table.slice(0, half), folder / f"{name}-00000.parquet")
    pq.write_table(table.slice(half), folder / f"{name}-00001.parquet")
    return molecules
