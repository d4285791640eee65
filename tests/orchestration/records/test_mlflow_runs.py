import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestration.records import mlflow_runs
from orchestration.records.mlflow_runs import (
    MlflowUnreachableError,
    champion,
    dataset_digests_in_use,
    flag_models_trained_on,
    model_versions,
    open_findings,
    reap_dead_runs,
    replay_missed,
    run_summary,
)
from stages.reporting import Reporter
from training.tracking import sender as tracking_sender
from training.tracking import tracker as tracking
from training.tracking.tracker import InputArtifact, PromotionRule, attach_metrics, open_tracker

pytest.importorskip("mlflow", reason="mlflow is not installed (the `track` extra)")

MOLECULES_ID = "3b1127045dd6f39cee4dd68fed155449.dir"
POLYGPT_ID = "0f0e0d0c0b0a09080706050403020100.dir"
TUNED_ID = "11112222333344445555666677778888.dir"


@pytest.fixture
def root(tmp_path: Path, empty_store: Path) -> Path:
    """A project whose MLflow store exists and is empty."""
    (tmp_path / ".figment" / "mlflow").mkdir(parents=True)
    shutil.copyfile(empty_store, tmp_path / ".figment" / "mlflow" / "mlflow.db")
    return tmp_path


@pytest.fixture
def train(root: Path) -> Callable[..., str]:
    """Trains `stage` from one input and registers what it made, with a report that makes it champion."""

    def one(stage: str, output_id: str, made_from: tuple[str, str], *, validity: float = 0.9) -> str:
        state_dir = root / ".figment"
        inputs = [InputArtifact(made_from[0], Path("data") / made_from[0], made_from[1])]
        with open_tracker(
            stage, run_key=output_id[:8], config={"width": 8}, inputs=inputs, state_dir=state_dir, resume_step=None, reporter=Reporter()
        ) as tracker:
            tracker.metrics(1, {"loss": 0.25, "odd": float("nan")})
            tracker.register_model(stage, Path("data") / stage, output_id=output_id)
        rule = PromotionRule("validity", at_least=0.5)
        attach_metrics(
            stage, output_id=output_id, metrics={"validity": validity}, artifacts=[], promote=rule, reporter=Reporter(), state_dir=state_dir
        )
        assert tracker.run_id is not None
        return tracker.run_id

    return one


def client_of(root: Path) -> Any:
    from training.tracking.store import open_client

    return open_client(mlflow_runs.store_uri(root))


def test_a_project_that_never_trained_has_nothing_to_tell_and_gets_no_store(tmp_path: Path) -> None:
    assert dataset_digests_in_use(tmp_path) == [] and model_versions(tmp_path) == []
    assert champion(tmp_path, "polygpt") is None and run_summary(tmp_path, "abc") is None
    assert open_findings(tmp_path, ()) == [] and reap_dead_runs(tmp_path) == []
    assert replay_missed(tmp_path).journals == ()
    assert list(tmp_path.iterdir()) == []


def test_what_was_recorded_reads_back_with_its_ids(root: Path, train) -> None:
    run_id = train("polygpt", POLYGPT_ID, ("molecules", MOLECULES_ID))
    (use,) = dataset_digests_in_use(root)
    assert (use.run_id, use.experiment, use.status, use.name, use.digest) == (run_id, "polygpt", "FINISHED", "molecules", MOLECULES_ID)
    (version,) = model_versions(root)
    assert (version.model, version.version, version.run_id, version.output_id) == ("polygpt", "1", run_id, POLYGPT_ID)
    assert version.inputs == {"molecules": MOLECULES_ID} and version.is_champion and not version.is_retracted
    assert champion(root, "polygpt") == version
    summary = run_summary(root, run_id)
    assert summary is not None and summary.metrics["loss"] == 0.25 and summary.metrics["validity"] == 0.9
    assert summary.params == {"width": "8"} and summary.link is None
    assert summary.start_ms is not None and summary.end_ms is not None and summary.start_ms <= summary.end_ms


def test_the_direct_reading_says_what_mlflows_client_says(root: Path, train, monkeypatch) -> None:
    run_id = train("polygpt", POLYGPT_ID, ("molecules", MOLECULES_ID))
    train("tuned", TUNED_ID, ("polygpt", POLYGPT_ID))
    client = client_of(root)
    client.delete_model_version("tuned", "1")

    def answers() -> list[Any]:
        summary = run_summary(root, run_id)
        assert summary is not None
        return [dataset_digests_in_use(root), model_versions(root), champion(root, "polygpt"), repr(summary)]

    directly = answers()
    monkeypatch.setattr(mlflow_runs, "SqliteStore", lambda path: mlflow_runs._ServerStore(mlflow_runs.store_uri(root)))
    assert answers() == directly
    assert len(directly[1]) == 1


