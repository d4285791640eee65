"""The sections of params.yaml and the presets fit the programs that read them, and every knob is written down."""

from dataclasses import fields

import pytest

from stages.params import load_params, read_yaml
from training.polymers.gpt.config import PolyGPTConfig
from training.polymers.sampling import SamplesConfig
from training.polymers.smiles_tokenizer import SmilesTokenizerConfig

SECTIONS = {"smiles_tokenizer": SmilesTokenizerConfig, "polygpt": PolyGPTConfig, "polygpt_samples": SamplesConfig}


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize(
    "file", ["params.yaml", "presets/demo.yaml", "presets/shared.yaml", "presets/paper.yaml", "presets/quality_cpu.yaml", "presets/one_core.yaml"]
)
def test_a_section_fits_its_program(project_root, file, section):
    load_params(project_root / file, section, SECTIONS[section])


@pytest.mark.parametrize("section", SECTIONS)
def test_every_parameter_is_in_params_yaml(project_root, section):
    assert set(read_yaml(project_root / "params.yaml")[section]) == {field.name for field in fields(SECTIONS[section])}


def test_the_demo_is_what_params_yaml_says(project_root):
    demo, params = read_yaml(project_root / "presets/demo.yaml"), read_yaml(project_root / "params.yaml")
    assert {section: demo[section] for section in SECTIONS} == {section: params[section] for section in SECTIONS}
