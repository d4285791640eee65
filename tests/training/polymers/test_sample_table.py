"""Samples are written once and grouped by how they were made."""

import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.polymers.sample_table import SampledMolecule, SampleRow, SampleTableError, read_sample_groups, write_samples


def write(path, **columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(columns), path)
    return path


@pytest.fixture
def samples(tmp_path):
    return write(
        tmp_path / "polygpt_samples" / "samples.parquet",
        index=[3, 2, 1, 0],
        mode=["conditional", "unconditional", "unconditional", "unconditional"],
        temperature=[1.0, 0.8, 1.0, 1.0],
        smiles=["CCN", None, "C", "CC"],
        finished=[True, False, True, True],
        requested_mol_wt=pa.array([45.0, None, None, None], pa.float64()),
    )


def test_unconditional_groups_come_first_and_hot_ones_before_cold_ones(samples):
    assert [group.name for group in read_sample_groups(samples)] == ["unconditional_t1", "unconditional_t0.8", "conditional_t1"]


def test_samples_are_in_the_order_they_were_made_whatever_the_order_of_the_rows(samples):
    assert read_sample_groups(samples)[0].smiles == ("CC", "C")


def test_a_group_knows_how_many_ended_by_themselves_and_what_was_requested(samples):
    hot, cold, asked = read_sample_groups(samples)
    assert (hot.finished, cold.finished) == (2, 0)
    assert (dict(hot.requested), asked.requested["mol_wt"].tolist()) == ({}, [45.0])


def test_what_is_written_is_read_again_with_units_and_the_same_bytes_twice(tmp_path):
    rows = [
        SampleRow("conditional", 0.8, SampledMolecule("CCO", True), {"tpsa": 3.0}),
        SampleRow("conditional", 0.8, SampledMolecule("C(", False), {"weight": 46.0}),
    ]
    for name in ("one.parquet", "two.parquet"):
        write_samples(rows, tmp_path / name, units={"weight": "Da", "tpsa": "", "unasked": ""})
    assert (tmp_path / "one.parquet").read_bytes() == (tmp_path / "two.parquet").read_bytes()
    schema = pq.read_schema(tmp_path / "one.parquet")
    assert (schema.field("requested_weight").metadata, schema.field("requested_tpsa").metadata) == ({b"unit": b"Da"}, None)
    (group,) = read_sample_groups(tmp_path / "one.parquet")
    assert (group.name, group.smiles, group.finished, set(group.requested)) == ("conditional_t0.8", ("CCO", "C("), 1, {"weight", "tpsa"})
    # A request that only some samples got is not a number for the others.
    assert group.requested["tpsa"][0] == 3.0 and math.isnan(group.requested["tpsa"][1])


def test_a_file_that_cannot_be_read_or_lacks_rows_or_a_column_says_what_to_do(samples):
    pq.write_table(pq.read_table(samples).slice(0, 0), samples)
    with pytest.raises(SampleTableError, match="no sample in it; sample again: figment materialize polygpt_samples"):
        read_sample_groups(samples)
    pq.write_table(pq.read_table(samples).drop_columns(["finished"]), samples)
    with pytest.raises(SampleTableError, match="no column finished; found index, mode, temperature, smiles"):
        read_sample_groups(samples)
    samples.write_text("smiles\nCCO\n")
    with pytest.raises(SampleTableError, match="not a Parquet file that can be read .*; sample again: figment materialize polygpt_samples"):
        read_sample_groups(samples)
    samples.unlink()
    with pytest.raises(SampleTableError, match="make the samples first: figment materialize polygpt_samples"):
        read_sample_groups(samples)


def test_a_sample_without_a_mode_is_an_error_with_its_remedy(tmp_path):
    path = write(
        tmp_path / "polygpt_samples" / "samples.parquet",
        index=[0],
        mode=pa.array([None], pa.string()),
        temperature=[1.0],
        smiles=["C"],
        finished=[True],
    )
    with pytest.raises(SampleTableError, match="figment materialize polygpt_samples"):
        read_sample_groups(path)
