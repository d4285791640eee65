"""Four small models as their stages train them, and the predictor: their folders are what the bake-off and `figment generate` read."""

import csv
import json
from importlib import import_module

import pytest

pytest.importorskip("rdkit", reason="rdkit is not installed (extra: chem)")
pytest.importorskip("torch", reason="torch is not installed (extra: model)")
pytest.importorskip("transformers", reason="transformers is not installed (extra: model)")
pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: chem)")

from tests.training.polymers.toy_molecules import write_molecules
from training.polymers import generate, smiles_tokenizer
from training.polymers.bakeoff import report
from training.polymers.flags import MODELS
from training.polymers.predictor.train import main as train_predictor

PARAMS = """
smiles_tokenizer: {read: [molecules], vocabulary_size: null}
property_predictor: {properties: [length], bits: 64, members: 2, width: 16, total_samples: 400, batch_size: 32, checkpoint_every_samples: 400}
polygpt:
  {properties: [length, rings], maximum_tokens: 40, width: 16, layers: 1, heads: 2, pretrain_samples: 200, finetune_samples: 100, batch_size: 20,
   warmup_samples: 40, learning_rate: 1.0e-2, predictor_width: 8}
polytao:
  {properties: [length, rings], steps: {tpsa: 5}, prompt_style: tokens, maximum_tokens: 40, d_model: 32, layers: 1, heads: 2, d_ff: 64,
   total_samples: 200, batch_size: 20, evaluate_every_samples: 200, checkpoint_every_samples: 200, evaluate_at_most: 8, written_prompts: 2}
polyvae:
  {properties: [length, rings], maximum_tokens: 40, width: 16, property_width: 8, latent: 4, encoder_layers: 1, layers: 1, heads: 2,
   total_samples: 200, batch_size: 20, learning_rate: 1.0e-2}
polyldm: {hidden_width: 16, step_width: 8, diffusion_steps: 100, total_samples: 100, batch_size: 20, validation_steps: 5}
polygpt_samples: {unconditional: 8, conditional: 8, temperatures: [1.0]}
polytao_samples: {unconditional: 9, conditional: 8, temperatures: [1.0]}
polyvae_samples: {unconditional: 8, conditional: 6, temperatures: [1.0]}
polyldm_samples: {unconditional: 8, conditional: 8, temperatures: [1.0], steps: 5, guidance: 2.0}
molecule_bakeoff: {temperatures: [1.0], uniqueness_at: [4], with_fcd: false, bootstrap_rounds: 20}
"""


@pytest.fixture(scope="module")
def flags(tmp_path_factory):
    """The project after all trainings and samplings, as arguments of a program."""
    folder = tmp_path_factory.mktemp("together")
    write_molecules(folder / "data", number=180)
    (folder / "params.yaml").write_text(PARAMS)
    flags = ["--params", str(folder / "params.yaml"), "--data", str(folder / "data")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FIGMENT_TRACK", "jsonl")
        patch.chdir(folder)
        assert smiles_tokenizer.main(flags) == train_predictor([*flags, "--state", str(folder / "state")]) == 0
        for model in ("polygpt", "polytao", "polyvae", "polyldm"):
            train = import_module(MODELS[model].replace(".sample", ".train"))
            assert train.main([*flags, "--state", str(folder / "state")]) == import_module(MODELS[model]).main(flags) == 0, model
        yield folder, flags


def test_all_stand_in_one_table_with_as_many_samples_of_each(flags):
    folder, flags = flags
    assert report.main(flags) == 0
    numbers = json.loads((folder / "data/molecule_bakeoff/metrics.json").read_text())
    for model in MODELS:
        assert numbers[f"{model}_unconditional_t1_validity_n"] == 8 and numbers[f"{model}_conditional_t1_success_n"] == 6
        assert numbers[f"{model}_training_parameters"] > 0 and numbers[f"{model}_training_flop"] > 0
    assert "as the property predictor tells it" in (folder / "data/molecule_bakeoff/report.md").read_text()


@pytest.mark.parametrize("model", MODELS)
def test_each_writes_on_request_and_says_what_it_does_not_know(flags, capsys, model):
    folder, flags = flags
    out = folder / "out" / model
    asked = ["--model", model, *flags[2:], "--out", str(out), "-n", "3"]
    assert generate.main([*asked, "--property", "length=12"]) == 0
    rows = list(csv.DictReader((out / "molecules.csv").read_text().splitlines()))
    assert len(rows) == 3 and rows[0].keys() >= {"requested_length", "predicted_length", "in_domain"}
    assert generate.main([*asked, "--property", "lenth=12"]) == 1
    assert generate.main([*asked, "--property", "length=400"]) == 1
    told = capsys.readouterr().err
    assert "did you mean 'length'" in told and "length=400 lies outside what the model saw in training, 3 to" in told
