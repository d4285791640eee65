"""The sections of params.yaml and the presets fit the programs that read them, and every knob is written down."""

from dataclasses import fields

import pytest

from stages.params import load_params, read_yaml
from training.polymers.ldm.config import PolyLDMConfig
from training.polymers.ldm.sample import PolyLDMSamplesConfig

SECTIONS = {"polyldm": PolyLDMConfig, "polyldm_samples": PolyLDMSamplesConfig}


@pytest.mark.parametrize("section", SECTIONS)
def test_sections_fit_their_programs_and_the_demo_is_what_params_yaml_says(project_root, section):
    for file in ("params.yaml", "presets/demo.yaml", "presets/shared.yaml", "presets/paper.yaml"):
        load_params(project_root / file, section, SECTIONS[section])
    demo, params = read_yaml(project_root / "presets/demo.yaml"), read_yaml(project_root / "params.yaml")
    assert demo[section] == params[section] and set(params[section]) == {field.name for field in fields(SECTIONS[section])}
