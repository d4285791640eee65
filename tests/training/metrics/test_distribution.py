"""All distribution metrics of one set; numbers frozen from MOSES itself."""

import math

import pytest

Chem = pytest.importorskip("rdkit.Chem", reason="rdkit is not installed (extra: chem)")

from training.metrics import fcd
from training.metrics.copies import prepare_training
from training.metrics.distribution import prepare_reference, score_distribution
from training.metrics.molecules import read_generated

from .nci_molecules import canonical, moses_strings, nci_strings

HAS_FCD = fcd.missing_reason() is None


def scores(strings, reference, *, training=(), new_scaffolds=None, compare_at_most=10_000, rule="molecule"):
    return score_distribution(
        read_generated(strings, rule=rule),
        None if training is None else prepare_training(training),
        reference,
        new_scaffolds,
        rule=rule,
        uniqueness_at=(10,),
        compare_at_most=compare_at_most,
        near_copy_similarity=0.85,
        bootstrap_rounds=200,
        seed=0,
    )


def moses_reference():
    """The 600 real molecules that go with `moses_strings`."""
    return canonical(nci_strings()[2000:2600])


def test_similarities_equal_those_of_moses_on_the_same_molecules():
    got = scores(moses_strings(), prepare_reference(moses_reference(), with_fcd=False))
    assert got.internal_diversity[1].value == pytest.approx(0.8807322784009143, abs=1e-7)
    assert got.internal_diversity[2].value == pytest.approx(0.8549116833403353, abs=1e-7)
    assert got.likeness.nearest_similarity.value == pytest.approx(0.4114078644403191, abs=1e-8)
    assert got.likeness.fragment_similarity == pytest.approx(0.777981351818045, abs=1e-12)
    assert got.likeness.scaffold_similarity == pytest.approx(0.4506829965673791, abs=1e-12)


def test_filters_and_property_distances_equal_those_of_moses_on_the_same_molecules():
    """Frozen from molsets 0.3.1 (rdkit 2026.09.1)."""
    got = scores(moses_strings(), prepare_reference(moses_reference(), with_fcd=False))
    assert got.filters.value == pytest.approx(0.6395348837209303, abs=1e-15)
    expected = {
        "mol_wt": 11.692172699696666,
        "mol_log_p": 0.2935029051878355,
        "qed": 0.039731398022542185,
        "sa_score": 0.1497824231637206,
    }
    assert {name: distance.value for name, distance in got.property_distances.items()} == pytest.approx(expected, rel=1e-12)


def test_a_part_of_the_reference_is_judged_like_a_reference_of_its_own():
    reference = prepare_reference(moses_reference(), with_fcd=False)
    chosen = moses_reference()[::3]
    got = scores(moses_strings(), reference, new_scaffolds=reference.part(frozenset(chosen))).new_scaffolds
    assert got == scores(moses_strings(), prepare_reference(chosen, with_fcd=False)).likeness
    assert got.size == 200


def test_the_filters_count_repeats_and_every_failure_has_one_reason():
    got = scores(["CCO", "CC=O", "CC=O", "C[N+](C)(C)C", "C1CC"], prepare_reference(["CCO"], with_fcd=False))
    assert (got.filters.successes, got.filters.trials) == (1, 4)
    assert got.caught == {"MCF": 2, "charged atom": 1}


def test_repeat_units_are_not_judged_by_filters_that_are_not_made_for_them():
    got = scores(["*CCO*", "*COC*"], prepare_reference(["*CC*"], with_fcd=False), rule="polymer")
    assert got.filters is None
    assert (got.compared, got.uniqueness[10].value) == (2, 0.5)


def test_without_training_molecules_nothing_is_called_new_or_a_copy():
    got = scores(["CCO"], prepare_reference(["CCO"], with_fcd=False), training=None)
    assert got.novelty is got.novelty_curve is got.copies is None


@pytest.mark.parametrize(("strings", "points"), [(1, [1]), (10, [10]), (11, [10, 11]), (250, [10, 20, 50, 100, 200, 250])])
def test_the_novelty_curve_has_round_numbers_of_samples_and_all_of_them(strings, points):
    assert list(scores(["CCO"] * strings, prepare_reference(["CCO"], with_fcd=False)).novelty_curve) == points


@pytest.mark.skipif(not HAS_FCD, reason=str(fcd.missing_reason()))
def test_the_chemnet_distance_equals_that_of_fcd_torch_on_the_same_molecules():
    assert scores(moses_strings(), prepare_reference(moses_reference(), with_fcd=True)).likeness.fcd_torch == pytest.approx(
        6.844214815962246, rel=1e-5
    )


def test_a_set_without_a_valid_molecule_has_denominators_and_no_scores():
    got = scores(["C1CC", ""], prepare_reference(["CCO", "CCN"], with_fcd=False))
    assert (got.validity.value, got.validity.n, got.compared, got.novelty.n) == (0.0, 2, 0, 0)
    for value in (got.internal_diversity[1].value, got.likeness.nearest_similarity.value, got.likeness.scaffold_similarity, got.uniqueness[10].value):
        assert math.isnan(value)
    assert got.likeness.fcd_torch is None


def test_without_real_molecules_the_set_is_still_judged_by_itself():
    got = scores(["CCO", "CCN"], prepare_reference([], with_fcd=True))
    assert got.validity.value == 1.0
    assert math.isnan(got.likeness.nearest_similarity.value)


def test_the_bound_on_compared_molecules_is_kept_and_told():
    got = scores(["CCO", "C1CC", "CCN", "CCC"], prepare_reference(["CCO"], with_fcd=False), compare_at_most=2)
    assert (got.compared, got.likeness.nearest_similarity.n, got.validity.n) == (2, 2, 4)


def test_repeats_count_in_diversity_as_in_moses():
    reference = prepare_reference(["CCO"], with_fcd=False)
    assert (
        scores(["CCO"] * 9 + ["c1ccccc1"], reference).internal_diversity[1].value < scores(["CCO", "c1ccccc1"], reference).internal_diversity[1].value
    )


def test_the_metric_says_which_implementation_it_is():
    assert fcd.FCD_KEY == "fcd_torch"
    if HAS_FCD:
        assert fcd.implementation().startswith("fcd_torch ")


def test_an_absent_package_is_a_reason_and_not_a_crash(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert fcd.missing_reason() == "fcd_torch is not installed (extra: fcd)"
