"""The PolyGPT stage: it learns, continues to the same bytes after any death, and says what is wrong with its inputs."""

import json
from pathlib import Path

import pytest
import torch

from stages.params import ParamsError, build_config
from stages.reporting import Reporter
from tests.training.harness import Harness
from tests.training.polymers.toy_molecules import enumerated_molecules, write_molecules
from training.loop.devices import Devices
from training.polymers import smiles_tokenizer
from training.polymers.gpt import load_polygpt
from training.polymers.gpt.config import PolyGPTConfig
from training.polymers.gpt.data import read_data
from training.polymers.gpt.sample import sample
from training.polymers.gpt.trainer import PolyGPTTrainer
from training.polymers.smiles_tokenizer import PAD

HARNESS = Harness("polygpt", "training.polymers.gpt.train", ("data/molecules", "data/smiles_tokenizer"))
PARAMS = """
smiles_tokenizer: {read: [molecules], vocabulary_size: null}
polygpt:
  properties: [length, rings]
  maximum_tokens: 40
  spellings_per_molecule: 0
  width: 16
  layers: 1
  heads: 2
  dropout: 0.1
  predictor_width: 8
  pretrain_samples: 400
  finetune_samples: 240
  batch_size: 20
  learning_rate: 3.0e-3
  warmup_samples: 40
  ema_half_life_samples: 100
  checkpoint_every_samples: 100
  report_every_samples: 50
  seed: 3
"""
# 640 molecules in batches of 20, and the last batch of an epoch of 108 has 8.
OUTPUT_FILES = [
    "config.json",
    "generation_config.json",
    "model.safetensors",
    "modeling_polygpt.py",
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
    write_molecules(folder / "data", number=180)
    (folder / "params.yaml").write_text(PARAMS)
    assert smiles_tokenizer.main(["--params", str(folder / "params.yaml"), "--data", str(folder / "data")]) == 0
    return folder


@pytest.fixture(scope="module")
def uninterrupted(prepared, tmp_path_factory) -> Path:
    folder = HARNESS.project(prepared, tmp_path_factory.mktemp("uninterrupted") / "p")
    assert HARNESS.run_here(folder, track="jsonl") == 0
    return folder


def test_the_output_has_what_the_stage_promises(uninterrupted):
    assert [name for name in HARNESS.output(uninterrupted) if not name.startswith("plots/curves/")] == OUTPUT_FILES
    assert HARNESS.output(uninterrupted)["plots/curves/validation_loss.csv"].startswith(b"molecules,validation_loss\n")
    summary = json.loads(HARNESS.output(uninterrupted)["training_summary.json"])
    assert summary["samples_seen"] == 640 and summary["finished"] is True
    assert summary["molecules"] == {"pretrain": 108, "finetune": 108, "valid": 36}
    assert {"loss", "cross_entropy_loss", "auxiliary_loss", "align_loss", "predictor_loss", "validation_loss"} <= set(summary["last_values"])
    assert {"validation_property_r2_length", "validation_property_r2_rings"} <= set(summary["last_values"])
    config = json.loads(HARNESS.output(uninterrupted)["config.json"])
    assert config["properties"] == ["length", "rings"] and config["property_units"] == {"length": "characters", "rings": ""}
    train = [len(smiles) for row, smiles in enumerate(enumerated_molecules(180)) if row % 5 < 3]
    assert config["property_mean"][0] == pytest.approx(sum(train) / len(train))
    model, tokenizer = load_polygpt(uninterrupted / "data/polygpt")
    assert len(sample(model, tokenizer, number=2, properties={"rings": 1.0})) == 2


def test_metrics_have_no_gap_and_no_repetition(uninterrupted):
    points = HARNESS.series(uninterrupted)["loss"]
    # Steps are counts of molecules; a report comes with the first batch that passes a multiple of fifty.
    assert [step // 50 for step, _ in points] == [*range(1, 13), 12] and points[-1][0] == 640


@pytest.mark.slow
def test_killed_in_both_phases_it_ends_with_the_same_bytes_and_the_same_series(prepared, uninterrupted, tmp_path):
    folder = HARNESS.project(prepared, tmp_path / "p")
    # Before the first checkpoint, in pre-training, at the border of the phases (twice in the same step), in fine-tuning.
    for step in (2, 9, 12, 12, 7):
        HARNESS.kill(folder, step)
    assert HARNESS.start(folder).returncode == 0
    assert HARNESS.output(folder) == HARNESS.output(uninterrupted)
    assert HARNESS.series(folder) == HARNESS.series(uninterrupted)


def test_killed_once_it_ends_with_the_same_bytes(prepared, uninterrupted, tmp_path, capsys):
    folder = HARNESS.project(prepared, tmp_path / "p")
    HARNESS.kill(folder, 27)
    assert HARNESS.run_here(folder, track="jsonl") == 0
    assert "continuing after 400 of 640" in capsys.readouterr().err
    assert HARNESS.output(folder) == HARNESS.output(uninterrupted)
    assert HARNESS.series(folder) == HARNESS.series(uninterrupted)


@pytest.mark.parametrize(
    ("override", "code", "message"),
    [
        ("widht=3", 2, "did you mean 'width'"),
        ("width=15", 2, "width 15 is not a multiple of heads 2"),
        ("pretrain_on=[molecule]", 2, "did you mean 'molecules'"),
        ("properties=[lenght]", 1, "no property 'lenght' (did you mean 'length'?)"),
        ("pretrain_on=[polymers]", 1, "figment materialize polymers"),
        ("maximum_tokens=4", 1, "no molecule to pre-train on"),
    ],
)
def test_bad_parameters_are_one_line(prepared, tmp_path, capsys, override, code, message):
    folder = HARNESS.project(prepared, tmp_path / "p")
    HARNESS.check_refused(folder, capsys, code, message, override)


def test_a_missing_tokenizer_is_one_line(prepared, tmp_path, capsys):
    folder = HARNESS.project(prepared, tmp_path / "p")
    (folder / "data/smiles_tokenizer").unlink()
    HARNESS.check_refused(folder, capsys, 1, "figment materialize smiles_tokenizer")


def test_an_empty_training_split_is_an_error(prepared, tmp_path, capsys):
    folder = HARNESS.project(prepared, tmp_path / "p")
    (folder / "data/molecules").unlink()
    write_molecules(folder / "data", number=20, splits=("valid",))
    HARNESS.check_refused(folder, capsys, 1, "0 in the training split")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"pretrain_samples": 0, "finetune_samples": 0}, "nothing would be trained"),
        ({"dropout": 1.5}, "dropout must lie in"),
        ({"properties": ["a", "a"]}, "names one twice"),
        ({"finetune_on": []}, "finetune_on is empty"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
    ],
)
def test_impossible_configurations_are_refused(values, message):
    with pytest.raises(ParamsError, match=message):
        build_config(PolyGPTConfig, values, where="params.yaml: polygpt")


