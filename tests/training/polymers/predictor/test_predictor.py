"""The property predictor: what it is given, what it learns by, when it is sure, where it refuses, and that a training ends with the same bytes."""

import copy
import json
import math
from dataclasses import fields, replace
from pathlib import Path

import numpy
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from rdkit import Chem

from formats.polymer_smiles import frames
from stages.params import load_params, read_yaml
from tests.training.harness import Harness, places
from tests.training.polymers.toy_molecules import write_molecules
from training.loop.devices import Devices
from training.polymers.conditions import MoleculeModelError
from training.polymers.origin import read_origin
from training.polymers.predictor import cross_validate, load_predictor, report
from training.polymers.predictor.config import PredictorConfig
from training.polymers.predictor.data import read_labelled
from training.polymers.predictor.domain import nearest_distances
from training.polymers.predictor.features import Recipe, canonical, measure
from training.polymers.predictor.judging import CHALLENGE, Judged, weighted_mae
from training.polymers.predictor.losses import Z_90, conformal_factor, gaussian_losses
from training.polymers.predictor.networks import PredictorShape, PropertyEnsemble
from training.polymers.predictor.report import PredictorReportConfig
from training.polymers.predictor.trainer import PredictorTrainer

ROOT = Path(__file__).resolve().parents[4]
PARAMS = """
property_predictor:
  properties: [length, rings]
  bits: 64
  members: 2
  width: 16
  total_samples: 4000
  batch_size: 32
  learning_rate: 5.0e-3
  warmup_samples: 100
  checkpoint_every_samples: 800
predictor_report: {bootstrap_rounds: 20, ridge_at_most: 200}
"""
CONFIG = PredictorConfig(properties=("length", "rings"), bits=64, members=2, width=16, total_samples=1600, checkpoint_every_samples=400)
SHAPE = {"property_mean": (0.0,), "property_std": (1.0,), "calibration": (1.0,), "radius": 2, "bits": 8, "described_by": ()}
SHAPE |= {"descriptor_mean": (), "descriptor_std": (), "properties": ("y",)}
HARNESS = Harness("property_predictor", "training.polymers.predictor.train", ("data/molecules",))
UNITS = ["*CC*", "*CC(*)c1ccccc1", "*Oc1ccc(cc1)C(=O)*", "*C*", "*CCOC(=O)c1ccc(cc1)C(=O)O*", "*CC(*)C#N"]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """A trained predictor with its report below `data`."""
    folder = tmp_path_factory.mktemp("predictor")
    write_molecules(folder / "data", number=300)
    (folder / "params.yaml").write_text(PARAMS)
    assert HARNESS.run_here(folder) == 0
    return folder


def molecules(*smiles: str) -> list[Chem.Mol]:
    return [Chem.MolFromSmiles(one) for one in smiles]


def test_every_frame_and_multiple_of_a_repeat_unit_has_the_same_features():
    recipe = Recipe(2, 512, ("mol_wt", "mol_log_p", "balaban_j"))
    for unit in UNITS:
        twice = unit[:-1] + unit[1:] if unit.endswith("*") else unit
        written = molecules(unit, twice, *frames(Chem.MolFromSmiles(unit)))
        features = measure([canonical(molecule) for molecule in written], recipe)
        assert (features.counts == features.counts[0]).all(), unit
        assert (features.descriptors == features.descriptors[0]).all(), unit


@pytest.mark.parametrize(("unit", "body"), [("*CC(*)c1ccccc1", "CC(c1ccccc1)"), ("*OCC*", "OCC"), ("*C*", "C")])
def test_environments_of_a_chain_are_those_that_each_further_unit_adds(unit, body):
    counts = measure([canonical(Chem.MolFromSmiles(unit))], Recipe(2, 2048, ())).counts[0].astype(int)
    shorter, longer = (measure(molecules(body * number), Recipe(2, 2048, ())).counts[0].astype(int) for number in (6, 7))
    assert (counts == longer - shorter).all()


