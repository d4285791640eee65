"""Samples are grouped by how they were made."""

import math

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from training.polymers.sample_table import SampleTableError, read_sample_groups


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


def test_a_request_that_only_some_samples_got_is_not_a_number_for_the_others(tmp_path):
    path = write(
        tmp_path / "samples.parquet",
        index=[0, 1],
        mode=["conditional"] * 2,
        temperature=[1.0] * 2,
        smiles=["C", "C"],
        finished=[True] * 2,
        requested_tpsa=pa.array([None, 3.0], pa.float64()),
    )
    first, second = read_sample_groups(path)[0].requested["tpsa"]
    assert math.isnan(first)
    assert second == 3.0


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
