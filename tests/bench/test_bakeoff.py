"""The benchmark of all models trains, samples and judges; its figures of quality are asserted to be there, its times never."""

import json

import pytest

pytest.importorskip("rdkit", reason="rdkit is not installed (extra: chem)")
pytest.importorskip("torch", reason="torch is not installed (extra: model)")

from bench import bakeoff


def test_numbers_that_every_table_has_become_mean_and_deviation_by_entry_and_decoding():
    tables = [{"a_conditional_t1_validity": 0.5, "a_conditional_t1_validity_n": 4}, {"a_conditional_t1_validity": 0.7, "a_conditional_t1_mean_r2": 1}]
    (row,) = bakeoff.table_of(tables).items()
    assert row[0] == "a_conditional_t1"
    assert (row[1]["validity"].value, row[1]["validity"].sd) == (pytest.approx(0.6), pytest.approx(0.1414, abs=1e-4))
    assert list(row[1]) == ["validity"]


@pytest.mark.slow
def test_one_small_model_goes_through_all_of_it(tmp_path):
    assert bakeoff.main(["--samples", "20", "--json", str(tmp_path / "found.json")]) == 0
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["seeds"] == 1 and found["processor"]
    assert {"polygpt_conditional_t1", "ngram_conditional_t1"} <= set(found["table"])
    assert found["table"]["polygpt_writing"]["molecules_per_s"][0] > 0