def test_a_likelihood_is_its_formula_and_a_missing_label_counts_for_nothing():
    mean = torch.randn(3, 4, 2, requires_grad=True)
    log_variance = torch.randn(3, 4, 2, requires_grad=True)
    target = torch.randn(3, 4, 2)
    target[1, 2, 0] = math.nan
    losses = gaussian_losses(mean, log_variance, target)
    normal = torch.distributions.Normal(mean, (0.5 * log_variance).exp())
    known = ~target.isnan()
    expected = -normal.log_prob(target.nan_to_num()) - 0.5 * math.log(2 * math.pi)
    assert torch.allclose(losses[known], expected[known], atol=1e-5)
    losses.sum().backward()
    assert losses[1, 2, 0] == 0
    assert mean.grad[1, 2, 0] == 0
    assert mean.grad.isfinite().all()


def test_with_beta_of_one_the_mean_has_the_gradient_of_the_squared_error():
    mean, log_variance, target = torch.randn(5, requires_grad=True), torch.randn(5), torch.randn(5)
    gaussian_losses(mean, log_variance, target, beta=1.0).sum().backward()
    assert torch.allclose(mean.grad, mean.detach() - target, atol=1e-6)


def test_a_member_is_a_network_that_no_other_member_touches():
    torch.manual_seed(0)
    model = PropertyEnsemble(PredictorShape(**SHAPE, members=3, width=16, layers=2)).eval()
    counts = torch.randint(0, 3, (1, 5, 8))
    mean, _ = model(counts, torch.zeros(1, 5, 0))
    mean[1].sum().backward()
    for layer in model.layers:
        assert layer.weight.grad[[0, 2]].abs().max() == 0
        assert layer.weight.grad[1].abs().max() > 0
    values = torch.log1p(counts[0].float())
    for layer in model.layers[:-1]:
        values = torch.relu(values @ layer.weight[1] + layer.bias[1])
    assert torch.allclose((values @ model.layers[-1].weight[1] + model.layers[-1].bias[1])[:, :1], mean[1], atol=1e-6)


def test_the_spread_of_a_mixture_is_that_of_draws_from_it():
    torch.manual_seed(0)
    model = PropertyEnsemble(PredictorShape(**SHAPE, members=4, width=4, layers=1)).eval()
    counts = torch.randint(0, 9, (2, 8))
    told = model.told(counts, torch.zeros(2, 0))
    means, log_variances = model(counts[None], torch.zeros(1, 2, 0))
    draws = torch.normal(means.detach().expand(50_000, -1, -1, -1), (0.5 * log_variances.detach()).exp().expand(50_000, -1, -1, -1))
    assert torch.allclose(told[0], draws.mean(dim=(0, 1)), atol=0.02)
    assert torch.allclose(told[1], draws.var(dim=(0, 1)), rtol=0.03)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.floats(0.1, 10), st.integers(0, 1000))
def test_a_conformal_factor_covers_nine_in_ten_of_what_it_was_made_from(number, width, seed):
    random = numpy.random.default_rng(seed)
    errors, deviations = random.normal(size=number), numpy.full(number, width)
    covered = (numpy.abs(errors) <= Z_90 * conformal_factor(errors, deviations) * deviations * (1 + 1e-9)).mean()
    assert covered >= 0.9 or number < 10
    assert conformal_factor(numpy.append(errors, math.nan), numpy.append(deviations, width)) == conformal_factor(errors, deviations)


def test_distances_are_those_of_a_loop():
    random = numpy.random.default_rng(0)
    rows, reference = random.normal(size=(300, 3)), random.normal(size=(20, 3))
    expected = [min(math.sqrt(((row - other) ** 2).mean()) for other in reference) for row in rows]
    assert numpy.allclose(nearest_distances(rows, reference), expected)


