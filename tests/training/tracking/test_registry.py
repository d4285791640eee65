import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from training.tracking.journal import has_unsent
from training.tracking.registry import champion, find_version, judge, logged_model_id, versions, withdraw
from training.tracking.tracker import InputArtifact, PromotionRule, attach_metrics, open_tracker, replay

MOLECULES_ID = "3b1127045dd6f39cee4dd68fed155449.dir"
RULE = PromotionRule("validity", at_least=0.6)


def version(number: int = 2, **tags: str) -> Any:
    return SimpleNamespace(name="polygpt", version=str(number), tags={f"figment.{name}": value for name, value in tags.items()})


def holder(validity: float) -> Any:
    held = version(1)
    held.tags["figment.metric.validity"] = repr(validity)
    return held


@pytest.mark.parametrize(
    ("rule", "validity", "present", "allowed", "why"),
    [
        (RULE, 0.7, None, True, "holds the rule"),
        (RULE, 0.6, None, True, "holds the rule"),
        (RULE, 0.5, None, False, "below the 0.6"),
        (RULE, 0.7, 0.7, True, "has 0.7"),
        (RULE, 0.7, 0.8, False, "higher is better"),
        (RULE, math.nan, None, False, "below"),
        (PromotionRule("validity"), math.nan, None, False, "not a number"),
        (PromotionRule("validity", at_most=1.0, better="lower"), 1.5, None, False, "above the 1 "),
        (PromotionRule("validity", at_most=1.0, better="lower"), 0.4, 0.5, True, "lower is better"),
        (PromotionRule("validity", at_most=1.0, better="lower"), 0.6, 0.5, False, "lower is better"),
    ],
)
def test_the_champion_is_judged_by_the_rule_and_by_the_one_before(rule, validity, present, allowed, why) -> None:
    found, reason = judge(version(), {"validity": validity}, rule, None if present is None else holder(present))
    assert found is allowed and why in reason
    assert reason.startswith("promoted" if allowed else "not promoted")


def test_a_retracted_version_is_never_promoted() -> None:
    assert judge(version(retracted="true"), {"validity": 1.0}, RULE, None)[0] is False


def test_a_metric_that_the_report_lacks_is_named_with_those_it_has() -> None:
    allowed, reason = judge(version(), {"novelty": 1.0}, RULE, None)
    assert not allowed and "no metric validity; it has novelty" in reason


@pytest.fixture
def train(state_dir: Path, tmp_path: Path, reporter: Any) -> Callable[..., str | None]:
    """Trains and registers a model whose bytes have the given id."""
    pytest.importorskip("mlflow", reason="mlflow is not installed (the `track` extra)")

    def one(output_id: str, run_key: str | None = None) -> str | None:
        inputs = [InputArtifact("molecules", tmp_path / "data" / "molecules", MOLECULES_ID)]
        with open_tracker(
            "polygpt", run_key=run_key or output_id, config={}, inputs=inputs, state_dir=state_dir, resume_step=None, reporter=reporter
        ) as tracker:
            tracker.metrics(1, {"loss": 1.0})
            tracker.register_model("polygpt", Path("data/polygpt"), output_id=output_id)
        return tracker.run_id

    return one


@pytest.fixture
def report(state_dir: Path, tmp_path: Path, reporter: Any) -> Callable[..., None]:
    page = tmp_path / "report.md"
    page.write_text("# Report")

    def one(output_id: str, *, promote: PromotionRule | None = RULE, **metrics: float) -> None:
        attach_metrics("polygpt", output_id=output_id, metrics=metrics, artifacts=[page], promote=promote, reporter=reporter, state_dir=state_dir)

    return one


def test_a_version_names_its_bytes_and_inputs_and_is_registered_once(train, state_dir, client_of) -> None:
    run_id = train("aaaa.dir")
    train("aaaa.dir", run_key="other")
    (found,) = versions(client_of(state_dir), "polygpt")
    assert found.run_id == run_id
    assert {
        "figment.output_id": "aaaa.dir",
        "figment.input.molecules": MOLECULES_ID,
        "figment.output_path": "data/polygpt",
    }.items() <= found.tags.items()
    assert champion(client_of(state_dir), "polygpt") is None


