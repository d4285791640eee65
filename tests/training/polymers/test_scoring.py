"""Scoring of one group of samples against real molecules and requests."""

import math
from dataclasses import replace
from types import MappingProxyType

import numpy
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

Chem = pytest.importorskip("rdkit.Chem", reason="rdkit is not installed (extra: chem)")

from formats import descriptors
from formats.molecule_tables import MoleculeTableError
from training.metrics.copies import prepare_training
from training.metrics.distribution import prepare_reference
from training.metrics.molecules import read_generated
from training.polymers import scoring
from training.polymers.sample_table import SampleGroup
from training.polymers.scoring import (
    RealMolecules,
    ScoringConfig,
    fit_surrogates,
    obtained_values,
    read_background,
    read_real_molecules,
    score_group,
    score_real_sample,
)

CONFIG = ScoringConfig(uniqueness_at=(10,), with_fcd=False, bootstrap_rounds=20)
REAL = RealMolecules("molecules", ("CCO", "CCN", "CCC", "CCCC"), prepare_reference(["CO", "CN"], with_fcd=False))
LEARNT, NOTHING = prepare_training(REAL.training), prepare_training(())


def group(*smiles, **requested):
    return SampleGroup("conditional", 1.0, smiles, len(smiles), {name: numpy.array(values) for name, values in requested.items()})


def test_a_property_is_measured_once_for_a_molecule_written_many_times(monkeypatch):
    measured = []
    weight = descriptors.DESCRIPTORS["mol_wt"]
    counting = descriptors.Descriptor("mol_wt", lambda molecule: measured.append(molecule) or weight.function(molecule), "Da", "")
    monkeypatch.setattr(scoring, "DESCRIPTORS", MappingProxyType({"mol_wt": counting}))
    values = obtained_values(read_generated(["CCO", "OCC", "C1CC", "CCO"]), "mol_wt")
    assert len(measured) == 1
    assert values[:2].tolist() == [pytest.approx(46.069)] * 2
    assert math.isnan(values[2])


def test_requests_that_rdkit_can_recompute_are_scored_and_the_others_are_named():
    scores = score_group(group("CCO", "CCN", mol_wt=[46.069, 45.085], heat_capacity=[1.0, 2.0]), REAL, NOTHING, {}, CONFIG)
    assert [control.name for control in scores.controls] == ["mol_wt"]
    assert scores.controls[0].r2.value == pytest.approx(1)
    assert scores.not_judged == ("heat_capacity",)


def test_samples_that_got_no_request_are_no_part_of_its_denominator():
    scores = score_group(group("CCO", "CCN", mol_wt=[46.0, math.nan]), REAL, NOTHING, {}, CONFIG)
    assert scores.controls[0].coverage.trials == 1


def test_novelty_is_against_all_the_model_was_trained_on():
    assert score_group(group("CCO", "CCCl"), REAL, LEARNT, {}, CONFIG).distribution.novelty.successes == 1


def test_the_floor_is_all_valid_and_drawn_the_same_each_time():
    first, second = score_real_sample(REAL, LEARNT, 3, CONFIG), score_real_sample(REAL, LEARNT, 3, CONFIG)
    assert first.validity.value == 1.0
    assert first.compared == 3
    assert first.likeness.nearest_similarity == second.likeness.nearest_similarity