def test_the_challenge_weighs_by_range_and_rarity():
    def judged(name: str, number: int, error: float) -> Judged:
        true = numpy.linspace(0, 10, number)
        return Judged(name, "", true, true, true > 0, {"predictor": true + error})

    # Errors of a tenth of the range each, whatever the counts: the weights add up to K.
    even = [judged(name, number, 1.0) for name, number in zip(CHALLENGE, (10, 20, 50, 100, 200), strict=True)]
    assert weighted_mae(even, "predictor") == pytest.approx(0.1)
    first = [judged(name, number, float(place == 0)) for place, (name, number) in enumerate(zip(CHALLENGE, (100, 400, 400, 400, 400), strict=True))]
    assert weighted_mae(first, "predictor") == pytest.approx(0.1 * 0.1 / (0.1 + 4 * 0.05))
    assert math.isnan(weighted_mae(first[:4], "predictor"))


def test_it_learns_and_is_surer_of_nothing_than_it_may_be(project):
    predictor, summary = (
        load_predictor(project / "data/property_predictor"),
        json.loads((project / "data/property_predictor/training_summary.json").read_text()),
    )
    assert predictor.properties == ("length", "rings")
    assert predictor.units["length"] == "characters"
    assert summary["best_values"]["validation_mae_over_sigma"] < 0.4
    assert summary["values"]["train"]["rings"] < summary["molecules"]["train"]
    test = read_labelled(project / "data", CONFIG, "test", recipe=predictor.recipe)
    predictions = predictor.predict_features(test.features)
    assert predictions.mean.shape == predictions.std.shape == test.values.shape
    known = ~numpy.isnan(test.values)
    assert (numpy.abs(predictions.mean - test.values) <= Z_90 * predictions.std)[known].mean() > 0.7
    assert predictions.in_domain.mean() > 0.9
    assert read_origin(project / "data/property_predictor").split_column == "split_random"


def test_an_answer_depends_on_the_molecule_alone(project):
    predictor = load_predictor(project / "data/property_predictor")
    alone, among = predictor.predict(molecules("OCC")), predictor.predict(molecules("c1ccccc1", "C(C)O"))
    assert numpy.allclose(alone.mean[0], among.mean[1], rtol=1e-6)
    assert alone.why[0] == among.why[1]
    assert predictor.predict([]).mean.shape == (0, 2)
    with pytest.raises(MoleculeModelError, match="molecule 1 is None"):
        predictor.predict(molecules("C", "not a molecule"))


def test_foreign_elements_far_molecules_and_repeat_units_are_refused_with_a_reason(project):
    predictor = load_predictor(project / "data/property_predictor")
    predictions = predictor.predict(molecules("CCC(=O)O", "CC[Se]C", "C" * 80, "*CC*", "*CC"))
    assert predictions.in_domain.tolist() == [True, False, False, False, False]
    assert "has Se" in predictions.why[1]
    assert "nearest training molecule" in predictions.why[2]
    assert "has *" in predictions.why[3]
    assert "not exactly two stars" in predictions.why[4]


def test_the_report_has_the_predictor_beside_those_who_know_less(project):
    assert report.main(places(project)) == 0
    numbers = json.loads((project / "data/predictor_report/metrics.json").read_text())
    assert numbers["length_mae"] < numbers["length_mean_mae"]
    assert numbers["length_mae_low"] <= numbers["length_mae"] <= numbers["length_mae_high"]
    assert {"length_ridge_r2", "rings_coverage_90", "length_inside_mae", "in_domain"} <= numbers.keys()
    assert "challenge_wmae" not in numbers
    # Errors are paired, so the difference of means is exact, and the words are those of its interval.
    assert numbers["length_ahead_of_ridge"] == pytest.approx(numbers["length_ridge_mae"] - numbers["length_mae"], rel=1e-4)
    low, high = (numbers[f"length_ahead_of_ridge_{end}"] for end in ("low", "high"))
    verdict = "the predictor is better" if low > 0 else "ridge is better" if high < 0 else "not told apart"
    assert f"| {verdict} |" in (project / "data/predictor_report/report.md").read_text()
    assert "rings" in (project / "data/predictor_report/report.md").read_text()


def test_a_report_on_other_splits_than_were_learnt_is_refused(project, capsys):
    assert report.main(places(project, "split_column=split_scaffold")) == 1
    assert "leakage" in capsys.readouterr().err


