"""Repeat units made from molecules: valid, with two ends, and the same every time."""

import pytest

Chem = pytest.importorskip("rdkit.Chem", reason="rdkit is not installed (extra: chem)")

from assets.molecules.repeat_units import make_repeat_units

_MOLECULES = [
    ("CCO", "a"),
    ("c1cc[nH]c1", "b"),
    ("OCC", "again"),
    ("C", "c"),
    ("CCO.Cl", "salt"),
    ("nonsense", "d"),
    ("C[N+](C)(C)C", "ion"),
    ("FC(F)F", "e"),
]


def test_a_unit_is_its_molecule_with_two_hydrogens_replaced():
    for unit, _ in make_repeat_units(_MOLECULES, count=30, seed=0):
        molecule = Chem.MolFromSmiles(unit)
        ends = [atom for atom in molecule.GetAtoms() if atom.GetAtomicNum() == 0]
        assert [atom.GetDegree() for atom in ends] == [1, 1]
        assert Chem.MolToSmiles(molecule) == unit
    # Two spellings are one molecule, under its first name.
    parents = {name for _, name in make_repeat_units(_MOLECULES, count=30, seed=0)}
    assert parents == {"a", "b"}


def test_units_differ_from_each_other_and_repeat_with_the_seed():
    units = list(make_repeat_units(_MOLECULES, count=9, seed=0))
    assert len({unit for unit, _ in units}) == len(units)
    assert units == list(make_repeat_units(_MOLECULES, count=9, seed=0))
    assert units != list(make_repeat_units(_MOLECULES, count=9, seed=1))


def test_no_more_than_asked_for_are_made():
    assert len(list(make_repeat_units(_MOLECULES, count=2, seed=0))) == 2
