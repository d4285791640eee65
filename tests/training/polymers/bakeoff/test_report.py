"""The table over real molecules and hand-written samples: what is refused, what is counted, and twice the same bytes."""

import json
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy
import pytest

pytest.importorskip("rdkit", reason="rdkit is not installed (extra: chem)")
pytest.importorskip("torch", reason="torch is not installed (extra: model)")
pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra: chem)")

from stages.artifact_id import content_id
from tests.training.conftest import RecordingReporter
from tests.training.polymers.bakeoff.toy_bakeoff import ANSWERS, write_data, write_model, write_summary
from training.polymers.bakeoff import report
from training.polymers.bakeoff.config import BakeoffConfig
from training.polymers.conditions import MoleculeModelError
from training.reports.report import Report

SMALL = {"uniqueness_at": (4,), "with_fcd": False, "bootstrap_rounds": 50, "ngram": 3}


@pytest.fixture
def data(tmp_path) -> Path:
    return write_data(tmp_path / "data")


def compared(data: Path, *models: str, **changes):
    return report.judge(BakeoffConfig(models=models, **{**SMALL, **changes}), data, RecordingReporter())


@dataclass(frozen=True)
class Length:
    """Tells how many heavy atoms a molecule has, and knows no ring."""

    properties: tuple[str, ...] = ("homo",)

    def predict(self, molecules):
        mean = numpy.array([[float(one.GetNumAtoms())] for one in molecules])
        return SimpleNamespace(mean=mean, std=numpy.ones_like(mean), in_domain=numpy.array([one.GetRingInfo().NumRings() == 0 for one in molecules]))


def test_models_and_baselines_stand_in_one_table_with_intervals_and_denominators(data):
    write_model(data, "polygpt")
    write_model(data, "polytao", answers=("CCO", "CC(", "CCCCCC", "C"))
    found = compared(data, "polygpt", "polytao")
    numbers = found.numbers.flat
    assert [numbers[f"{entry}_conditional_t1_success"] for entry in ("polygpt", "nearest", "polytao")] == [1, 1, 0.25]
    assert numbers["polytao_conditional_t1_validity"] == 0.75
    assert numbers["random_conditional_t1_novelty"] == 0
    assert numbers["polytao_conditional_t1_mol_wt_coverage_n"] == 4
    assert numbers["polygpt_conditional_t1_success_low"] <= 1 <= numbers["polygpt_conditional_t1_success_high"]
    assert "| *nearest* |" in found.text and "nearest_unconditional_t1_validity" not in numbers


def test_what_a_training_took_is_arithmetic_and_a_model_carries_what_it_stands_on(data):
    for name in ("polyldm", "polygpt"):
        write_model(data, name)
    write_summary(data / "polyvae", parameters=100, samples=10)
    numbers = compared(data, "polygpt", "polyldm").numbers.flat
    per_token = numbers["polygpt_training_flop"] / (1000 * 50)
    assert numbers["polyldm_training_flop"] == pytest.approx(per_token * (1000 * 50 + 100 * 10))
    # What learns from latents reads a molecule as one vector, with the weights that are its own.
    summary = data / "polyldm/training_summary.json"
    summary.write_text(json.dumps(json.loads(summary.read_text()) | {"trained_parameters": 400}))
    numbers = compared(data, "polygpt", "polyldm").numbers.flat
    assert numbers["polyldm_training_flop"] == pytest.approx(6 * 400 * 50 + per_token * 100 * 10)


def test_one_is_called_better_only_where_the_paired_interval_excludes_nothing(data):
    write_model(data, "polygpt", free=("CCO",) * 3)
    write_model(data, "polytao", answers=("C", "C", "C", "C"))
    text = compared(data, "polygpt", "polytao").text
    assert "| within 10 % | polygpt | polytao | 1 (1…1) | the best is better |" in text
    assert "| valid | polygpt | polytao | 0 (0…0) | not told apart |" in text


def test_guided_samples_are_in_a_section_of_their_own_without_baselines(data):
    write_model(data, "polygpt", guided=ANSWERS)
    write_model(data, "polytao")
    found = compared(data, "polygpt", "polytao")
    plain, _, guided = found.text.partition("## Guided decoding")
    assert "guided, T" not in plain and "| polygpt |" in guided
    assert "random" not in guided and "polytao |" not in guided.partition("## What the trainings")[0]
    assert "polygpt_conditional_guided_t1_validity" in found.numbers.flat


def test_a_model_without_one_valid_molecule_is_said_in_words(data):
    write_model(data, "polygpt")
    write_model(data, "polytao", answers=("((",) * 4, free=("C1",) * 3)
    found = compared(data, "polygpt", "polytao")
    assert found.text.count("**polytao wrote no valid molecule** (4 not readable as a molecule)") == 1
    assert found.numbers.flat["polytao_conditional_t1_validity"] == 0
    assert "polytao_conditional_t1_mean_r2" not in found.numbers.flat
    json.dumps(found.numbers.flat, allow_nan=False)


