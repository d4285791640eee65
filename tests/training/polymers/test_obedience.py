"""Requested beside obtained values, by hand."""

import csv
import io

import pytest

pytest.importorskip("rdkit.Chem", reason="rdkit is not installed (extra: chem)")

from training.polymers.obedience import obedience
from training.polymers.sample_table import SampledMolecule


def molecules(*smiles: str) -> list[SampledMolecule]:
    return [SampledMolecule(text, True) for text in smiles]


def test_each_molecule_has_its_row_and_each_property_its_line():
    requests = [{"heavy_atom_count": float(count), "boiling_point": 300.0} for count in (1, 2, 3, 9)]
    text, lines = obedience(requests, molecules("C", "CC", "CCCC", "C1CC"))
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["obtained_heavy_atom_count"] for row in rows] == ["1", "2", "4", ""] and [row["valid"] for row in rows][2:] == ["true", "false"]
    assert rows[0]["requested_boiling_point"] == "300" and rows[0]["obtained_boiling_point"] == ""
    # Three valid ones: residuals 0, 0, 1 about requests of variance 2.
    assert lines[0] == "3 of 4 molecules are valid" and lines[1].startswith("heavy_atom_count: R² 0.500 ") and "2 of 4 within 10 %" in lines[1]
    assert lines[2] == "boiling_point: RDKit cannot compute it, so what was obtained is not known"


def test_one_value_asked_for_again_has_no_r2_and_no_molecule_no_error():
    _, lines = obedience([{"heavy_atom_count": 2.0}] * 2, molecules("CC", "CCC"))
    assert lines[1] == "heavy_atom_count: mean absolute error 0.5, 1 of 2 within 10 %"
    assert obedience([{"heavy_atom_count": 2.0}], molecules("C1CC"))[1] == ["0 of 1 molecules are valid", "heavy_atom_count: nothing was obtained"]