def test_ids_that_nobody_has_are_named(root: Path, train) -> None:
    train("polygpt", POLYGPT_ID, ("molecules", MOLECULES_ID))
    assert open_findings(root, {POLYGPT_ID, MOLECULES_ID}) == []
    dataset, model_input = open_findings(root, {POLYGPT_ID})
    assert dataset.kind == "mlflow_dataset_unknown" and MOLECULES_ID in dataset.detail and dataset.subject == "molecules"
    assert model_input.kind == "mlflow_model_unknown" and MOLECULES_ID in model_input.detail
    (model,) = open_findings(root, {MOLECULES_ID})
    assert model.subject == "polygpt version 1" and f"its bytes the id {POLYGPT_ID}" in model.detail and model.remedy


def test_a_model_made_from_retracted_data_is_flagged_and_so_is_one_made_from_that_model(root: Path, train) -> None:
    train("polygpt", POLYGPT_ID, ("molecules", MOLECULES_ID))
    train("tuned", TUNED_ID, ("polygpt", POLYGPT_ID))
    train("other", "9" * 32 + ".dir", ("polymers", "8" * 32 + ".dir"))
    flagged = flag_models_trained_on(root, [MOLECULES_ID], "molecule 7 was withdrawn by its author")
    assert [version.model for version in flagged] == ["polygpt", "tuned"]
    assert champion(root, "polygpt") is None and champion(root, "tuned") is None
    assert champion(root, "other") is not None
    tags = {version.model: version.tags for version in model_versions(root)}
    assert tags["tuned"]["figment.retracted_reason"] == "molecule 7 was withdrawn by its author"
    assert flag_models_trained_on(root, [MOLECULES_ID], "again") == []


def test_a_run_marked_running_whose_process_is_gone_is_found_and_reaped(root: Path, train) -> None:
    run_id = train("polygpt", POLYGPT_ID, ("molecules", MOLECULES_ID))
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    client = client_of(root)
    client.update_run(run_id, status="RUNNING")
    assert reap_dead_runs(root) == []  # this very process still lives
    client.set_tag(run_id, "figment.pid", str(gone.pid))
    (finding,) = open_findings(root, {POLYGPT_ID, MOLECULES_ID})
    assert finding.kind == "mlflow_run_dead" and run_id in finding.subject
    assert reap_dead_runs(root) == [run_id]
    summary = run_summary(root, run_id)
    assert summary is not None and summary.status == "KILLED"


def test_what_mlflow_missed_is_found_and_replayed(root: Path, train, monkeypatch) -> None:
    def refuses(uri: str) -> Any:
        raise ConnectionError(f"{uri} refuses")

    with monkeypatch.context() as patch:
        patch.setattr(tracking_sender, "TROUBLED_CLOSE_S", 0.1)
        patch.setattr(tracking_sender, "open_client", refuses)
        patch.setattr(tracking, "open_client", refuses)
        with pytest.raises(AssertionError):  # no run id
            train("polygpt", POLYGPT_ID, ("molecules", MOLECULES_ID))
    kinds = {finding.kind for finding in open_findings(root, {POLYGPT_ID, MOLECULES_ID})}
    assert kinds == {"mlflow_journal_unsent"}
    replayed = replay_missed(root)
    assert len(replayed.journals) == 2 and replayed.troubles == ()
    assert str(replayed).startswith("sent: polygpt/0f0e0d0c, polygpt/report-") and str(replay_missed(root)) == "nothing to send"
    assert open_findings(root, {POLYGPT_ID, MOLECULES_ID}) == []
    assert champion(root, "polygpt") is not None


def test_a_store_that_is_not_one_is_an_error_that_names_it_and_a_finding(root: Path) -> None:
    (root / ".figment" / "mlflow" / "mlflow.db").write_bytes(b"not a database" * 100)
    with pytest.raises(MlflowUnreachableError, match=r"mlflow\.db: DatabaseError: file is not a database"):
        dataset_digests_in_use(root)
    (finding,) = open_findings(root, ())
    assert finding.kind == "mlflow_unreachable"


def test_a_locked_store_is_told_after_a_bounded_wait(root: Path, monkeypatch) -> None:
    monkeypatch.setattr("orchestration.records.mlflow_sqlite._WAIT_S", 0.1)
    connection = sqlite3.connect(root / ".figment" / "mlflow" / "mlflow.db", isolation_level=None)
    connection.execute("BEGIN EXCLUSIVE")
    try:
        (finding,) = open_findings(root, ())
    finally:
        connection.execute("ROLLBACK")
        connection.close()
    assert "database is locked" in finding.detail


def test_looking_imports_no_mlflow(root: Path, train, project_root: Path) -> None:
    train("polygpt", POLYGPT_ID, ("molecules", MOLECULES_ID))
    program = f"""
import sys
from pathlib import Path
from orchestration.records.mlflow_runs import *
root = Path({str(root)!r})
assert len(model_versions(root)) == 1 and len(open_findings(root, ())) == 3
assert reap_dead_runs(root) == [] and replay_missed(root).journals == ()
print([name for name in ("mlflow", "torch", "dagster", "sqlalchemy") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=project_root, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "[]\n", done.stderr