def overfitted(prepared: Path) -> PolyGPTTrainer:
    config = PolyGPTConfig(
        properties=("length", "rings"),
        maximum_tokens=40,
        width=48,
        layers=2,
        heads=4,
        dropout=0.0,
        predictor_width=16,
        pretrain_samples=0,
        finetune_samples=64 * 150,
        batch_size=64,
        finetune_learning_rate=5e-3,
        warmup_samples=640,
        condition_dropout=0.0,
        property_noise=0.05,
    )
    data = read_data(prepared / "data", config, Reporter())
    trainer = PolyGPTTrainer(data, config, Devices(torch.device("cpu")))
    trainer.streams["finetune"].data = first_molecules(data.finetune, 64)
    while trainer.samples_seen < config.total_samples:
        outcome = trainer.step()
        assert not outcome.skipped
    return trainer


def first_molecules(data, number: int):
    from dataclasses import replace

    return replace(data, first_spelling=data.first_spelling[: number + 1], properties=data.properties[:number])


def test_sixty_four_molecules_can_be_learned_by_heart(prepared):
    trainer = overfitted(prepared)
    model = trainer.model.eval()
    batch = trainer.streams["finetune"].next(at_most=64)
    with torch.no_grad():
        hidden = model(batch.tokens, model.property_embedding(batch.properties, batch.properties_mask))
    guessed, real = model.logits(hidden[:, 1:-1]).argmax(dim=-1), batch.tokens[:, 1:] != PAD
    # The first token or two cannot be known beforehand, all others follow.
    accuracy = ((guessed == batch.tokens[:, 1:]) & real)[:, 2:].sum() / real[:, 2:].sum()
    assert float(accuracy) >= 0.95


@pytest.mark.slow
def test_two_processes_learn_what_one_learns(prepared, tmp_path):
    outputs = HARNESS.run_alone_and_together(prepared, tmp_path, "dropout=0", "ema_half_life_samples=0")
    one, two = (load_polygpt(folder)[0].state_dict() for folder in outputs)
    for name, tensor in one.items():
        assert (two[name] - tensor).norm() <= 1e-5 * max(1.0, float(tensor.norm())), name
