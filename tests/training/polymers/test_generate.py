"""Molecules on request from any model: what is chosen, what is told, what is refused."""

import csv
import json
from argparse import Namespace

import numpy
import pytest

pytest.importorskip("rdkit", reason="rdkit is not installed (extra: chem)")
pytest.importorskip("torch", reason="torch is not installed (extra: model)")

from tests.training.polymers.bakeoff.toy_bakeoff import write_data, write_summary
from training.polymers import generate
from training.polymers.conditions import MoleculeModelError
from training.polymers.sample_table import SampledMolecule
from training.polymers.sampling import OpenModel

ASKED = {"temperature": 1.0, "seed": 0, "unique": True, "tries": 3}


def writes(*rounds):
    """A model that gives one list of texts for each seed."""
    return OpenModel(lambda requests, settings: [SampledMolecule(text, True) for text in rounds[settings.seed]], {"mol_wt": "Da", "homo": "eV"})


@pytest.fixture
def data(tmp_path):
    data = write_data(tmp_path / "data")
    write_summary(data / "polygpt")
    config = {"properties": ["mol_wt", "homo"], "property_mean": [50.0, -5.0], "property_std": [10.0, 1.0]}
    (data / "polygpt/config.json").write_text(json.dumps(config))
    return data


def run(data, *words):
    return generate.main(["--model", "polygpt", "--data", str(data), "--out", str(data / "out"), *words])


def test_different_valid_molecules_are_asked_for_until_there_are_enough():
    model = writes(["CCO", "OCC", "C("], ["CCN", "CCO", "CCC"], ["never"] * 3)
    pairs, tried = generate.generate(model, [{"mol_wt": 46.0}] * 3, Namespace(**ASKED))
    assert ([text for _, text in pairs], tried) == (["CCO", "CCN", "CCC"], 6)


def test_a_bound_of_tries_ends_it_and_greedy_molecules_are_written_once():
    model = writes(["CCO", "OCC"], ["CCO", "C("], ["CCO", "CCO"], ["never"] * 2)
    assert generate.generate(model, [{}] * 2, Namespace(**ASKED)) == ([({}, "CCO")], 6)
    assert generate.generate(model, [{}] * 2, Namespace(**ASKED | {"temperature": 0.0})) == ([({}, "CCO")], 2)


def test_text_with_a_star_is_judged_as_a_polymer():
    reading = generate.read_texts(["*CCO*", "*C", "CCO", "*OCC*", "C1"])
    assert [smiles is not None for smiles in reading.canonical] == [True, False, True, True, False]
    assert reading.canonical[0] == reading.canonical[3]


def test_ranges_are_those_of_the_table_and_else_four_standard_deviations(data):
    ranges = generate.known_ranges(data, data / "polygpt", ["mol_wt", "homo"])
    assert ranges["homo"] == (-9, -1)
    assert ranges["mol_wt"] == pytest.approx((45.085, 108.966), abs=0.01)


def test_a_table_and_a_picture_come_out_and_other_properties_are_left_open(data, monkeypatch, capsys):
    asked = []
    model = writes(["CCO", "C("])
    spy = OpenModel(lambda requests, settings: asked.extend(requests) or model.sampler(requests, settings), model.units)
    monkeypatch.setattr(generate, "open_model", lambda *_: spy)
    assert run(data, "--property", "mol_wt=46", "-n", "2") == 0
    rows = list(csv.DictReader((data / "out/molecules.csv").read_text().splitlines()))
    assert rows == [
        {"smiles": "CCO", "valid": "true", "requested_mol_wt": "46", "obtained_mol_wt": "46.069"},
        {"smiles": "C(", "valid": "false", "requested_mol_wt": "46", "obtained_mol_wt": ""},
    ]
    assert asked == [{"mol_wt": 46.0}] * 2
    assert (data / "out/molecules.png").stat().st_size > 500
    assert "1 valid molecules of 2 asked for, 2 written" in capsys.readouterr().err


def test_what_rdkit_cannot_tell_comes_from_the_predictor_with_its_doubt(data, monkeypatch):
    class Predictor:
        properties, units = ("homo",), {"homo": "eV"}

        def predict(self, molecules):
            self.mean, self.std, self.in_domain = numpy.array([[-5.25]]), numpy.array([[0.5]]), numpy.array([False])
            return self

    monkeypatch.setattr(generate, "open_model", lambda *_: writes(["CCO"]))
    monkeypatch.setattr(generate, "open_predictor", lambda folder: Predictor())
    assert run(data, "--property", "homo=-5", "-n", "1") == 0
    (row,) = csv.DictReader((data / "out/molecules.csv").read_text().splitlines())
    assert (row["predicted_homo"], row["predicted_std_homo"], row["in_domain"]) == ("-5.25", "0.5", "false")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--property", "mol_wt=1000"], "mol_wt=1000 lies outside what the model saw in training, 45.085 to 108.966 Da"),
        (["--property", "homo=nan"], "homo=nan lies outside what the model saw in training, -9 to -1 eV"),
        (["--property", "mol_w=50"], "no property 'mol_w' (did you mean 'mol_wt'?); this model was trained with mol_wt, homo"),
        (["--property", "homo=-5"], "figment materialize property_predictor"),
    ],
)
def test_what_the_model_does_not_know_is_refused_with_what_it_knows(data, monkeypatch, capsys, words, said):
    monkeypatch.setattr(generate, "open_model", lambda *_: writes([]))
    assert run(data, *words) == 1
    assert said in capsys.readouterr().err
    assert not (data / "out").exists()


def test_a_range_that_the_model_itself_knows_holds_where_its_tables_are_not_at_hand(data, monkeypatch, capsys):
    (data / "polygpt/config.json").write_text("{}")
    monkeypatch.setattr(generate, "open_model", lambda *_: OpenModel(writes([]).sampler, {"gap": "eV"}, {"gap": (1.0, 5.0)}))
    assert run(data, "--property", "gap=6") == 1
    assert "gap=6 lies outside what the model saw in training, 1 to 5 eV" in capsys.readouterr().err


def test_an_unknown_model_is_refused_with_the_known_ones_and_a_missing_one_with_how_to_make_it(tmp_path):
    with pytest.raises(MoleculeModelError, match=r"no model 'polygtp' \(did you mean 'polygpt'\?\); models: polygpt, polytao, polyvae, polyldm"):
        generate.open_model("polygtp", tmp_path, "cpu")
    with pytest.raises(MoleculeModelError, match="figment materialize polygpt"):
        generate.open_model("polygpt", tmp_path / "polygpt", "cpu")


@pytest.mark.parametrize("words", [["--temperature", "-1"], ["--property", "mol_wt"]])
def test_wrong_usage_is_2(data, words):
    assert run(data, *words) == 2
