"""A report is written, told, attached to the model, and read beside the one before."""

import json
import os
from argparse import Namespace
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from stages.artifact_id import content_id
from training.metrics.intervals import Rate
from training.reports import report as reports
from training.reports.numbers import Numbers
from training.reports.report import Check, Picture, Report
from training.tracking.journal import last_event
from training.tracking.tracker import InputArtifact, PromotionRule, open_tracker


def numbers_of(valid, trials=1000, *, loss=0.5):
    numbers = Numbers()
    numbers.add("validity", Rate(valid, trials))
    numbers.add("loss", loss)
    return numbers


def picture(bytes_of_it=b"png"):
    return Picture("A dot", "dot", "dot.png", lambda path: path.write_bytes(bytes_of_it), "Black.")


def report_of(valid, trials=1000, *, loss=0.5, rule=None):
    facts = {"floor": 0.4}
    numbers = numbers_of(valid, trials, loss=loss)
    return Report("model_report", "model", numbers, "# Model\n", [picture()], [Check("floor", valid > 400, facts)], promote=rule)


@pytest.fixture
def data(tmp_path):
    """A data folder with a model in it."""
    (tmp_path / "data/model").mkdir(parents=True)
    (tmp_path / "data/model/weights").write_text("1")
    os.environ["FIGMENT_TRACK"] = "jsonl"
    return tmp_path / "data"


def attach(report, data, reporter):
    """As its stage does. Returns what the journal on its way to MLflow says of the report."""
    report.tell(report.write(data), reporter)
    report.attach(data, reporter, state_dir=data.parent / ".figment")
    events = [last_event(folder, "report") for folder in (data.parent / ".figment/tracking/model").iterdir()]
    return max((event for event in events if event), key=lambda event: event["time_ms"])


def test_the_folder_holds_flat_numbers_the_pictures_and_a_page_that_shows_them(data):
    folder = report_of(800).write(data)
    assert sorted(path.name for path in folder.iterdir()) == ["dot.png", "headline.json", "metrics.json", "report.md"]
    assert json.loads((folder / "metrics.json").read_text()) == numbers_of(800).flat
    assert json.loads((folder / "headline.json").read_text()) == {}
    assert (folder / "report.md").read_text() == "# Model\n\n## A dot\n\nBlack.\n\n![dot](dot.png)\n"


def test_other_files_lie_beside_the_page_and_go_with_it_to_the_model_s_run(data, reporter):
    event = attach(replace(report_of(800), files={"samples.txt": lambda path: path.write_text("a\n")}), data, reporter)
    assert (data / "model_report/samples.txt").read_text() == "a\n" and "samples.txt" not in (data / "model_report/report.md").read_text()
    assert "samples.txt" in [Path(artifact["path"]).name for artifact in event["artifacts"]]


def test_the_headline_has_the_first_ten_chosen_numbers_that_are_there_by_what_was_judged(data):
    numbers = Numbers()
    for name in ("real_loss", "fake_loss", *(f"fake_n{number}" for number in range(20))):
        numbers.add(name, 0.5)
    chosen = {"fake": ["loss", "unmeasured", *(f"n{number}" for number in range(8))], "real": ["loss", "n1"], "nobody": ["loss"]}
    folder = replace(report_of(800), numbers=numbers, headline=chosen).write(data)
    expected = {"fake": dict.fromkeys(("loss", *(f"n{number}" for number in range(8))), 0.5), "real": {"loss": 0.5}}
    assert json.loads((folder / "headline.json").read_text()) == expected


def test_the_caller_hears_the_headline_checks_and_the_page_with_its_pictures_inside(data, reporter):
    report = replace(report_of(300), numbers=Numbers({"all_validity": 0.3, "all_loss": 0.5}), headline={"all": ["validity"]})
    report.tell(report.write(data), reporter)
    assert reporter.facts == {"all.validity": 0.3}
    assert reporter.paths == {"report_file": data / "model_report/report.md"}
    assert reporter.checks == {"floor": (False, "WARN", {"floor": 0.4})}
    assert "](data:image/png;base64,cG5n)" in reporter.markdowns["report"]


def test_pictures_too_large_for_an_event_store_are_left_in_the_folder(data, reporter):
    report = replace(report_of(800), pictures=[picture(bytes(200_000))])
    report.tell(report.write(data), reporter)
    assert reporter.markdowns["report"] == "# Model\n"


