"""The PolyVAE stage: it continues to the same bytes after any death, says what is wrong with its inputs, and warns of a collapse."""

import json
from pathlib import Path

import pytest
import torch

from stages.params import ParamsError, build_config
from stages.reporting import Reporter
from tests.training.harness import Harness
from tests.training.polymers.toy_molecules import write_molecules
from training.loop.devices import Devices
from training.polymers import smiles_tokenizer
from training.polymers.vae import load_polyvae
from training.polymers.vae.config import PolyVAEConfig
from training.polymers.vae.train import read_data
from training.polymers.vae.trainer import PolyVAETrainer

HARNESS = Harness("polyvae", "training.polymers.vae.train", ("data/molecules", "data/smiles_tokenizer"))
PARAMS = """
smiles_tokenizer: {read: [molecules], vocabulary_size: null}
polyvae:
  properties: [length, rings]
  maximum_tokens: 40
  width: 16
  property_width: 8
  latent: 4
  encoder_layers: 1
  layers: 1
  heads: 2
  dropout: 0.1
  total_samples: 400
  batch_size: 20
  learning_rate: 3.0e-3
  warmup_samples: 40
  kl_warmup_samples: 100
  free_nats: 0.1
  word_dropout: 0.1
  ema_half_life_samples: 100
  checkpoint_every_samples: 100
  report_every_samples: 50
  seed: 3
"""
OUTPUT_FILES = [
    "config.json",
    "model.safetensors",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "trained_on.json",
    "training_summary.json",
]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A project folder with molecules and their tokenizer."""
    folder = tmp_path_factory.mktemp("project")
    write_molecules(folder / "data", number=120)
    (folder / "params.yaml").write_text(PARAMS)
    assert smiles_tokenizer.main(["--params", str(folder / "params.yaml"), "--data", str(folder / "data")]) == 0
    return folder


def test_killed_once_it_ends_with_the_same_bytes_as_uninterrupted(prepared, tmp_path, capsys):
    whole, folder = HARNESS.project(prepared, tmp_path / "whole"), HARNESS.project(prepared, tmp_path / "killed")
    assert HARNESS.run_here(whole) == 0
    HARNESS.kill(folder, 12, track="none")
    assert HARNESS.run_here(folder) == 0
    assert "continuing after" in capsys.readouterr().err
    assert HARNESS.output(folder) == HARNESS.output(whole)

    # And the output has what the stage promises.
    assert [name for name in HARNESS.output(whole) if not name.startswith("plots/curves/")] == OUTPUT_FILES
    summary = json.loads(HARNESS.output(whole)["training_summary.json"])
    assert summary["samples_seen"] == 400 and summary["finished"] is True
    assert {"kl_loss", "kl_weight", "validation_active_units", "validation_greedy_exact", "validation_accuracy"} <= set(summary["last_values"])
    model, tokenizer = load_polyvae(whole / "data/polyvae")
    assert model.shape.properties == ("length", "rings") and model.shape.vocabulary_size == tokenizer.get_vocab_size()


@pytest.mark.parametrize(
    ("override", "code", "message"),
    [
        ("latnet=3", 2, "did you mean 'latent'"),
        ("train_on=[molecule]", 2, "did you mean 'molecules'"),
        ("properties=[lenght]", 1, "no property 'lenght' (did you mean 'length'?)"),
        ("train_on=[polymers]", 1, "figment materialize polymers"),
        ("maximum_tokens=4", 1, "no molecule to learn from"),
    ],
)
def test_bad_parameters_are_one_line(prepared, tmp_path, capsys, override, code, message):
    folder = HARNESS.project(prepared, tmp_path / "p")
    HARNESS.check_refused(folder, capsys, code, message, override)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"total_samples": 0}, "total_samples must be at least 1"),
        ({"word_dropout": 1.5}, "word_dropout must lie in"),
        ({"properties": ["a", "a"]}, "names one twice"),
        ({"train_on": []}, "train_on is empty"),
        ({"latent": 0}, "latent must be at least 1"),
        ({"property_width": 3}, "must be multiples of heads"),
        ({"kl_cycle_samples": 10}, "kl_cycle_samples 10 must be 0 or at least"),
    ],
)
def test_impossible_configurations_are_refused(values, message):
    with pytest.raises(ParamsError, match=message):
        build_config(PolyVAEConfig, values, where="params.yaml: polyvae")


def test_the_weight_of_the_divergence_rises_once_or_in_cycles():
    once = PolyVAEConfig(kl_weight=0.5, kl_warmup_samples=100)
    assert [once.kl_weight_after(samples) for samples in (0, 50, 100, 1000)] == [0, 0.25, 0.5, 0.5]
    cycles = PolyVAEConfig(kl_weight=0.5, kl_warmup_samples=100, kl_cycle_samples=200)
    assert [cycles.kl_weight_after(samples) for samples in (0, 150, 200, 250)] == [0, 0.5, 0, 0.25]
    assert PolyVAEConfig(kl_weight=0.5, kl_warmup_samples=0).kl_weight_after(0) == 0.5


class Log(Reporter):
    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def log(self, message: str) -> None:
        self.lines.append(message)


def test_a_latent_that_is_not_in_use_is_warned_of(prepared):
    config = PolyVAEConfig(properties=("length",), maximum_tokens=40, width=16, property_width=8, latent=4, encoder_layers=1, layers=1, heads=2)
    data, log = read_data(prepared / "data", config, Reporter()), Log()
    trainer = PolyVAETrainer(data, config, Devices(torch.device("cpu")), log)
    with torch.no_grad():
        trainer.model.encoder.mean.weight.zero_()
    assert trainer.validate()["validation_active_units"] == 0
    assert any("posterior collapse" in line and "0 of 4 latent dimensions" in line for line in log.lines)
    # A mean that follows the molecules is in use.
    with torch.no_grad():
        trainer.model.encoder.mean.weight.normal_(std=1000.0)
    log.lines.clear()
    assert trainer.validate()["validation_active_units"] == 4 and not log.lines


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(prepared, tmp_path):
    outputs = HARNESS.run_alone_and_together(prepared, tmp_path, "dropout=0", "ema_half_life_samples=0")
    one, two = (load_polyvae(folder)[0].state_dict() for folder in outputs)
    for name, tensor in one.items():
        assert (two[name] - tensor).norm() <= 1e-5 * max(1.0, float(tensor.norm())), name