def test_polymers_need_two_stars(tmp_path):
    from tests.training.polymers.test_report import write_table

    data = write_data(tmp_path / "data")
    write_table(data / "polymers", [f"*{'C' * length}*" for length in range(1, 14)])
    write_model(data, "polygpt", answers=("*CCO*", "*CO*", "CCO", "*C"))
    found = compared(data, "polygpt", conditional_like="polymers", unconditional_like="polymers")
    assert found.numbers.flat["polygpt_conditional_t1_validity"] == 0.5
    assert "polygpt_conditional_t1_quality" not in found.numbers.flat


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"wanted": (46.0, 60.0, 78.0, 95.0)}, "request 3 is mol_wt = 94 of one and 95 of the other"),
        ({"asked": "tpsa"}, "they were asked for mol_wt and tpsa"),
        ({"temperature": 0.5}, "only one of them has samples at"),
    ],
)
def test_a_comparison_that_would_not_be_fair_is_refused_with_both_names(data, change, said):
    write_model(data, "polygpt")
    write_model(data, "polytao", **change)
    with pytest.raises(MoleculeModelError, match=f"polygpt and polytao cannot be compared fairly: .*{said}"):
        compared(data, "polygpt", "polytao")


def test_models_of_other_splits_are_refused(data):
    write_model(data, "polygpt")
    write_model(data, "polytao", data_id="other")
    with pytest.raises(MoleculeModelError, match="other rows of molecules"):
        compared(data, "polygpt", "polytao")


def test_a_judge_that_saw_other_splits_is_refused_as_leakage(data):
    write_model(data, "polygpt")
    write_summary(data / "property_predictor", data_id="other")
    with pytest.raises(MoleculeModelError, match="leakage"):
        compared(data, "polygpt")


def test_a_property_that_rdkit_cannot_tell_needs_the_predictor(data):
    write_model(data, "polygpt", asked="homo")
    with pytest.raises(MoleculeModelError, match="figment materialize property_predictor"):
        compared(data, "polygpt")


def test_molecules_outside_the_domain_of_the_judge_are_counted_and_not_judged(data, monkeypatch):
    write_model(data, "polygpt", asked="homo", wanted=(3.0, 4.0, 6.0, 7.0))
    monkeypatch.setattr(report, "open_predictor", lambda folder: Length())
    numbers = compared(data, "polygpt").numbers.flat
    # Ethanol and propanol are as asked; benzene and phenol have a ring.
    assert (numbers["polygpt_conditional_t1_homo_coverage"], numbers["polygpt_conditional_t1_homo_mae"]) == (0.5, 0)
    assert (numbers["polygpt_conditional_t1_outside_domain"], numbers["polygpt_conditional_t1_outside_domain_n"]) == (0.5, 4)


def test_two_reports_of_the_same_samples_are_equal_byte_for_byte(data, tmp_path):
    write_model(data, "polygpt")
    folder = compared(data, "polygpt").write(data)
    assert {path.name for path in folder.iterdir()} == {
        "headline.json", "metrics.json", "report.md", "answers.png", "numbers.png", "requested_vs_obtained.png",
    }  # fmt: skip
    assert content_id(compared(data, "polygpt").write(tmp_path / "again")) == content_id(folder)


def test_the_checks_are_those_of_the_graph(data, project_root):
    from stages.params import read_yaml

    write_model(data, "polygpt", answers=("C",) * 4)
    checks = {check.name: check.passed for check in compared(data, "polygpt").checks}
    assert checks == {"beats_baselines": False}
    assert set(checks) == set(read_yaml(project_root / "dvc.yaml")["stages"]["molecule_bakeoff"]["meta"]["dagster"]["checks"])


def test_only_the_first_samples_at_the_chosen_temperatures_are_judged(data):
    write_model(data, "polygpt", answers=("C", *ANSWERS[1:]))
    numbers = compared(data, "polygpt", samples_at_most=2).numbers.flat
    assert (numbers["polygpt_conditional_t1_success"], numbers["polygpt_conditional_t1_success_n"]) == (0.5, 2)
    with pytest.raises(MoleculeModelError, match="no samples at the temperatures"):
        compared(data, "polygpt", temperatures=(0.3,))


def test_the_stage_refuses_other_decoding_and_writes_its_folder(data, tmp_path, monkeypatch):
    attached = []
    monkeypatch.setattr(Report, "attach", lambda self, *_: attached.append(self.model))
    write_model(data, "polygpt")
    write_model(data, "polytao")
    params = tmp_path / "params.yaml"
    section = "molecule_bakeoff: {models: [polygpt, polytao], uniqueness_at: [4], with_fcd: false, bootstrap_rounds: 20, ngram: 3}"
    params.write_text(f"polygpt_samples: {{top_k: 5}}\npolytao_samples: {{batch_size: 7}}\n{section}\n")
    assert report.main(["--params", str(params), "--data", str(data)]) == 1
    params.write_text(f"polygpt_samples: {{top_k: 5}}\npolytao_samples: {{batch_size: 7, top_k: 5}}\n{section}\n")
    assert report.main(["--params", str(params), "--data", str(data)]) == 0
    assert (data / "molecule_bakeoff/report.md").is_file() and attached == ["polygpt", "polytao"]


@pytest.mark.parametrize(
    "change", [{"models": ()}, {"models": ("random",)}, {"beaten": ("nearest",), "baselines": ("random",)}, {"ngram": 0}, {"samples_at_most": -1}]
)
def test_settings_that_make_no_sense_are_refused_by_name(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        BakeoffConfig(**change)
