"""The stage polygpt_report, and the parameters it is shipped with."""

import json
import os

import pytest

pytest.importorskip("rdkit.Chem", reason="rdkit is not installed (extra: chem)")
pytest.importorskip("torch", reason="torch is not installed (extra: model)")
pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: chem)")

from stages.params import load_params, read_yaml
from tests.training.polymers.toy_molecules import enumerated_molecules, write_molecules
from training.polymers.gpt.config import PolyGPTConfig
from training.polymers.gpt.report import STAGE, main
from training.polymers.report import MoleculeReportConfig
from training.polymers.sample_table import SampledMolecule, SampleRow, write_samples


@pytest.fixture
def project(tmp_path):
    """Real molecules, and five samples of a model that is not here."""
    write_molecules(tmp_path / "data", number=60)
    (tmp_path / "data/polygpt_samples").mkdir()
    rows = [SampleRow("unconditional", 1.0, SampledMolecule(smiles, True), {}) for smiles in (*enumerated_molecules(4), "C1CC")]
    write_samples(rows, tmp_path / "data/polygpt_samples/samples.parquet", units={})
    (tmp_path / "params.yaml").write_text("polygpt_report: {with_fcd: false, bootstrap_rounds: 20, uniqueness_at: [4]}\n")
    os.chdir(tmp_path)
    return tmp_path


def test_without_the_model_the_report_is_made_all_the_same(project, capsys):
    assert main([]) == 0
    assert "attached to no model" in capsys.readouterr().err
    text = (project / "data/polygpt_report/report.md").read_text()
    assert text.startswith("# PolyGPT\n") and "0.8 (0.376…0.964, n = 5)" in text


def test_what_the_heads_told_in_training_stands_beside_the_samples(project):
    model = project / "data/polygpt"
    model.mkdir()
    values = {"validation_property_r2_mol_wt": 0.91234567, "validation_property_r2_tpsa": -0.5, "loss": 1.0}
    (model / "training_summary.json").write_text(json.dumps({"last_values": values}))
    assert main([]) == 0
    metrics = json.loads((project / "data/polygpt_report/metrics.json").read_text())
    assert metrics["validation_property_r2_mol_wt"] == 0.912346 and metrics["validation_property_r2_tpsa"] == -0.5
    text = (project / "data/polygpt_report/report.md").read_text()
    assert "| mol\\_wt | 0.912 |" in text and "shown without properties" in text


def test_without_samples_one_line_says_how_to_make_them_and_the_earlier_report_stays(project, capsys):
    assert main([]) == 0
    (project / "data/polygpt_samples/samples.parquet").unlink()
    assert main([]) == 1
    assert capsys.readouterr().err.endswith("make the samples first: figment materialize polygpt_samples\n")
    assert (project / "data/polygpt_report/report.md").is_file()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("validity_flor: 0.5", "did you mean 'validity_floor'"),
        ("unconditional_like: polymer", "did you mean 'polymers'"),
        ("trained_on: []", "trained_on is empty"),
    ],
)
def test_wrong_parameters_are_told_with_exit_code_two(tmp_path, capsys, line, message):
    (tmp_path / "params.yaml").write_text(f"polygpt_report:\n  {line}\n")
    assert main(["--params", str(tmp_path / "params.yaml")]) == 2
    assert message in capsys.readouterr().err


def parameter_files(root):
    """params.yaml and the presets that say how samples are judged."""
    files = [root / "params.yaml", *sorted((root / "presets").glob("*.yaml"))]
    return {path.name: path for path in files if STAGE in read_yaml(path)}


def test_novelty_is_judged_against_every_dataset_the_shipped_model_is_trained_on(project_root):
    """And every shipped section is read without complaint."""
    files = parameter_files(project_root)
    assert "params.yaml" in files
    for name, path in files.items():
        judged = load_params(path, STAGE, MoleculeReportConfig)
        if "polygpt" in read_yaml(path):
            trained = load_params(path, "polygpt", PolyGPTConfig)
            assert set(trained.datasets) <= set(judged.trained_on), name
            assert trained.split_column == judged.split_column, name
