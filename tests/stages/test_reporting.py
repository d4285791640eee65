"""Reports of a stage: lines on standard error, or events of the run that started it."""

import base64
import json
import os
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stages.reporting import Reporter, open_reporter, progress_line


def test_without_an_orchestrator_lines_go_to_standard_error(capsys):
    with open_reporter() as reporter:
        reporter.log("half way")
        reporter.metadata(rows=3)
        reporter.markdown("table", "|x|")
        reporter.url("run", "http://localhost")
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", "half way\n")


def test_a_failed_check_is_said_and_a_passed_one_is_not(capsys):
    Reporter().check("licences_known", passed=True, rows=1)
    Reporter().check("no_split_leak", passed=False, severity="WARN", leaks=2)
    assert capsys.readouterr().err == "check no_split_leak failed (WARN): leaks=2\n"


def test_progress_gives_the_same_items_and_speaks_at_intervals(capsys):
    assert list(Reporter().progress(range(3), total=3, what="molecules", every_s=0.0)) == [0, 1, 2]
    assert "molecules: 1 of 3 (33 %)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("done", "total", "seconds", "line"),
    [
        (40_000, 120_648, 8.0, "molecules: 40,000 of 120,648 (33 %), 5,000/s, 16 s left"),
        (40, None, 8.0, "molecules: 40, 5.0/s"),
        (0, 10, 0.0, "molecules: 0 of 10 (0 %)"),
        (0, 10, 7.0, "molecules: 0 of 10 (0 %)"),
        (2, 10, 7.0, "molecules: 2 of 10 (20 %), one in 3.5 s, 28 s left"),
        (1_504, 1_500, 50.0, "molecules: 1,500 of 1,500 (100 %), 30/s"),
        (1_499, 1_500, 50.0, "molecules: 1,499 of 1,500 (99 %), 30/s, 0.0 s left"),
    ],
)
def test_a_progress_line_leaves_out_what_cannot_be_known(done, total, seconds, line):
    assert progress_line(done, total, seconds, "molecules") == line


def test_after_a_resume_the_place_is_that_of_the_whole_and_the_pace_that_of_this_process():
    assert progress_line(1_100, 1_500, 10.0, "images", before=1_000) == "images: 1,100 of 1,500 (73 %), 10/s, 40 s left"


@given(st.integers(0, 10**9), st.integers(1, 10**9), st.floats(0, 1e9), st.integers(0, 10**9))
def test_no_progress_line_claims_more_than_all_or_no_pace(done, total, seconds, before):
    line = progress_line(done, total, seconds, "x", before=min(done, before))
    assert " 0/s" not in line and "-" not in line and " 0.0/s" not in line
    assert int(line.partition(" (")[2].partition(" %")[0]) <= 100


def _encode(value: dict) -> str:
    return base64.b64encode(zlib.compress(json.dumps(value).encode())).decode()


def _as_if_started_by_dagster(messages: Path) -> None:
    """The two variables that a Pipes session sets, with messages going to a file."""
    dagster_pipes = pytest.importorskip("dagster_pipes", reason="dagster-pipes is not installed")
    context = {"extras": {}, "asset_keys": ["molecules"], "run_id": "r", "retry_number": 0, "job_name": None, "code_version_by_asset_key": {},
               "provenance_by_asset_key": {}, "partition_key": None, "partition_key_range": None, "partition_time_window": None}  # fmt: skip
    dagster_pipes.PipesContext._instance = None  # One process serves one run; the tests are several.
    os.environ["DAGSTER_PIPES_CONTEXT"] = _encode({"data": context})
    os.environ["DAGSTER_PIPES_MESSAGES"] = _encode({"path": str(messages)})


def _messages(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_under_pipes_logs_checks_and_metadata_become_messages(tmp_path):
    _as_if_started_by_dagster(tmp_path / "messages")
    with open_reporter() as reporter:
        reporter.log("half way")
        reporter.metadata(rows=3, by_reason={"x": 1})
        reporter.metadata(rows=4)
        reporter.check("no_split_leak", passed=True, leaks=0)
    messages = _messages(tmp_path / "messages")
    methods = [message["method"] for message in messages]
    assert {"log", "report_asset_check", "report_custom_message", "closed"} <= set(methods)
    custom = messages[methods.index("report_custom_message")]["params"]["payload"]["metadata"]
    assert custom["rows"] == 4
    assert custom["by_reason"] == {"raw_value": {"x": 1}, "type": "json"}
    assert messages[methods.index("report_asset_check")]["params"]["check_name"] == "no_split_leak"


def test_under_pipes_how_far_it_is_weighs_less_than_a_word_and_a_warning_more(tmp_path):
    _as_if_started_by_dagster(tmp_path / "messages")
    with open_reporter() as reporter:
        reporter.progress_words("1 of 3")
        reporter.log("half way")
        reporter.log("WARNING: no network")
        reporter.notice("better than before")
    told = [message["params"] for message in _messages(tmp_path / "messages") if message["method"] == "log"]
    assert [(one["level"], one["message"]) for one in told] == [
        ("DEBUG", "1 of 3"),
        ("INFO", "half way"),
        ("WARNING", "WARNING: no network"),
        ("WARNING", "better than before"),
    ]


def test_under_pipes_a_failing_block_reports_no_metadata(tmp_path):
    _as_if_started_by_dagster(tmp_path / "messages")
    with pytest.raises(ZeroDivisionError), open_reporter() as reporter:
        reporter.metadata(rows=1 / 0)
    assert "report_custom_message" not in [message["method"] for message in _messages(tmp_path / "messages")]