@pytest.mark.parametrize(
    "change", [{"compare_at_most": 1}, {"reference_at_most": 0}, {"bootstrap_rounds": -1}, {"uniqueness_at": ()}, {"near_copy_similarity": 0}]
)
def test_settings_that_make_no_sense_are_refused_by_name(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        ScoringConfig(**change)


def write_dataset(folder, *, known_every):
    """Chains and rings of carbon with a property that counts their bonds to oxygen, known for some of them."""
    smiles = [f"{'C' * length}{'O' * oxygens}" for length in range(1, 41) for oxygens in range(4)]
    values = [float(text.count("C") + 10 * text.count("O")) if index % known_every == 0 else None for index, text in enumerate(smiles)]
    splits = ["test" if index % 5 == 4 else "train" for index in range(len(smiles))]
    folder.mkdir(parents=True)
    columns = {"smiles": smiles, "split_random": splits, "homo_gw": pa.array(values, pa.float64())}
    pq.write_table(pa.table(columns), folder / "molecules-00000.parquet")


def test_a_property_that_rdkit_cannot_tell_is_judged_by_a_predictor_taught_by_the_dataset(tmp_path):
    write_dataset(tmp_path / "molecules", known_every=1)
    surrogates = fit_surrogates(tmp_path, "molecules", {"homo_gw", "mol_wt", "unheard_of"}, CONFIG)
    assert set(surrogates) == {"homo_gw"}
    assert surrogates["homo_gw"].r2.value > 0.95
    scores = score_group(group("CCCCCCO", "CCCOO", "C1CC", "OCCCCCC", homo_gw=[16.0, 23, 5, 16]), REAL, NOTHING, surrogates, CONFIG)
    assert [control.name for control in scores.predicted] == ["homo_gw"]
    assert scores.controls == scores.not_judged == ()
    assert (scores.predicted[0].coverage.successes, scores.predicted[0].coverage.trials) == (3, 4)
    assert scores.obtained["homo_gw"][0] == scores.obtained["homo_gw"][3] == pytest.approx(16, abs=3)


def test_a_property_that_few_molecules_have_is_not_judged(tmp_path):
    write_dataset(tmp_path / "molecules", known_every=10)
    assert fit_surrogates(tmp_path, "molecules", {"homo_gw"}, CONFIG) == {}


def test_predictors_can_be_switched_off(tmp_path):
    write_dataset(tmp_path / "molecules", known_every=1)
    assert fit_surrogates(tmp_path, "molecules", {"homo_gw"}, replace(CONFIG, surrogate_at_most=0)) == {}


def test_new_scaffolds_are_those_that_nothing_learnt_has_and_rings_make_one(tmp_path):
    folder = tmp_path / "molecules"
    folder.mkdir()
    rows = [("CCO", "", "test"), ("Cc1ccccc1", "c1ccccc1", "test"), ("CC1CCCC1", "C1CCCC1", "test"), ("OC1CCCC1", "C1CCCC1", "train")]
    rows += [("CC1CC1", "C1CC1", "test")]
    smiles, scaffolds, splits = (list(column) for column in zip(*rows, strict=True))
    pq.write_table(pa.table({"smiles": smiles, "scaffold": scaffolds, "split_random": splits}), folder / "molecules-00000.parquet")
    known, reals, surrogates = read_background(tmp_path, ["molecules"], {"molecules"}, (), CONFIG)
    assert (list(known.smiles), surrogates) == (["OC1CCCC1"], {"molecules": {}})
    assert list(reals["molecules"].new_scaffolds.molecules) == ["Cc1ccccc1", "CC1CC1"]
    real = read_real_molecules(tmp_path, "molecules", CONFIG, frozenset({"C1CCCC1", "C1CC1"}))
    assert list(real.new_scaffolds.molecules) == ["Cc1ccccc1"]
    assert read_real_molecules(tmp_path, "molecules", CONFIG, frozenset(scaffolds)).new_scaffolds is None


def test_a_table_without_scaffolds_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "molecules").mkdir()
    pq.write_table(pa.table({"smiles": ["C"], "split_random": ["test"]}), tmp_path / "molecules/molecules-00000.parquet")
    with pytest.raises(MoleculeTableError, match="expected a column scaffold, found smiles, split_random; make the dataset again"):
        read_background(tmp_path, ["molecules"], {"molecules"}, (), CONFIG)


def test_the_floor_of_near_copies_is_about_held_out_molecules():
    real = RealMolecules("molecules", ("CCCCCCCCCCO", "CCN"), prepare_reference(["CCCCCCCCCCCO", "c1ccccc1"], with_fcd=False))
    floor = score_real_sample(real, prepare_training(real.training), 2, CONFIG)
    assert (floor.copies.near_copies.successes, floor.copies.near_copies.trials) == (1, 2)
    assert floor.novelty is None