def test_a_report_reaches_the_run_and_the_model_and_moves_the_champion(train, report, state_dir, client_of, reporter) -> None:
    run_id = train("aaaa.dir")
    report("aaaa.dir", validity=0.9, validity_n=1000)
    report("aaaa.dir", validity=0.9, validity_n=1000)
    client = client_of(state_dir)
    found = find_version(client, "polygpt", "aaaa.dir")
    assert client.get_run(run_id).data.metrics["validity"] == 0.9
    assert len(client.get_metric_history(run_id, "validity")) == 1
    assert {metric.key: metric.value for metric in client.get_logged_model(logged_model_id(found)).metrics} == {"validity": 0.9, "validity_n": 1000}
    assert [entry.path for entry in client.list_artifacts(run_id, "report")] == ["report/report.md"]
    assert champion(client, "polygpt").version == found.version
    assert reporter.facts["promotion"].startswith("promoted") and reporter.facts["model_version"] == str(found.version)


def test_the_champion_stays_when_a_new_version_is_worse_and_goes_to_a_better_one(train, report, state_dir, client_of) -> None:
    for output_id, validity, expected in (("a.dir", 0.8, 1), ("b.dir", 0.7, 1), ("c.dir", 0.9, 3), ("d.dir", 0.5, 3)):
        train(output_id)
        report(output_id, validity=validity)
        assert champion(client_of(state_dir), "polygpt").version == expected
    reason = find_version(client_of(state_dir), "polygpt", "b.dir").tags["figment.promotion"]
    assert reason == "not promoted: validity 0.7, the champion version 1 has 0.8, higher is better"


def test_without_a_rule_no_champion_is_made(train, report, state_dir, client_of) -> None:
    train("a.dir")
    report("a.dir", promote=None, validity=1.0)
    assert champion(client_of(state_dir), "polygpt") is None


def test_a_withdrawn_champion_makes_room_and_never_comes_back(train, report, state_dir, client_of) -> None:
    client = client_of(state_dir)
    for output_id, validity in (("a.dir", 0.9), ("b.dir", 0.7)):
        train(output_id)
        report(output_id, validity=validity)
    assert withdraw(client, find_version(client, "polygpt", "a.dir"), "row 7 was retracted")
    assert champion(client, "polygpt") is None
    report("a.dir", validity=0.95)
    assert champion(client, "polygpt") is None
    report("b.dir", validity=0.7)
    assert champion(client, "polygpt").version == 2


def test_a_report_on_unknown_bytes_is_told_and_attached_to_nothing(train, report, reporter, state_dir) -> None:
    train("a.dir")
    report("unknown.dir", validity=0.9)
    assert any("no registered version holds polygpt (unknown.dir)" in line for line in reporter.lines)


def test_training_and_report_made_while_mlflow_was_away_arrive_together_later(train, report, state_dir, client_of, reporter, monkeypatch) -> None:
    from training.tracking import sender as tracking_sender
    from training.tracking import tracker as tracking

    def refuses(uri: str) -> Any:
        raise ConnectionError(f"{uri} refuses")

    with monkeypatch.context() as patch:
        patch.setattr(tracking_sender, "TROUBLED_CLOSE_S", 0.1)
        patch.setattr(tracking_sender, "open_client", refuses)
        patch.setattr(tracking, "open_client", refuses)
        train("a.dir")
        report("a.dir", validity=0.9)
    assert any("MLflow has not taken the report" in line for line in reporter.lines)
    assert replay(state_dir).troubles == ()
    assert champion(client_of(state_dir), "polygpt").tags["figment.output_id"] == "a.dir"
    assert not any(has_unsent(folder) for folder in (state_dir / "tracking" / "polygpt").iterdir())
