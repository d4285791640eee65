"""Datasets and metrics judge repeat units by one rule, although each has code of its own: one for speed, one for words."""

import pytest
from rdkit import Chem

from assets.molecules.standardize import Rules, Standardized, Standardizer
from formats.polymer_smiles import repeat_unit_problem

_UNITS = ["*CC*", "*CC(*)c1ccccc1", "*C(*)*", "CCO", "*", "**", "*O*", "*CC.CC*", "*CC*.O", "C1*CC*1", "*=C*", "[1*]CC[2*]", "*C*C*", "*c1ccc(*)cc1"]


@pytest.mark.parametrize("smiles", _UNITS)
def test_a_dataset_takes_a_repeat_unit_just_when_the_metrics_call_it_valid(smiles: str) -> None:
    rules = Rules(salts="keep", stars=2, elements=(), min_heavy_atoms=0, max_heavy_atoms=100, max_smiles_chars=100, descriptors=())
    (answer,) = Standardizer(rules).many([("smiles", smiles)])

    assert isinstance(answer, Standardized) == (repeat_unit_problem(Chem.MolFromSmiles(smiles)) is None), answer
