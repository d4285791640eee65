"""Parameters: a section becomes a dataclass, or the message says what is wrong with it."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from stages.params import ParamsError, build_config, load_params


@dataclass(frozen=True)
class Inner:
    gain: float
    labels: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Config:
    steps: int
    rate: float = 0.5
    mode: Literal["fast", "exact"] = "fast"
    cut: float | None = None
    inner: Inner | None = None
    parts: tuple[Inner, ...] = ()
    named: dict[str, Inner] = field(default_factory=dict)
    verbose: bool = False

    def __post_init__(self) -> None:
        if self.steps < 0:
            raise ValueError(f"steps must not be negative, found {self.steps}")


def _load(tmp_path: Path, text: str, *overrides: str) -> Config:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    return load_params(path, "model", Config, overrides=overrides)


def test_a_section_becomes_the_dataclass_with_its_defaults(tmp_path):
    assert _load(tmp_path, "model: {steps: 3, rate: 1e-3, cut: null}") == Config(steps=3, rate=0.001)


def test_an_integer_is_taken_where_a_number_is_asked_for(tmp_path):
    rate = _load(tmp_path, "model: {steps: 3, rate: 1}").rate
    assert rate == 1.0
    assert isinstance(rate, float)


def test_nested_lists_and_mappings_of_dataclasses_are_built(tmp_path):
    config = _load(tmp_path, "model: {steps: 1, parts: [{gain: 1}], named: {left: {gain: 2, labels: [a]}}}")
    assert config.parts == (Inner(1.0),)
    assert config.named == {"left": Inner(2.0, ["a"])}


def test_overrides_win_over_the_file_also_inside_a_mapping(tmp_path):
    config = _load(tmp_path, "model: {steps: 1, inner: {gain: 1}}", "steps=7", "inner.gain=2.5", "mode=exact")
    assert (config.steps, config.inner, config.mode) == (7, Inner(2.5), "exact")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("model: {steps: 3, rte: 1}", r"params.yaml: model.rte is not a known key \(did you mean 'rate'\?\)"),
        ("model: {rate: 1}", "model.steps is missing; it has no default"),
        ("model: {steps: three}", "model.steps must be an integer, found a string: 'three'"),
        ("model: {steps: true}", "model.steps must be an integer, found true or false: True"),
        ("model: {steps: 1.5}", "model.steps must be an integer, found a number: 1.5"),
        ("model: {steps: 1, mode: fats}", r"model.mode must be one of 'fast', 'exact', found 'fats' \(did you mean 'fast'\?\)"),
        ("model: {steps: 1, parts: {gain: 1}}", "model.parts must be a list, found a mapping"),
        ("model: {steps: 1, parts: [{gian: 1}]}", r"model.parts\[0\].gian is not a known key \(did you mean 'gain'\?\)"),
        ("model: {steps: -1}", "steps must not be negative, found -1"),
        ("model: [1]", "model must be a mapping, found a list"),
        ("modle: {steps: 1}", r"no section 'model' \(did you mean 'modle'\?\); sections here: modle"),
        ("- 1", "expected a mapping of sections, found a list"),
        ("model: {steps: 1", r"params.yaml:1:\d+: not valid YAML"),
    ],
)
def test_a_mistake_is_named_with_file_key_and_remedy(tmp_path, text, message):
    with pytest.raises(ParamsError, match=message):
        _load(tmp_path, text)


def test_a_missing_file_says_where_it_looked(tmp_path):
    with pytest.raises(ParamsError, match="nowhere.yaml: no such file"):
        load_params(tmp_path / "nowhere.yaml", "model", Config)


def test_a_file_that_is_not_utf8_names_the_byte(tmp_path):
    (tmp_path / "params.yaml").write_bytes(b"model: {steps: 1} # caf\xe9\n")
    with pytest.raises(ParamsError, match="byte 23 is not UTF-8"):
        load_params(tmp_path / "params.yaml", "model", Config)


def test_an_override_without_equals_sign_is_refused(tmp_path):
    with pytest.raises(ParamsError, match="--set takes key=value, found 'steps'"):
        _load(tmp_path, "model: {steps: 1}", "steps")


def test_yaml_is_read_as_dvc_reads_it(tmp_path):
    """YAML 1.2: `no` is a word and `1e-3` a number."""
    assert build_config(Inner, {"gain": 1, "labels": ["no"]}, where="x").labels == ["no"]
    path = tmp_path / "params.yaml"
    path.write_text("inner: {gain: 1e-3, labels: [no, on]}")
    assert load_params(path, "inner", Inner) == Inner(0.001, ["no", "on"])
