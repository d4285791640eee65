"""The sections of the bake-off and the presets of tasks fit the programs that read them, and name columns and files that are there."""

import json
import shutil
from dataclasses import fields

import pytest
import yaml

from assets.molecules.build import DatasetConfig
from assets.molecules.sources import MoleculeSourcesConfig
from bench.kitchen import merged
from orchestration.cli.preset import apply_preset
from stages.params import load_params, read_yaml
from training.polymers.bakeoff.config import BakeoffConfig
from training.polymers.bakeoff.entries import check_same_decoding
from training.polymers.gpt.config import PolyGPTConfig
from training.polymers.ldm.config import PolyLDMConfig
from training.polymers.ldm.sample import PolyLDMSamplesConfig
from training.polymers.predictor.config import PredictorConfig
from training.polymers.predictor.report import PredictorReportConfig
from training.polymers.report import MoleculeReportConfig
from training.polymers.sampling import SamplesConfig
from training.polymers.smiles_tokenizer import SmilesTokenizerConfig
from training.polymers.tao.config import PolyTAOConfig
from training.polymers.vae.config import PolyVAEConfig
from training.polymers.vae.report import PolyVAEReportConfig

TASKS = ("qm9_4", "qm7b", "polymers_15", "band_gaps", "open_polymer")
READERS = {
    "molecule_sources": MoleculeSourcesConfig, "molecules": DatasetConfig, "polymers": DatasetConfig, "smiles_tokenizer": SmilesTokenizerConfig,
    "polygpt": PolyGPTConfig, "polygpt_samples": SamplesConfig, "polygpt_report": MoleculeReportConfig, "molecule_bakeoff": BakeoffConfig,
    "polytao": PolyTAOConfig, "polytao_samples": SamplesConfig, "polyvae": PolyVAEConfig, "polyvae_samples": SamplesConfig,
    "polyvae_report": PolyVAEReportConfig, "polyldm": PolyLDMConfig, "polyldm_samples": PolyLDMSamplesConfig,
    "property_predictor": PredictorConfig, "predictor_report": PredictorReportConfig,
}  # fmt: skip


@pytest.mark.parametrize("file", ["params.yaml", "presets/demo.yaml", "presets/shared.yaml", "presets/paper.yaml"])
def test_the_section_fits_its_program(project_root, file):
    load_params(project_root / file, "molecule_bakeoff", BakeoffConfig)


def test_every_parameter_is_in_params_yaml_as_in_the_demo(project_root):
    section = read_yaml(project_root / "params.yaml")["molecule_bakeoff"]
    assert set(section) == {field.name for field in fields(BakeoffConfig)}
    assert section == read_yaml(project_root / "presets/demo.yaml")["molecule_bakeoff"]


@pytest.mark.parametrize("file", ["params.yaml", "presets/shared.yaml", "presets/paper.yaml"])
def test_the_models_that_are_compared_are_asked_for_the_same_and_decode_alike(project_root, file):
    check_alike(project_root / file)


def check_alike(params):
    sections = read_yaml(params)
    compared = sections["molecule_bakeoff"]
    check_same_decoding(params, compared["models"])
    # PolyLDM is asked what the PolyVAE it stands on was taught.
    taught = [sections["polyvae" if model == "polyldm" else model]["properties"] for model in compared["models"]]
    asked = [{name: sections[f"{model}_samples"][name] for name in ("wanted_from", "split_column", "seed")} for model in compared["models"]]
    assert all(one == taught[0] for one in taught) and all(one == asked[0] for one in asked)
    assert all(set(compared["temperatures"]) <= set(sections[f"{model}_samples"]["temperatures"]) for model in compared["models"])


@pytest.fixture(scope="module")
def sections(project_root):
    """Those of params.yaml that a task is about: reading and writing all of them takes seconds."""
    return {name: section for name, section in read_yaml(project_root / "params.yaml").items() if name in READERS}


def test_settings_are_merged_here_as_figment_preset_does(project_root, tmp_path, sections):
    params, preset = tmp_path / "params.yaml", project_root / "presets/band_gaps.yaml"
    params.write_text(yaml.safe_dump(sections, sort_keys=False))
    assert apply_preset(params, preset)
    assert read_yaml(params) == merged(sections, read_yaml(preset))


@pytest.mark.parametrize("task", TASKS)
def test_the_sections_of_a_task_fit(project_root, tmp_path, sections, task):
    params = tmp_path / "params.yaml"
    params.write_text(json.dumps(merged(sections, read_yaml(project_root / f"presets/{task}.yaml"))))
    for section, config in READERS.items():
        load_params(params, section, config)
    check_alike(params)
    sections = read_yaml(params)
    assert len(sections["molecule_bakeoff"]["models"]) == 4
    assert sections["polygpt"]["properties"] == sections["property_predictor"]["properties"]
    assert sections["predictor_report"]["train_on"] == sections["property_predictor"]["train_on"]


@pytest.mark.parametrize("presets", ["moses", "polymers_15 polytao_protocol", "qm9_4 bakeoff_cpu", "polymers_15 polytao_protocol bakeoff_cpu"])
def test_a_protocol_asks_all_models_alike(project_root, tmp_path, sections, presets):
    for name in ("shared", *presets.split()):
        sections = merged(sections, read_yaml(project_root / f"presets/{name}.yaml"))
    params = tmp_path / "params.yaml"
    params.write_text(json.dumps(sections))

    for section, config in READERS.items():
        load_params(params, section, config)
    check_alike(params)
    assert len(sections["molecule_bakeoff"]["models"]) == 4


@pytest.mark.slow
@pytest.mark.shared_data
@pytest.mark.parametrize("task", ["band_gaps", "open_polymer"])
def test_the_tables_of_a_task_have_the_properties_it_asks_for(project_root, shared_data, tmp_path, monkeypatch, task):
    from assets.molecules import build, sources
    from formats.molecule_tables import read_molecules

    monkeypatch.chdir(project_root)
    params = tmp_path / "params.yaml"
    shutil.copyfile(project_root / "params.yaml", params)
    # The files lie where `shared_data` found them, which need not be beside this checkout.
    text = (project_root / f"presets/{task}.yaml").read_text().replace("../shared/data", str(shared_data))
    (tmp_path / "task.yaml").write_text(text)
    apply_preset(params, tmp_path / "task.yaml")
    where = ["--params", str(params), "--data", str(tmp_path / "data")]
    assert sources.main(where) == 0
    assert build.main(["polymers", *where]) == 0
    properties = read_yaml(params)["polygpt"]["properties"]
    table = read_molecules(tmp_path / "data/polymers", split="train", properties=properties)
    assert len(table) > 2000 and all(unit for name, unit in table.units.items())
