"""Events of many SQLite files become one table: each once, in the order of its run and of its assets, and named by its new number everywhere."""

import base64
import contextlib
import json
import sqlite3
import zlib
from pathlib import Path

import dagster as dg

from orchestration.moving.dagster_tables import DagsterFiles


@dg.asset
def first() -> None: ...


@dg.asset(deps=[first])
def second() -> None: ...


def _made(home: Path) -> None:
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        for _ in range(2):
            assert dg.materialize([first, second], instance=instance).success
            instance.report_runless_asset_event(dg.AssetMaterialization("elsewhere"))


def _select(path: Path, statement: str) -> list[tuple]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(statement).fetchall()


def test_events_are_numbered_anew_in_the_order_of_runs_and_assets_and_every_name_follows(tmp_path: Path) -> None:
    _made(tmp_path)
    runs = tmp_path / "history" / "runs"
    index = _select(runs / "index.db", "SELECT id, run_id, dagster_event_type, asset_key, timestamp FROM event_logs ORDER BY id")
    with contextlib.closing(DagsterFiles(tmp_path)) as files:
        moved = {source.table.name: list(source.rows()) for source in files.sources()}
        renumbered = {old: files._new(old) for old, *_ in index}
        packed = "0" + base64.b64encode(zlib.compress(json.dumps({"last_event_id": index[-1][0]}).encode())).decode()
        cursor = json.loads(files._cursors(json.dumps({"cursor": packed})))["cursor"]
    events = moved["event_logs"]
    assert [event["id"] for event in events] == list(range(1, len(events) + 1))
    # Each run's events as they were told, and none twice or left out.
    shards = [path for path in runs.glob("*.db") if path.name != "index.db"]
    assert len(shards) == 3
    for shard in shards:
        told = [text for (text,) in _select(shard, "SELECT event FROM event_logs ORDER BY id")]
        run = _select(shard, "SELECT run_id FROM event_logs LIMIT 1")[0][0]
        found = [event for event in events if event["run_id"] == run]
        assert [json.loads(event["event"])["timestamp"] for event in found] == [json.loads(text)["timestamp"] for text in told]
    assert len(events) == sum(_select(shard, "SELECT count(*) FROM event_logs")[0][0] for shard in shards)
    # What the index had keeps its order under other numbers.
    by_number = {event["id"]: event for event in events}
    assert list(renumbered.values()) == sorted(renumbered.values()) and renumbered != {old: old for old in renumbered}
    for old, run, kind, asset, _ in index:
        event = by_number[renumbered[old]]
        assert (event["run_id"], event["dagster_event_type"], event["asset_key"]) == (run, kind, asset)
    told = [
        json.loads(event["event"])["dagster_event"]["event_specific_data"]
        for event in events
        if event["dagster_event_type"] == "ASSET_MATERIALIZATION"
    ]
    tags = [(key, value) for data in told for key, value in (data["materialization"]["tags"] or {}).items()]
    pointers = [(key, int(value)) for key, value in tags if key.startswith("dagster/input_event_pointer/")]
    assert len(pointers) == 2 and all(by_number[number]["asset_key"] == '["first"]' for _, number in pointers)
    assert all(by_number[row["event_id"]]["asset_key"] == row["asset_key"] for row in moved["asset_event_tags"])
    newest = {row["asset_key"]: json.loads(row["last_materialization"]) for row in moved["asset_keys"]}
    assert all(by_number[record["storage_id"]]["asset_key"] == asset for asset, record in newest.items() if "storage_id" in record)
    assert json.loads(zlib.decompress(base64.b64decode(cursor[1:])))["last_event_id"] == renumbered[index[-1][0]]
