"""The PolyLDM stage: it learns, continues to the same bytes after any death, and says what is wrong with its inputs."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from stages.params import ParamsError, build_config
from tests.training.polymers.ldm.conftest import HARNESS, LATENT
from tests.training.polymers.toy_molecules import enumerated_molecules
from training.polymers.conditions import MoleculeModelError
from training.polymers.ldm import load_polyldm
from training.polymers.ldm.config import PolyLDMConfig
from training.polymers.smiles_tokenizer import SmilesTokenizerConfig, save_smiles_tokenizer, train_smiles_tokenizer


@pytest.fixture(scope="module")
def uninterrupted(prepared, tmp_path_factory) -> Path:
    folder = HARNESS.project(prepared, tmp_path_factory.mktemp("uninterrupted") / "p")
    assert HARNESS.run_here(folder, track="jsonl") == 0
    return folder


def test_the_output_has_what_the_stage_promises(uninterrupted):
    names = [name for name in HARNESS.output(uninterrupted) if not name.startswith(("plots/curves/", "vae/"))]
    assert names == ["config.json", "model.safetensors", "trained_on.json", "training_summary.json"]
    assert HARNESS.output(uninterrupted)["plots/curves/validation_epsilon_loss.csv"].startswith(b"molecules,validation_epsilon_loss\n")
    summary = json.loads(HARNESS.output(uninterrupted)["training_summary.json"])
    assert summary["samples_seen"] == 640 and summary["finished"] is True and summary["molecules"] == {"train": 108, "valid": 36}
    told = {f"{split}_epsilon_loss{part}" for split in ("train", "validation") for part in ("", "_low_noise", "_middle_noise", "_high_noise")}
    assert {*told, "latent_distance", "latent_distance_prior", "latent_distance_train", "loss"} <= set(summary["last_values"])


def test_killed_once_it_ends_with_the_same_bytes(prepared, uninterrupted, tmp_path, capsys):
    folder = HARNESS.project(prepared, tmp_path / "p")
    # After the embedding was set free, and inside an epoch.
    HARNESS.kill(folder, 21)
    assert HARNESS.run_here(folder, track="jsonl") == 0
    assert "continuing after" in capsys.readouterr().err
    assert HARNESS.output(folder) == HARNESS.output(uninterrupted)
    assert HARNESS.series(folder) == HARNESS.series(uninterrupted)


def test_the_embedding_is_the_polyvaes_until_it_is_set_free(project):
    encoders = []
    for unfreeze in (640, 300):
        assert HARNESS.run_here(project, f"unfreeze_at_samples={unfreeze}") == 0
        model, _ = load_polyldm(project / "data/polyldm")
        encoders.append(
            [torch.equal(a, b) for a, b in zip(model.vae.property_encoder.parameters(), model.diffuser.property_encoder.parameters(), strict=True)]
        )
    assert all(encoders[0]) and not any(encoders[1])


@pytest.mark.parametrize(
    ("override", "code", "message"),
    [
        ("denoiser=unett", 2, "did you mean 'unet'"),
        ("step_width=7", 2, "step_width must be even"),
        ("validation_steps=101", 2, r"validation_steps must lie in [1, 100]"),
        ("train_on=[polymers]", 1, "figment materialize polymers"),
        ("split_column=split_scaffold", 1, "was taught by split_random, polyldm.split_column is split_scaffold"),
    ],
)
def test_bad_parameters_are_one_line(project, capsys, override, code, message):
    HARNESS.check_refused(project, capsys, code, message, override)


def test_a_polyvae_that_was_taught_by_other_rows_is_refused(project, capsys):
    origin = project / "data/polyvae/trained_on.json"
    origin.write_text(json.dumps({**json.loads(origin.read_text()), "data_ids": {"molecules": "another"}}))
    HARNESS.check_refused(project, capsys, 1, "other rows of molecules")


def test_a_polyvae_of_another_vocabulary_is_refused(project, capsys):
    save_smiles_tokenizer(
        train_smiles_tokenizer(enumerated_molecules(180), SmilesTokenizerConfig(vocabulary_size=40)), project / "data/smiles_tokenizer"
    )
    HARNESS.check_refused(project, capsys, 1, "its vocabulary is not that of")


def test_a_missing_polyvae_is_one_line(prepared, tmp_path, capsys):
    folder = HARNESS.project(prepared, tmp_path / "q")
    (folder / "data/polyvae/config.json").unlink()
    HARNESS.check_refused(folder, capsys, 1, "figment materialize polyvae")


def test_a_changed_latent_width_in_the_folder_is_refused(uninterrupted, tmp_path):
    folder = tmp_path / "polyldm"
    shutil.copytree(uninterrupted / "data/polyldm", folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "latent": 32}))
    with pytest.raises(MoleculeModelError, match=f"latent width of the PolyVAE: {LATENT}, expected 32"):
        load_polyldm(folder)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"condition_dropout": 0.6}, "condition_dropout must lie in"),
        ({"train_on": []}, "train_on is empty"),
        ({"diffusion_steps": 10}, "diffusion_steps must be at least 25"),
        ({"learning_rate": 0.0}, "learning_rate must be above 0"),
        ({"prediction": "x"}, "prediction"),
    ],
)
def test_impossible_configurations_are_refused(values, message):
    with pytest.raises(ParamsError, match=message):
        build_config(PolyLDMConfig, values, where="params.yaml: polyldm")
