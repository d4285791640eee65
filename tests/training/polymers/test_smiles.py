"""SMILES as text: pieces that are never cut, and other spellings of the same molecule."""

import builtins

import pytest

from training.polymers.smiles import SpellingError, random_spellings, spell_all, split_smiles


@pytest.mark.parametrize(
    ("smiles", "pieces"),
    [
        ("CCO", ["C", "C", "O"]),
        ("ClCBr", ["Cl", "C", "Br"]),
        ("C[N+](C)C%12", ["C", "[N+]", "(", "C", ")", "C", "%12"]),
        ("[13C@@H]=*", ["[13C@@H]", "=", "*"]),
        ("[Cl-].[Na+]", ["[Cl-]", ".", "[Na+]"]),
        ("C[", ["C", "["]),
        ("", []),
    ],
)
def test_pieces_are_atoms_bonds_and_ring_closures(smiles, pieces):
    assert split_smiles(smiles) == pieces


def test_random_spellings_are_the_same_molecule_written_differently():
    from rdkit import Chem

    aspirin = Chem.CanonSmiles("CC(=O)Oc1ccccc1C(=O)O")
    spellings = random_spellings(aspirin, count=8, seed=3)
    assert len(set(spellings)) == len(spellings) > 3 and aspirin not in spellings
    assert {Chem.CanonSmiles(spelling) for spelling in spellings} == {aspirin}


def test_spellings_depend_on_the_seed_alone():
    assert random_spellings("CC(=O)Nc1ccccc1", count=4, seed=1) == random_spellings("CC(=O)Nc1ccccc1", count=4, seed=1)
    assert random_spellings("CC(=O)Nc1ccccc1", count=4, seed=1) != random_spellings("CC(=O)Nc1ccccc1", count=4, seed=2)


def test_polymer_ends_survive_respelling():
    spellings = random_spellings("*CC(*)c1ccccc1", count=5, seed=0)
    assert spellings and all(spelling.count("*") == 2 for spelling in spellings)


def test_a_polymer_is_spelled_in_all_its_frames():
    from rdkit import Chem

    from formats.polymer_smiles import canonical_polymer_smiles

    spellings = random_spellings("*CCOC(*)=O", count=20, seed=0)
    assert {canonical_polymer_smiles(spelling) for spelling in spellings} == {canonical_polymer_smiles("*CCOC(*)=O")}
    assert {Chem.CanonSmiles(spelling) for spelling in spellings} == {"*CCOC(*)=O", "*COC(=O)C*", "*CCC(=O)O*", "*OCCC(*)=O"}


def test_an_unreadable_molecule_has_no_spellings():
    assert spell_all(["C(", "CCO"], count=3, seed=0)[0] == []


def test_without_rdkit_the_error_says_what_to_do(monkeypatch):
    original = builtins.__import__

    def without_rdkit(name, *args, **kwargs):
        if name.partition(".")[0] == "rdkit":
            raise ImportError(name)
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_rdkit)
    with pytest.raises(SpellingError, match="spellings_per_molecule: 0"):
        random_spellings("CCO", count=1, seed=0)
