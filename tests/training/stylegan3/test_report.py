"""The stage toc_report: fakes at several truncations, beside the dataset that the model was trained on."""

import json
import os
import shutil

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (extra: model)")
pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: gan)")
pytest.importorskip("PIL.Image", reason="pillow is not installed (extra: images)")

from stages.params import ParamsError, load_params
from tests.training.gans.drawn_sets import discs, write_images
from training.gans.report import read_truncations
from training.stylegan3.config import StyleGAN3Config
from training.stylegan3.generator import Generator, save_generator
from training.stylegan3.report import ToCReportConfig, main


@pytest.fixture
def project(tmp_path):
    """A model of 32 px trained on 64 px images made smaller, and its fakes at two truncations."""
    data = tmp_path / "data"
    write_images(data / "toc_dataset@64", discs(8, side=64, seed=0))
    for psi, spread in (("1.1", 1.0), ("0.2", 0.1)):
        write_images(data / "toc_fakes" / f"psi{psi}", discs(8, side=32, seed=1, spread=spread))
    (data / "stylegan3_toc").mkdir()
    torch.manual_seed(0)
    save_generator(data / "stylegan3_toc", Generator(StyleGAN3Config(resolution=32, z_dim=8, w_dim=8, cbase=64, cmax=8, num_layers=4, margin=4)))
    (tmp_path / "params.yaml").write_text("toc_report:\n  dataset_size: 64\n  metrics: [fd]\n  drawn_images: 3\n  eq_samples: 3\n  ppl_samples: 4\n")
    os.chdir(tmp_path)
    os.environ["FIGMENT_TRACK"] = "none"
    return tmp_path


def test_each_truncation_is_judged_and_shown_by_rising_psi(project):
    assert list(read_truncations(project / "data/toc_fakes", 32, "stylegan3_toc")) == ["psi0.2", "psi1.1"]
    assert main([]) == 0
    folder = project / "data/toc_report"
    assert sorted(path.name for path in folder.iterdir()) == [
        "fakes.png",
        "headline.json",
        "metrics.json",
        "nearest.png",
        "psi_sweep.png",
        "report.md",
        "slices.png",
        "spectra.png",
    ]
    assert {"psi0.2_fd_rand0", "psi1.1_fd_rand0_same_n", "real_fd_rand0"} <= set(json.loads((folder / "metrics.json").read_text()))
    text = (folder / "report.md").read_text()
    assert text.startswith("# StyleGAN3: table-of-contents images\n")
    assert text.index("| ψ = 0.2 |") < text.index("| ψ = 1.1 |")


def test_the_generator_itself_is_judged_with_what_is_asked_for(project):
    assert main(["--set", "generator_metrics=[eqt, eqr, ppl_wend]"]) == 0
    folder = project / "data/toc_report"
    numbers, text = json.loads((folder / "metrics.json").read_text()), (folder / "report.md").read_text()
    assert 30 < numbers["eqt_db_low"] <= numbers["eqt_db"] <= numbers["eqt_db_high"] and numbers["eqt_db_n"] == 3
    assert numbers["ppl_wend_rand0"] > 0 and "eqr_db" in numbers and not {"eqt_frac_db", "ppl_wfull_rand0"} & set(numbers)
    assert "| EQ-R, dB |" in text and "random convolutions here, not by LPIPS" in text
    assert main(["--set", "generator_metrics=[]"]) == 0
    assert "eqt_db" not in json.loads((folder / "metrics.json").read_text())
    assert main(["--set", "distance=lpips:weights"]) == 1


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("toc_fakes/psi*", "toc_fakes: no set of fakes such as psi0.8 in it; sample them: figment materialize toc_fakes"),
        ("toc_dataset@64", "toc_dataset@64: no such file or folder"),
        ("stylegan3_toc", "expected a trained StyleGAN3: figment materialize stylegan3_toc"),
    ],
)
def test_what_is_missing_is_one_line_that_says_what_to_do(project, capsys, missing, words):
    for folder in project.glob(f"data/{missing}"):
        shutil.rmtree(folder)
    assert main([]) == 1
    (said,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("figment: ")]
    assert words in said
    assert not (project / "data/toc_report").exists()


@pytest.mark.parametrize("name", ["params.yaml", "presets/demo.yaml", "presets/shared.yaml"])
def test_the_project_s_own_parameters_say_how_the_generator_is_judged(project_root, name):
    config = load_params(project_root / name, "toc_report", ToCReportConfig)
    assert set(config.generator_metrics) >= {"eqt", "eqt_frac", "eqr", "ppl_wend"} and config.eq_samples <= 512 and config.distance == "random"


@pytest.mark.parametrize(
    ("line", "words"),
    [("metrics: [fid]", "must be one of 'fd'"), ("dataset_size: 0", "dataset_size must be at least 1"), ("generator_metrics: [eqs]", "one of 'eqt'")],
)
def test_parameters_out_of_range_are_named(tmp_path, line, words):
    params = tmp_path / "params.yaml"
    params.write_text(f"toc_report:\n  {line}\n")
    with pytest.raises(ParamsError, match=words):
        load_params(params, "toc_report", ToCReportConfig)
