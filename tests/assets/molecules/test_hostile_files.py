"""A file that would take all time or memory costs its own rows, which are counted; the rows beside them become molecules."""

import dataclasses

import pytest

pytest.importorskip("rdkit", reason="rdkit is not installed (extra: chem)")

from assets.molecules import parsing
from assets.molecules.rows import SourceError
from tests.assets.molecules.building import build, rejected_of, rows_of, source
from tests.faults.test_fuzzing import mat_bomb, xyz

pytestmark = pytest.mark.hostile


@pytest.mark.parametrize("workers", [1, 2])
def test_a_row_that_never_ends_costs_that_row(tmp_path, tried, monkeypatch, workers):
    monkeypatch.setattr(parsing, "BOUNDS", dataclasses.replace(parsing.BOUNDS, memory_mib=512, cpu_s=2))
    monkeypatch.setattr(parsing, "ROWS_BEFORE_WORKERS", 1)
    water, bomb = b"3\n\nO 0 0 0\nH 0.96 0 0\nH -0.24 0.93 0\n", xyz("S", 20)
    facts = build(tmp_path, [source(tmp_path / "in/a.xyz", content=water + bomb + water.replace(b"O", b"S") + xyz("S", 40))], workers=workers)
    reasons = [row["reason"] for row in rejected_of(tmp_path / "molecules")]
    smiles = {row["smiles"] for row in rows_of(tmp_path / "molecules")}
    tried("molecules that take all time or memory", 2, lost=len({"O", "S"} - smiles), got_through=2 - len(reasons))
    assert smiles == {"O", "S"} and set(reasons) <= {"takes too long", "takes too much memory"} and len(reasons) == 2
    assert facts.summary["rows_rejected"] == 2
    # What was set aside is remembered: the next build does not try it again.
    assert build(tmp_path, [source(tmp_path / "in/a.xyz")], workers=workers).counts.parsed == 0


def test_a_file_that_claims_gigabytes_is_an_error_in_a_line(tmp_path, tried):
    content = mat_bomb()
    with pytest.raises(SourceError, match=r"source 'qm7b' \(qm7b\.mat\): .*expected qm7b\.mat"):
        build(tmp_path, [source(tmp_path / "in/qm7b.mat", content=content)])
    tried("MATLAB files that claim gigabytes", 1)
