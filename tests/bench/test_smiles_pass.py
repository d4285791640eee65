"""The benchmark of the molecule stage: its two sides agree, and it notices when they do not."""

import random

import pytest

pytest.importorskip("rdkit", reason="rdkit is not installed (extra: chem)")

from assets.molecules.build import DatasetConfig
from bench import smiles_pass

_CONFIG = DatasetConfig(descriptors=["mol_wt", "tpsa"], salts="keep", max_heavy_atoms=10_000, max_smiles_chars=10_000, min_heavy_atoms=0)


def test_both_sides_find_the_same_molecules_with_one_parse_a_row():
    counts = smiles_pass.check_equal(smiles_pass.make_inputs(60, seed=0), _CONFIG)
    assert counts["mol_parses"] == counts["rows"] == 60


def test_a_difference_ends_the_benchmark(monkeypatch, capsys):
    bare_loop = smiles_pass.bare_loop
    monkeypatch.setattr(smiles_pass, "bare_loop", lambda texts, names: bare_loop(texts[:-1], names))
    with pytest.raises(SystemExit) as ended:
        smiles_pass.check_equal(["CC", "CCO"], _CONFIG)
    assert ended.value.code == 1
    assert "DISAGREE: 1 molecules differ" in capsys.readouterr().err


def test_the_report_has_a_ratio_for_each_side():
    texts = smiles_pass.make_inputs(100, seed=0)
    rounds = [smiles_pass.run_round(texts, _CONFIG, random.Random(0))]
    result = smiles_pass.report(smiles_pass.check_equal(texts, _CONFIG), rounds)
    assert result["sides"]["bare"]["ratio"]["median"] == 1.0
    assert set(result["sides"]) == {"bare", "figment", "again"}
