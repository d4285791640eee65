"""The benchmark of the molecule metrics compares equals; its counters are asserted here, its times never."""

import json

import pytest

pytest.importorskip("rdkit", reason="rdkit is not installed (extra: chem)")

from bench import molecule_metrics


@pytest.fixture(scope="module")
def inputs():
    return molecule_metrics.make_inputs("smoke", seed=0)


@pytest.mark.parametrize("case", molecule_metrics.CASES)
def test_our_numbers_are_those_of_the_definitions(inputs, case):
    expected = molecule_metrics.definitions()[case](inputs)
    assert molecule_metrics.ours()[case](inputs) == pytest.approx(expected, abs=molecule_metrics.TOLERANCE)


def test_inputs_are_the_same_for_the_same_seed_and_hold_invalid_and_repeated_molecules(inputs):
    assert molecule_metrics.make_inputs("smoke", seed=0) == inputs
    rates = molecule_metrics.ours()["rates"](inputs)
    assert 0 < rates["valid"] < 1
    assert 0 < rates["unique"] < 1


def test_we_parse_each_different_string_once_and_the_definitions_several_times(inputs, tmp_path):
    path = tmp_path / "inputs.json"
    path.write_text(json.dumps(inputs))
    ours, theirs = (molecule_metrics.run_apart(side, "rates", path, None, count=True)["parses"] for side in ("ours", "definitions"))
    assert ours == len(set(inputs["generated"]))
    assert theirs > 3 * ours
