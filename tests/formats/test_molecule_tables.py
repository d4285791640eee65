"""Reading the tables of molecules: the right rows, missing values, units, and errors that name what is there."""

import numpy
import pyarrow.parquet as pq
import pytest

from formats.molecule_tables import MoleculeTableError, property_columns, read_molecules
from tests.training.polymers.toy_molecules import write_molecules


def test_the_rows_of_one_split_come_in_the_order_of_the_shards(tmp_path):
    molecules = write_molecules(tmp_path, number=40)
    table = read_molecules(tmp_path / "molecules", split="test", properties=["rings", "length"])
    assert table.smiles == [smiles for row, smiles in enumerate(molecules) if row % 5 == 4]
    assert table.properties[:, 1].tolist() == [float(len(smiles)) for smiles in table.smiles]
    assert table.units == {"rings": "", "length": "characters"} and len(table) == 8


def test_missing_values_are_nan(tmp_path):
    write_molecules(tmp_path, number=30)
    table = read_molecules(tmp_path / "molecules", split="train", properties=["rings"])
    expected = [row % 3 == 0 for row in range(30) if row % 5 < 3]
    assert numpy.isnan(table.properties[:, 0]).tolist() == expected


def test_an_absent_property_is_an_error_unless_it_may_be_missing(tmp_path):
    write_molecules(tmp_path, number=30)
    with pytest.raises(MoleculeTableError, match=r"no property 'lenght' \(did you mean 'length'\?\); the dataset has length, rings"):
        read_molecules(tmp_path / "molecules", split="train", properties=["lenght"])
    table = read_molecules(tmp_path / "molecules", split="train", properties=["mol_wt", "length"], absent_is_missing=True)
    assert numpy.isnan(table.properties[:, 0]).all() and not numpy.isnan(table.properties[:, 1]).any()


def test_without_properties_there_are_none(tmp_path):
    write_molecules(tmp_path, number=10)
    assert read_molecules(tmp_path / "molecules", split="train").properties.shape == (6, 0)
    assert property_columns(tmp_path / "molecules") == ["length", "rings"]


def test_a_missing_dataset_says_how_to_make_it(tmp_path):
    with pytest.raises(MoleculeTableError, match=r"no shard polymers-00000\.parquet.*figment materialize polymers"):
        read_molecules(tmp_path / "polymers", split="train")


def test_a_table_without_the_split_column_says_what_it_has(tmp_path):
    write_molecules(tmp_path, number=10)
    for shard in (tmp_path / "molecules").iterdir():
        pq.write_table(pq.read_table(shard).drop_columns(["split_scaffold"]), shard)
    with pytest.raises(MoleculeTableError, match="expected columns smiles and split_scaffold, found smiles, scaffold, split_random"):
        read_molecules(tmp_path / "molecules", split="train", split_column="split_scaffold")
