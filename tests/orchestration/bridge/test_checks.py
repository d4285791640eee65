import os
import textwrap

import dagster as dg
import pytest

from orchestration.bridge.checks import BYTES, ROWS, SCHEMA
from orchestration.bridge.mirror import asset_key, report_outside_changes
from tests.orchestration.bridge.toy import Toy

_TABLE = """
    import os
    import pyarrow as pa
    import pyarrow.parquet as pq
    rows = int(open("rows.txt").read())
    os.makedirs("data/table", exist_ok=True)
    for shard in range(2):
        pq.write_table(pa.table({"x": list(range(rows // 2))}), f"data/table/t-{shard:05}.parquet")
    pq.write_table(pa.table({"why": ["bad"] * 99}), "data/table/rejected.parquet")
    print(rows)
"""


@pytest.fixture
def table(toy: Toy) -> Toy:
    """A stage that writes a table of as many rows as rows.txt says."""
    toy.write("code/table.py", textwrap.dedent(_TABLE))
    toy.write("rows.txt", "100")
    toy.replace(
        "dvc.yaml",
        "stages:\n",
        "stages:\n  table:\n    cmd: python -B code/table.py\n    deps: [code/table.py, rows.txt]\n    outs: [data/table]\n"
        "    meta: {dagster: {kinds: [parquet], min_rows_kept: 0.8}}\n",
    )
    return toy


def checks_of(result: dg.ExecuteInProcessResult) -> dict[str, bool]:
    return {evaluation.check_name: evaluation.passed for evaluation in result.get_asset_check_evaluations()}


def test_a_byte_flipped_behind_every_time_stamp_fails_the_bytes_check(toy: Toy, instance: dg.DagsterInstance) -> None:
    assert checks_of(toy.dagster_make(instance, "side")) == {BYTES: True}
    place = toy.root / "data/side/side.txt"
    stamp = place.stat()
    place.chmod(0o644)
    with place.open("r+b") as stream:
        stream.write(b"X")
    place.chmod(stamp.st_mode)
    os.utime(place, ns=(stamp.st_mtime_ns, stamp.st_mtime_ns))

    result = toy.dagster_make(instance, "side")

    assert checks_of(result) == {BYTES: False}
    (evaluation,) = result.get_asset_check_evaluations()
    assert (evaluation.metadata["files read"].value, evaluation.metadata["wrong outputs"].value) == (1, 1)
    assert evaluation.metadata["wrong"].value["data/side"]["dvc.lock says"] == toy.project().lock().entries["side"].outs["data/side"]


def test_a_deleted_output_fails_the_bytes_check_and_a_metric_in_git_is_checked_too(toy: Toy, instance: dg.DagsterInstance) -> None:
    from orchestration.bridge.checks import _bytes_check

    project = toy.project()
    assert _bytes_check(project, project.graph["total"]).passed
    toy.write("data/total.json", "{}")
    assert not _bytes_check(project, project.graph["total"]).passed
    (toy.root / "data/report.md").unlink()
    assert _bytes_check(project, project.graph["report"]).metadata["wrong"].value["data/report.md"]["is"] == "absent"


def test_rows_that_collapse_fail_a_check_and_come_back(table: Toy, instance: dg.DagsterInstance) -> None:
    first = table.dagster_make(instance, "table")
    assert checks_of(first) == {BYTES: True, SCHEMA: True, ROWS: True}
    made = instance.get_latest_materialization_event(asset_key("table")).asset_materialization
    assert made.metadata["dagster/row_count"].value == 100, "only numbered shards are the table"

    answers, bounds = [], []
    for rows in ("90", "20", "100"):
        table.write("rows.txt", rows)
        result = table.dagster_make(instance, "table")
        answers.append(checks_of(result)[ROWS])
        metadata = next(evaluation.metadata for evaluation in result.get_asset_check_evaluations() if evaluation.check_name == ROWS)
        bounds.append((metadata["rows"].value, metadata["rows at least"].value))

    assert answers == [True, False, True]
    assert bounds == [(90, 80), (20, 72), (100, 16)]


def test_what_dvc_made_outside_is_compared_by_its_own_rows(table: Toy, instance: dg.DagsterInstance) -> None:
    table.make("table")
    report_outside_changes(instance, table.project(), ["table"])
    table.write("rows.txt", "20")

    assert checks_of(table.dagster_make(instance, "table"))[ROWS] is False


def test_shards_of_two_schemas_are_named(table: Toy) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from orchestration.bridge.checks import _schema_check

    table.make("table")
    project = table.project()
    assert _schema_check(project, project.graph["table"]).passed
    pq.write_table(pa.table({"y": ["odd"]}), table.root / "data/table/t-00002.parquet")

    result = _schema_check(project, project.graph["table"])

    assert not result.passed and result.metadata["odd shards"].value == ["t-00002.parquet"]


def test_only_stages_of_parquet_have_checks_on_tables(table: Toy) -> None:
    keys = table.definitions().resolve_asset_graph().asset_check_keys

    assert {key.name for key in keys if key.asset_key == asset_key("table")} == {BYTES, SCHEMA, ROWS}
    assert {key.name for key in keys if key.asset_key == asset_key("rows")} == {BYTES}


def test_checks_run_alone_without_making_anything(toy: Toy, instance: dg.DagsterInstance) -> None:
    job = toy.definitions().resolve_implicit_global_asset_job_def()
    before = toy.runs("side")
    check = dg.AssetCheckKey(asset_key("side"), BYTES)

    result = job.get_subset(asset_selection=set(), asset_check_selection={check}).execute_in_process(instance=instance)

    assert checks_of(result) == {BYTES: True} and toy.runs("side") == before
