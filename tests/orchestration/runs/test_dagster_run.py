"""What is heard of a Dagster run, and what of it a person is told."""

import io
from collections.abc import Callable

import dagster as dg
import pytest

from orchestration.runs.dagster_run import _Watcher
from orchestration.runs.display import RunDisplay
from orchestration.runs.forecast import Forecast
from orchestration.runs.selection import Plan
from orchestration.terminal import MovingLine


@dg.asset
def rows(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    context.log.debug("1 of 5")
    context.log.info("five of them")
    context.log.warning("WARNING: one is odd")
    return dg.MaterializeResult(metadata={"how": "ran", "seconds": 2.0, "id": "1234"})


@dg.asset_check(asset=rows)
def even() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.WARN, metadata={"odd": 1})


@dg.asset_check(asset=rows)
def few() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, severity=dg.AssetCheckSeverity.ERROR, metadata={"most": 3})


@pytest.fixture(scope="module")
def told() -> Callable[[bool], tuple[list[str], list[str]]]:
    """(lines, failed checks) of one run, heard by someone who asked for all that stages say, or did not."""
    with dg.DagsterInstance.ephemeral() as instance:
        run_id = dg.materialize([rows, even, few], instance=instance, raise_on_error=False).run_id
        entries = instance.all_logs(run_id)

    def told(is_verbose: bool) -> tuple[list[str], list[str]]:
        lines: list[str] = []
        forecast = Forecast(["rows"], {}, lambda name: (), at_once=1)
        display = RunDisplay(1, forecast, lines.append, is_verbose=is_verbose, line=MovingLine(io.StringIO()), clock=lambda: 0.0)
        watcher = _Watcher(run_id, Plan(("rows",), (), frozenset()), display, on_interrupt=lambda: None)
        for entry in entries:
            watcher.hear(entry)
        return lines, watcher.result.failed_checks

    return told


def test_of_a_stage_one_line_is_told_and_its_warnings(told: Callable[[bool], tuple[list[str], list[str]]]) -> None:
    lines, failed = told(False)
    assert lines == ["rows: WARNING: one is odd", "[1 of 1] rows: made in 2 s; 0 s so far", "warning: check did not pass: rows: even (odd: 1)"]
    assert failed == ["rows: few (most: 3)"]


def test_what_it_says_is_told_on_request_and_never_how_far_it_is(told: Callable[[bool], tuple[list[str], list[str]]]) -> None:
    assert told(True)[0][:2] == ["rows: five of them", "rows: WARNING: one is odd"]
