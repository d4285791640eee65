"""The descriptor table: what a requested property and an obtained property are measured with."""

import math

import pytest

Chem = pytest.importorskip("rdkit.Chem", reason="rdkit is not installed (extra: chem)")
from rdkit.Chem import Descriptors

from formats.descriptors import DESCRIPTORS, POLYTAO_DESCRIPTORS, UnknownDescriptorError, descriptors_named

_RDKIT_BY_LOWER_NAME = {name.lower(): function for name, function in Descriptors.descList}


def test_ethanol_has_its_textbook_values():
    values = {d.name: d.measure(Chem.MolFromSmiles("CCO")) for d in descriptors_named(["mol_wt", "heavy_atom_count", "num_h_donors", "tpsa"])}
    assert values == pytest.approx({"mol_wt": 46.069, "heavy_atom_count": 3, "num_h_donors": 1, "tpsa": 20.23})


def test_a_star_weighs_nothing_and_is_no_heavy_atom_but_counts_as_a_heteroatom():
    """Behind the published PolyTAO prompts, whose heteroatom counts exceed N and O by the two stars."""
    star_only = {d.name: d.measure(Chem.MolFromSmiles("*CC*")) for d in descriptors_named(POLYTAO_DESCRIPTORS)}
    assert (star_only["mol_wt"], star_only["heavy_atom_count"], star_only["num_heteroatoms"]) == pytest.approx((28.054, 2, 2))
    assert len(POLYTAO_DESCRIPTORS) == 15


@pytest.mark.parametrize("name", sorted(set(DESCRIPTORS) - {"formal_charge", "sa_score"}))
def test_a_name_is_rdkits_own_name_in_snake_case_and_gives_rdkits_value(name):
    molecule = Chem.MolFromSmiles("*CC(*)(C)C(=O)OCc1ccncc1")
    assert DESCRIPTORS[name].measure(molecule) == _RDKIT_BY_LOWER_NAME[name.replace("_", "")](molecule)


def test_the_synthetic_accessibility_score_is_within_its_scale():
    assert 1 <= DESCRIPTORS["sa_score"].measure(Chem.MolFromSmiles("CC(=O)Oc1ccccc1C(=O)O")) < 3


@pytest.mark.parametrize("name", sorted(DESCRIPTORS))
def test_a_molecule_without_atoms_gives_a_number_or_nan_and_never_an_exception(name):
    value = DESCRIPTORS[name].measure(Chem.MolFromSmiles(""))
    assert isinstance(value, float) and (math.isnan(value) or math.isfinite(value))


def test_counts_are_whole_numbers():
    molecule = Chem.MolFromSmiles("O=C(N)c1ccccc1C[NH3+]")
    assert all(d.measure(molecule).is_integer() for d in DESCRIPTORS.values() if d.is_count)


def test_an_unknown_name_is_an_error_with_the_near_miss():
    with pytest.raises(UnknownDescriptorError, match="did you mean 'mol_log_p'"):
        descriptors_named(["mol_logp"])