def test_cross_validation_prints_every_fold(project, capsys):
    assert cross_validate.main([*places(project, "total_samples=800"), "--folds", "3", "--most-folds", "2"]) == 0
    out = capsys.readouterr().out
    assert out.count("fold ") >= 2
    assert "predictor length MAE" in out
    assert cross_validate.main([*places(project), "--folds", "1"]) == 2


def test_labels_unknown_and_too_few_are_named(project, tmp_path, capsys):
    HARNESS.check_refused(HARNESS.project(project, tmp_path / "p"), capsys, 1, "did you mean 'length'", "properties=[lenth]")
    write_molecules(tmp_path / "data", number=30)
    (tmp_path / "params.yaml").write_text(PARAMS)
    HARNESS.check_refused(tmp_path, capsys, 1, "values of length in the split valid")


def test_a_predicted_descriptor_is_not_among_the_features():
    assert "tpsa" not in PredictorConfig(properties=("tpsa",)).described_by
    assert "tpsa" in PredictorConfig(properties=("mol_log_p",)).described_by
    with pytest.raises(ValueError, match="twice"):
        PredictorConfig(properties=("a", "a"))


def test_a_resumed_training_is_the_one_that_never_stopped(project):
    parts = [read_labelled(project / "data", CONFIG, split) for split in ("train", "valid")]
    whole, again = (PredictorTrainer(*parts, replace(CONFIG, dropout=0.0), Devices(torch.device("cpu"))) for _ in range(2))
    for _ in range(9):
        whole.step()
    whole.validate()
    again.load_state_dict(copy.deepcopy(whole.state_dict()))
    for trainer in (whole, again):
        for _ in range(5):
            trainer.step()
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters, again.parameters, strict=True))
    assert whole.best_loss == again.best_loss


def test_a_killed_training_ends_with_the_same_bytes(project, tmp_path, capsys):
    folder = HARNESS.project(project, tmp_path / "p")
    HARNESS.kill(folder, 60)
    assert HARNESS.run_here(folder) == 0
    assert "continuing after 1,600 of 4,000" in capsys.readouterr().err
    assert HARNESS.output(folder) == HARNESS.output(project)


def test_a_polymer_predictor_refuses_what_is_no_repeat_unit(tmp_path):
    bodies = ["C" * number + group for number in range(1, 13) for group in ("O", "N", "C(=O)O", "S", "c1ccc(cc1)")]
    smiles = [f"*{body}*" for body in bodies]
    split = ["valid" if row % 4 == 3 else "train" for row in range(len(smiles))]
    values = pa.array([float(len(body)) for body in bodies], pa.float64())
    table = pa.table({"smiles": smiles, "scaffold": [""] * len(smiles), "split_random": split, "split_scaffold": split, "tg": values})
    (tmp_path / "polymers").mkdir()
    pq.write_table(table, tmp_path / "polymers/polymers-00000.parquet")
    config = replace(CONFIG, train_on=("polymers",), properties=("tg",), total_samples=800)
    parts = [read_labelled(tmp_path, config, part) for part in ("train", "valid")]
    predictor = cross_validate.fit(*parts, config, Devices(torch.device("cpu")))
    predictions = predictor.predict(molecules("*CCCO*", "*CCOC*", "CCCO"))
    assert predictions.why[2] == "no repeat unit, and the predictor was taught by repeat units"
    assert (predictions.mean[0] == predictions.mean[1]).all()
    assert predictions.why[0] == predictions.why[1]


@pytest.mark.parametrize("file", ["params.yaml", "presets/demo.yaml", "presets/shared.yaml", "presets/paper.yaml"])
def test_the_sections_fit_their_programs_and_name_every_knob(file):
    for section, config in (("property_predictor", PredictorConfig), ("predictor_report", PredictorReportConfig)):
        load_params(ROOT / file, section, config)
        assert set(read_yaml(ROOT / file)[section]) == {field.name for field in fields(config)}
