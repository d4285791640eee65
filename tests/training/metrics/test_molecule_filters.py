"""The filters of MOSES: what each is about, and the verdicts of MOSES itself."""

import pytest

Chem = pytest.importorskip("rdkit.Chem", reason="rdkit is not installed (extra: chem)")

from bench.moses_definitions import passes_filters
from training.metrics import molecule_filters
from training.metrics.molecule_filters import CHARGED, LARGE_RING, MCF, OTHER_ELEMENT, PAINS, filter_problem
from training.metrics.moses_patterns import MEDICINAL_CHEMISTRY_FILTERS, PAINS_AS_FIRST_WRITTEN

from .nci_molecules import canonical, nci_strings

CAUGHT = {
    "C1CCCCCCC1": LARGE_RING,
    "C1CCCCCC1": None,
    "C[N+](=O)[O-]": CHARGED,
    "C[Si](C)(C)C": OTHER_ELEMENT,
    "*CC*": OTHER_ELEMENT,
    "CC=O": MCF,
    "CC(C)=O": None,
    "CCCl": MCF,
    "CC(C)Cl": None,
    "C1CO1": MCF,
    "CC(OC)OC": MCF,
    "ClC(Cl)C(Cl)Cl": MCF,
    "O=C1C=CC(=O)C=C1": PAINS,
    "CC(=O)Oc1ccccc1C(=O)O": None,
}


@pytest.mark.parametrize(("smiles", "problem"), CAUGHT.items())
def test_a_molecule_fails_at_the_first_filter_that_catches_it(smiles, problem):
    assert filter_problem(Chem.MolFromSmiles(smiles)) == problem


def test_every_table_row_is_a_pattern_and_replaces_a_pattern_of_rdkit_that_exists():
    assert len(MEDICINAL_CHEMISTRY_FILTERS) == 22
    queries, _ = molecule_filters._patterns()
    assert len(queries) == 22 + 480
    replaced = set(PAINS_AS_FIRST_WRITTEN.values())
    assert len(replaced.intersection(molecule_filters._pains())) == len(PAINS_AS_FIRST_WRITTEN) == 17


def test_verdicts_are_those_of_the_plain_definition_with_hydrogens_as_atoms():
    strings = canonical(nci_strings()[600:700])
    assert [filter_problem(Chem.MolFromSmiles(text)) is None for text in strings] == [passes_filters(text) for text in strings]


# Where hydrogens are counted instead of looked for, and where RDKit has corrected a pattern of PAINS since.
ODD = (
    "O1C=CC=C1", "S1C=CC=C1", "[CH2-]CCl", "C[CH]F", "[2H]C(C)(C)Cl", "[2H]C([2H])(C)Cl", "O=[CH][2H]", "C1=CS(=O)(=O)C=C1", "C=C1C=COC1",
    "COC(=O)C1=C2NC3=CC=CC=C3SC2=CC=C1", "Cc1csc(=NS(=O)(=O)c2ccc(N)cc2)[nH]1", "[H]N=c1scc(-c2ccc(C)cc2)n1-c1ccccc1",
)  # fmt: skip


@pytest.mark.parametrize("smiles", ODD)
def test_odd_molecules_get_the_verdict_of_the_plain_definition(smiles):
    assert (filter_problem(Chem.MolFromSmiles(smiles)) is None) == passes_filters(smiles)


def test_rdkit_without_its_patterns_is_said_with_the_remedy(monkeypatch, tmp_path):
    monkeypatch.setattr(molecule_filters.RDConfig, "RDDataDir", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="install rdkit from its wheel"):
        molecule_filters._pains()
