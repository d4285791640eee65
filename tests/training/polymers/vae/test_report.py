"""The stage polyvae_report, reconstruction, and the parameters that all stages of PolyVAE are shipped with."""

import json
import os
from dataclasses import fields

import pytest
import torch

pytest.importorskip("rdkit.Chem", reason="rdkit is not installed (extra: chem)")
pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: chem)")

from stages.params import load_params, read_yaml
from tests.training.polymers.toy_molecules import enumerated_molecules, write_molecules
from tests.training.polymers.vae.test_networks import SHAPE
from training.polymers.batches import build_training_set
from training.polymers.sample_table import SampledMolecule, SampleRow, write_samples
from training.polymers.sampling import SamplesConfig
from training.polymers.smiles_tokenizer import SmilesTokenizerConfig, train_smiles_tokenizer
from training.polymers.vae import PolyVAE, PolyVAEShape, save_polyvae
from training.polymers.vae.config import PolyVAEConfig
from training.polymers.vae.reconstruction import Reconstruction, reconstruct
from training.polymers.vae.report import PolyVAEReportConfig, main

TOKENIZER = train_smiles_tokenizer(enumerated_molecules(60), SmilesTokenizerConfig(vocabulary_size=None))


def model() -> PolyVAE:
    torch.manual_seed(0)
    sizes = {"vocabulary_size": TOKENIZER.get_vocab_size(), "maximum_tokens": 40, "properties": ("length", "rings")}
    return PolyVAE(PolyVAEShape(**{**SHAPE.__dict__, **sizes})).eval()


@pytest.fixture
def project(tmp_path):
    """Real molecules, and five samples of a model that is not here."""
    write_molecules(tmp_path / "data", number=60)
    (tmp_path / "data/polyvae_samples").mkdir()
    rows = [SampleRow("unconditional", 1.0, SampledMolecule(smiles, True), {}) for smiles in (*enumerated_molecules(4), "C1CC")]
    write_samples(rows, tmp_path / "data/polyvae_samples/samples.parquet", units={})
    section = "{with_fcd: false, bootstrap_rounds: 20, uniqueness_at: [4], reconstructed: 10, interpolation_steps: 3}"
    (tmp_path / "params.yaml").write_text(f"polyvae_report: {section}\n")
    os.chdir(tmp_path)
    return tmp_path


def test_samples_and_reconstruction_are_told_and_drawn(project):
    (project / "data/polyvae").mkdir()
    save_polyvae(project / "data/polyvae", model(), TOKENIZER)
    assert main([]) == 0
    folder = project / "data/polyvae_report"
    first = {path.name: path.read_bytes() for path in folder.iterdir()}
    metrics = json.loads(first["metrics.json"])
    assert metrics["reconstruction_learned_exact_n"] == metrics["reconstruction_held_out_accuracy_n"] == 10
    assert metrics["reconstruction_held_out_accuracy_low"] <= metrics["reconstruction_held_out_accuracy"]
    assert "## Reconstruction" in (folder / "report.md").read_text()
    assert {"kl.png", "interpolation.png", "molecules.png"} <= first.keys()


@pytest.mark.slow
def test_the_same_report_again_is_the_same_bytes(project):
    (project / "data/polyvae").mkdir()
    save_polyvae(project / "data/polyvae", model(), TOKENIZER)
    found = []
    for _ in range(2):
        assert main([]) == 0
        found.append({path.name: path.read_bytes() for path in (project / "data/polyvae_report").iterdir()})
    assert found[0] == found[1]


def test_without_the_model_the_samples_are_judged_all_the_same(project, capsys):
    assert main([]) == 0
    assert "attached to no model" in capsys.readouterr().err
    assert "## Reconstruction" not in (project / "data/polyvae_report/report.md").read_text()


def test_reconstruction_counts_what_is_right(project):
    """An untrained model, and the same numbers by hand from its logits."""
    from formats.molecule_tables import read_molecules

    tables = [read_molecules(project / "data/molecules", split="train", properties=("length", "rings"))]
    data = build_training_set(tables, TOKENIZER, maximum_tokens=40, mean=0.0, std=1.0)
    vae = model()
    found = reconstruct(vae, TOKENIZER, data, 0)
    assert len(found.tokens) == len(data) and int(found.tokens.sum()) == len(data.tokens) - len(data)
    right = 0
    for row in range(len(data)):
        ids = torch.from_numpy(data.tokens[data.starts[row] : data.starts[row + 1]]).long()[None]
        values = torch.from_numpy(data.properties[row])[None]
        with torch.no_grad():
            mean, _ = vae.posterior(ids, values, ~values.isnan())
            logits = vae.decode(ids[:, :-1], mean, values, ~values.isnan())
        right += int((logits.argmax(dim=-1) == ids[:, 1:]).sum())
    assert int(found.right.sum()) == right


def test_units_are_active_where_their_mean_varies_over_the_data():
    mean = torch.zeros(100, 3)
    mean[:, 0], mean[:, 1] = torch.linspace(-1, 1, 100), torch.linspace(-0.1, 0.1, 100)
    nothing = torch.zeros(100)
    assert Reconstruction(nothing, nothing, nothing, nothing, mean + 5, mean).active_units == 1


SECTIONS = {"polyvae": PolyVAEConfig, "polyvae_samples": SamplesConfig, "polyvae_report": PolyVAEReportConfig}


@pytest.mark.parametrize("file", ["params.yaml", "presets/demo.yaml", "presets/shared.yaml", "presets/paper.yaml"])
def test_the_sections_fit_their_programs_and_each_other(project_root, file):
    trained, sampled, judged = (load_params(project_root / file, section, config) for section, config in SECTIONS.items())
    assert set(trained.train_on) <= set(judged.trained_on)
    assert trained.split_column == sampled.split_column == judged.split_column


def test_every_parameter_is_in_params_yaml_and_the_demo_says_the_same(project_root):
    params, demo = read_yaml(project_root / "params.yaml"), read_yaml(project_root / "presets/demo.yaml")
    for section, config in SECTIONS.items():
        assert set(params[section]) == {field.name for field in fields(config)} and params[section] == demo[section], section
