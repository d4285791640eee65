"""Validity, uniqueness and novelty, said in sentences; numbers frozen from MOSES itself."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

Chem = pytest.importorskip("rdkit.Chem", reason="rdkit is not installed (extra: chem)")
from rdkit.Chem import QED

from formats.descriptors import DESCRIPTORS
from formats.polymer_smiles import IN_PIECES, NOT_TWO_STARS, STAR_NOT_AT_AN_END
from training.metrics.molecules import (
    BLANK_INSIDE,
    COMPARED_PROPERTIES,
    EMPTY,
    UNREADABLE,
    compared_properties,
    counts_similarity,
    fragment_counts,
    morgan_fingerprints,
    novelty,
    novelty_curve,
    read_generated,
    scaffold_counts,
    uniqueness,
    validity,
)

from .nci_molecules import canonical, moses_strings, nci_strings

STRINGS = st.lists(st.sampled_from(["CCO", "OCC", "C1CC", "c1ccccc1", "C", "", "*CC*", "N#N", "C(C)(C)(C)(C)C"]), max_size=30)
TWO_STARS = ["*CC*", "*CC(*)C", "[*]CC[*]", "[1*]CC[2*]"]


# --- validity


def test_a_carbon_with_five_neighbours_is_not_valid():
    assert validity(read_generated(["CC(C)(C)(C)C", "CCO"])).value == 0.5


def test_validity_does_not_penalise_duplicates():
    assert validity(read_generated(["CCO", "CCO", "OCC"])).value == 1.0


def test_an_empty_string_counts_among_the_generated_and_is_not_valid():
    reading = read_generated(["CCO", "", None])
    assert (validity(reading).successes, validity(reading).trials) == (1, 3)
    assert reading.rejected == {EMPTY: 2}


def test_text_after_a_blank_does_not_hide_behind_a_readable_beginning():
    assert read_generated(["CCO N"]).rejected == {BLANK_INSIDE: 1}


def test_every_rejected_string_has_one_reason():
    reading = read_generated(["C1CC", "*C*", "*C", "C(*)(*)*", "*1CC*C1", "*C.*C", "*CC*"], rule="polymer")
    assert reading.rejected == {UNREADABLE: 1, NOT_TWO_STARS: 2, STAR_NOT_AT_AN_END: 1, IN_PIECES: 1}
    assert len(reading.valid) == 2


@pytest.mark.parametrize("string", TWO_STARS)
def test_a_repeat_unit_has_two_stars_at_its_ends_however_they_are_written(string):
    assert validity(read_generated([string], rule="polymer")).value == 1.0


def test_a_molecule_without_stars_is_a_valid_molecule_and_no_polymer():
    assert validity(read_generated(["CCO"])).value == 1.0
    assert validity(read_generated(["CCO"], rule="polymer")).value == 0.0


def test_nothing_generated_has_no_validity_but_a_denominator():
    rate = validity(read_generated([]))
    assert math.isnan(rate.value)
    assert rate.n == 0


# --- uniqueness


def test_uniqueness_penalises_duplicates_with_different_smiles_strings():
    assert uniqueness(read_generated(["CCO", "OCC"])).value == 0.5


def test_uniqueness_is_over_the_first_k_valid_strings():
    reading = read_generated(["C1CC", "CCO", "OCC", "C", "CC"])
    assert (uniqueness(reading, first=2).value, uniqueness(reading, first=3).value) == (0.5, 2 / 3)


def test_uniqueness_at_more_than_there_are_says_how_many_there_were():
    assert uniqueness(read_generated(["CCO", "C"]), first=1000).n == 2


def test_stereoisomers_are_different_molecules():
    assert uniqueness(read_generated(["C[C@H](N)C(=O)O", "C[C@@H](N)C(=O)O"])).value == 1.0


# --- novelty


def test_novelty_sees_through_another_spelling_of_a_known_molecule():
    assert novelty(read_generated(["OCC", "CCN"]), {"CCO"}).value == 0.5


def test_novelty_counts_a_repeated_molecule_once():
    rate = novelty(read_generated(["CCN", "CCN", "CCO"]), ["CCO"])
    assert (rate.successes, rate.trials) == (1, 2)


def test_nothing_is_new_without_a_valid_molecule_and_that_is_not_a_number():
    assert math.isnan(novelty(read_generated(["C1CC"]), {"CCO"}).value)


# --- polymers


def test_two_windows_on_one_chain_are_one_polymer_in_uniqueness_and_novelty():
    reading = read_generated(["*CCO*", "*COC*", "*OCCOCC*", "*CC(*)C"], rule="polymer")
    assert (uniqueness(reading).successes, uniqueness(reading).trials) == (2, 4)
    [oxide, _] = reading.molecules
    assert (novelty(reading, {oxide}).successes, novelty(reading, {oxide}).trials) == (1, 2)


# --- the novelty curve


def test_the_novelty_curve_counts_new_molecules_among_the_first_strings():
    reading = read_generated(["CCO", "C1CC", "CCN", "OCC", "CCN", "CCC"])
    curve = novelty_curve(reading, {"CCO"}, at=(1, 3, 6, 7))
    assert {number: (rate.successes, rate.trials) for number, rate in curve.items()} == {1: (0, 1), 3: (1, 2), 6: (2, 3)}


# --- properties


def test_compared_properties_are_the_descriptors_of_their_names():
    molecules = [Chem.MolFromSmiles(text) for text in canonical(nci_strings()[:60])]
    values = compared_properties(molecules)
    for name in COMPARED_PROPERTIES:
        assert values[name].tolist() == [DESCRIPTORS[name].measure(molecule) for molecule in molecules]


def test_a_molecule_that_has_no_property_leaves_a_gap_and_the_others_theirs(monkeypatch):
    properties = QED.properties

    def fail_on_ethanol(molecule):
        if molecule.GetNumAtoms() == 3:
            raise RuntimeError("Pre-condition Violation")
        return properties(molecule)

    monkeypatch.setattr(QED, "properties", fail_on_ethanol)
    values = compared_properties([Chem.MolFromSmiles("CCO"), Chem.MolFromSmiles("CO")])
    assert math.isnan(values["qed"][0])
    assert values["mol_wt"][1] == pytest.approx(32.042)


# --- laws


@given(STRINGS, st.randoms(use_true_random=False))
def test_the_order_of_the_strings_changes_neither_validity_nor_overall_uniqueness_nor_novelty(strings, random):
    shuffled = list(strings)
    random.shuffle(shuffled)
    one, other = read_generated(strings), read_generated(shuffled)
    assert validity(one) == validity(other)
    assert uniqueness(one) == uniqueness(other)
    assert novelty(one, {"CCO"}) == novelty(other, {"CCO"})


@given(STRINGS)
def test_the_training_set_is_never_new_to_itself(strings):
    reading = read_generated(strings)
    assert novelty(reading, reading.valid).successes == 0


@given(STRINGS, STRINGS)
def test_a_larger_training_set_never_raises_novelty(strings, training):
    reading = read_generated(strings)
    assert novelty(reading, canonical(training)).successes <= novelty(reading, ()).successes


@given(STRINGS, st.integers(1, 30))
def test_the_novelty_curve_is_the_novelty_of_the_first_strings(strings, number):
    curve = novelty_curve(read_generated(strings), {"CCO"}, at=(number,))
    assert curve == ({number: novelty(read_generated(strings[:number]), {"CCO"})} if number <= len(strings) else {})


@given(STRINGS)
def test_uniqueness_is_at_most_one_and_reaches_it_when_repeats_are_dropped(strings):
    reading = read_generated(strings)
    assert uniqueness(reading).successes <= uniqueness(reading).trials
    without_repeats = read_generated(list(reading.molecules))
    assert uniqueness(without_repeats).successes == uniqueness(without_repeats).trials


@given(STRINGS)
def test_every_polymer_is_a_molecule(strings):
    assert len(read_generated(strings, rule="polymer").valid) <= len(read_generated(strings).valid)


@given(STRINGS)
def test_each_different_string_is_parsed_once(strings):
    assert read_generated(strings).parses == len({string for string in strings if string})


@given(STRINGS)
def test_valid_and_rejected_strings_add_up_to_all(strings):
    reading = read_generated(strings)
    assert len(reading.valid) + sum(reading.rejected.values()) == len(strings)


# --- against MOSES


def test_numbers_equal_those_of_moses_on_the_same_molecules():
    """Frozen from molsets 0.3.1 (rdkit 2026.09.1) on 433 strings of the NCI set, with unreadable and repeated ones among them."""
    reading = read_generated(moses_strings())
    assert validity(reading).value == pytest.approx(0.9930715935334873, abs=1e-15)
    assert uniqueness(reading, first=200).value == 1.0
    assert uniqueness(reading, first=1000).value == pytest.approx(0.9302325581395349, abs=1e-15)
    assert novelty(reading, canonical(nci_strings()[200:900])).value == 0.4975


def test_scaffolds_with_one_ring_are_left_out():
    molecules = [Chem.MolFromSmiles(smiles) for smiles in ("CCc1ccccc1", "CCc1ccc2ccccc2c1", "CCO")]
    assert scaffold_counts(molecules) == {"c1ccc2ccccc2c1": 1}


def test_a_scaffold_that_rdkit_fails_to_make_is_left_out(monkeypatch):
    def fail(molecule):
        raise RuntimeError("Pre-condition Violation")

    monkeypatch.setattr("rdkit.Chem.Scaffolds.MurckoScaffold.GetScaffoldForMol", fail)
    assert scaffold_counts([Chem.MolFromSmiles("c1ccc2ccccc2c1")]) == {}


def test_fragments_are_cut_at_brics_bonds():
    assert fragment_counts([Chem.MolFromSmiles("CC(=O)Nc1ccccc1")]) == {"[1*]C(C)=O": 1, "[5*]N[5*]": 1, "[16*]c1ccccc1": 1}


def test_counts_in_proportion_are_fully_similar_and_disjoint_ones_not_at_all():
    assert counts_similarity({"a": 1, "b": 2}, {"a": 2, "b": 4}) == pytest.approx(1)
    assert counts_similarity({"a": 1}, {"b": 1}) == 0
    assert math.isnan(counts_similarity({}, {"b": 1}))


def test_fingerprints_equal_the_bit_vectors_of_rdkit():
    from rdkit.Chem import rdFingerprintGenerator

    molecule = Chem.MolFromSmiles("CC(=O)Oc1ccccc1C(=O)O")
    bits = rdFingerprintGenerator.GetMorganGenerator(radius=2, fpSize=1024).GetFingerprint(molecule).GetOnBits()
    assert morgan_fingerprints([molecule])[0].nonzero()[0].tolist() == list(bits)


def test_no_molecule_has_no_row_of_fingerprints():
    assert morgan_fingerprints([]).shape == (0, 1024)
