"""Copies that novelty does not see: other stereoisomers, and molecules that hardly differ."""

import math

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

Chem = pytest.importorskip("rdkit.Chem", reason="rdkit is not installed (extra: chem)")

from training.metrics import copies
from training.metrics.copies import find_copies, prepare_training
from training.metrics.molecules import morgan_fingerprints, read_generated
from training.metrics.tanimoto import nearest_similarities

from .nci_molecules import canonical, nci_strings


def found(strings, training, *, at_least=0.85, rule="molecule"):
    molecules = read_generated(strings, rule=rule).molecules
    return find_copies(molecules, morgan_fingerprints(list(molecules.values())), prepare_training(training), at_least=at_least, rounds=20, seed=0)


def test_a_stereoisomer_of_a_training_molecule_is_a_copy_that_is_new_by_name():
    got = found(["C[C@H](N)C(=O)O", "CCN"], canonical(["C[C@@H](N)C(=O)O"]))
    assert (got.stereoisomers.successes, got.stereoisomers.trials) == (1, 2)
    [copy] = got.examples
    assert (copy.smiles, copy.training, copy.is_stereoisomer) == ("C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O", True)


def test_a_molecule_without_stereo_is_a_copy_of_one_with_it_and_the_other_way_round():
    assert found(["C/C=C/C"], ["CC=CC"]).stereoisomers.successes == 1
    assert found(["CC=CC"], ["C/C=C/C"]).stereoisomers.successes == 1


def test_a_near_copy_stands_beside_the_training_molecule_that_it_is_most_like():
    longer, shorter = "CCCCCCCCCCCC(=O)O", "CCCCCCCCCC(=O)O"
    got = found([longer, "c1ccncc1"], ["CCO", shorter])
    assert (got.near_copies.successes, got.near_copies.trials, got.stereoisomers.successes) == (1, 2, 0)
    assert (got.examples[0].smiles, got.examples[0].training) == (longer, shorter)


def test_exact_copies_are_not_new_and_so_no_part_of_the_denominator():
    got = found(["CCO", "CCN"], ["CCO"])
    assert (got.near_copies.trials, got.nearest_training_similarity.n) == (1, 1)


@given(st.sets(st.sampled_from(["CCO", "CCN", "C[C@H](N)O", "c1ccccc1", "C/C=C/C"])))
def test_a_training_set_has_no_new_molecule_to_itself(smiles):
    got = found(smiles, canonical(list(smiles)))
    assert got.near_copies.trials == 0
    assert math.isnan(got.nearest_training_similarity.value)


@given(st.floats(0.05, 1), st.floats(0.05, 1))
def test_a_higher_threshold_never_finds_more(one, other):
    strings, training = ["CCCO", "CCCCN", "c1ccccc1C"], ["CCCCO", "CCCN", "c1ccccc1CC"]
    low, high = sorted((one, other))
    assert found(strings, training, at_least=high).near_copies.successes <= found(strings, training, at_least=low).near_copies.successes


def test_similarities_do_not_depend_on_how_much_is_read_at_a_time(monkeypatch):
    training, strings = canonical(nci_strings()[:60]), canonical(nci_strings()[100:120])
    whole = found(strings, training, at_least=0.3)
    monkeypatch.setattr(copies, "_MOLECULES_AT_ONCE", 7)
    assert found(strings, training, at_least=0.3) == whole
    molecules = [Chem.MolFromSmiles(text) for text in strings]
    nearest = nearest_similarities(morgan_fingerprints(molecules), morgan_fingerprints([Chem.MolFromSmiles(text) for text in training]))
    new = numpy.array([text not in training for text in strings])
    assert whole.nearest_training_similarity.value == pytest.approx(nearest[new].mean())


def test_a_training_molecule_that_cannot_be_read_is_like_nothing():
    got = found(["CCO"], ["C1CC", "CCN"])
    assert got.examples == ()
    assert prepare_training(["C1CC"]).fingerprints.sum() == 0


def test_without_a_training_molecule_everything_is_new_and_nothing_a_copy():
    got = found(["CCO"], [])
    assert (got.near_copies.successes, got.near_copies.trials, got.nearest_training_similarity.n) == (0, 1, 0)


def test_a_polymer_whose_units_differ_by_their_hands_alone_is_a_stereoisomer_of_the_shorter_unit():
    [unit] = read_generated(["*CC(*)C"], rule="polymer").molecules
    got = found(["*C[C@H](C)C[C@@H](C)*"], [unit], rule="polymer")
    assert got.stereoisomers.successes == got.stereoisomers.trials == 1