def test_the_model_s_run_gets_numbers_files_and_the_rule(data, reporter):
    rule = PromotionRule("validity", at_least=0.6)
    event = attach(report_of(800, rule=rule), data, reporter)
    assert (event["model"], event["output_id"]) == ("model", content_id(data / "model"))
    assert event["metrics"] == numbers_of(800).flat
    assert event["promote"] == {"metric": "validity", "at_least": 0.6, "at_most": None, "better": "higher"}
    assert [Path(artifact["path"]).name for artifact in event["artifacts"]] == ["dot.png", "headline.json", "metrics.json", "report.md"]


def test_a_rule_about_a_number_that_is_not_there_promotes_nothing_and_says_so(data, reporter):
    assert attach(report_of(800, rule=PromotionRule("fid", at_most=10.0)), data, reporter)["promote"] is None
    assert "model_report: no promotion, because there is no number fid in the report" in reporter.lines


def test_the_first_report_has_none_before_it(data, reporter):
    attach(report_of(800), data, reporter)
    assert "since_last_report" not in reporter.markdowns


def test_a_later_report_says_what_moved_beyond_its_interval_and_its_own_bytes_do_not(data, reporter):
    attach(report_of(400, loss=0.5), data, reporter)
    (data / "model/weights").write_text("2")
    before = content_id(report_of(500, loss=0.4).write(data))
    event = attach(report_of(500, loss=0.4), data, reporter)
    text = reporter.markdowns["since_last_report"]
    assert "on another version of the model, 2 of 2 numbers changed; 1 of 1 moved beyond their interval.\n" in text
    assert text.endswith("| validity | 0.4 | 0.5 | beyond its interval |\n| loss | 0.5 | 0.4 | has no interval |\n")
    assert "model_report: validity: 0.4 → 0.5" in reporter.lines
    assert Path(event["artifacts"][-1]["path"]).name == "since_last_report.md"
    assert content_id(data / "model_report") == before


def test_a_change_within_the_interval_is_told_as_such(data, reporter):
    attach(report_of(40, 100), data, reporter)
    attach(report_of(45, 100), data, reporter)
    text = reporter.markdowns["since_last_report"]
    assert "on the same model, 1 of 2 numbers changed; 0 of 1 moved" in text
    assert "| validity | 0.4 | 0.45 | within it |" in text
    assert not [line for line in reporter.lines if "→" in line]


def test_the_newest_report_counts_and_one_about_other_numbers_does_not(data, reporter):
    attach(report_of(400), data, reporter)
    (data / "model/weights").write_text("2")
    attach(report_of(700), data, reporter)
    other = Numbers()
    other.add("distance", 1.0)
    (data / "model/weights").write_text("3")
    attach(replace(report_of(1), numbers=other), data, reporter)
    attach(report_of(710), data, reporter)
    assert "| validity | 0.7 | 0.71 | within it |" in reporter.markdowns["since_last_report"]


def test_the_comparison_lies_beside_the_report_in_mlflow(data, reporter, state_dir, client_of):
    """Two reports on one registered model: its run holds both files, and its version was judged."""
    os.environ["FIGMENT_TRACK"] = "mlflow"
    inputs = [InputArtifact("molecules", data, "0" * 32 + ".dir")]
    with open_tracker("model", run_key="k", config={}, inputs=inputs, state_dir=state_dir, resume_step=None, reporter=reporter) as tracker:
        tracker.register_model("model", data / "model", output_id=content_id(data / "model"))
    for valid in (400, 500):
        attach(report_of(valid, rule=PromotionRule("validity")), data, reporter)
    client, run_id = client_of(state_dir), reporter.facts["mlflow_run_id"]
    assert "report/since_last_report.md" in [artifact.path for artifact in client.list_artifacts(run_id, "report")]
    assert client.get_run(run_id).data.metrics["validity"] == 0.5
    assert reporter.facts["promotion"].startswith("promoted: validity 0.5")


def test_a_stage_reads_its_section_judges_and_tells(data, reporter, tmp_path):
    @dataclass(frozen=True)
    class Section:
        valid: int = 1

    (tmp_path / "params.yaml").write_text("model_report: {valid: 7}\n")
    arguments = Namespace(params=tmp_path / "params.yaml", data=data, overrides=["valid=900"])
    os.chdir(tmp_path)
    reports.report_body("model_report", Section, lambda section, data, reporter: report_of(section.valid))(arguments, reporter)
    assert reporter.paths["report_file"] == data / "model_report/report.md"
    assert (data / "model_report/report.md").is_file()
    assert last_event(next((tmp_path / ".figment/tracking/model").iterdir()), "report")["metrics"]["validity"] == 0.9
