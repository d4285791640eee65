"""The stores of a project move into a real PostgreSQL and a real S3, with nothing lost."""

import contextlib
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestration.bridge.stage_lock import stage_lock
from tests import lab
from tests.orchestration.bridge.toy import Toy
from tests.orchestration.cli.figment import figment

pytestmark = [pytest.mark.cluster, lab.needs_lab()]


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[lab.Postgres, lab.S3]]:
    with lab.postgres() as postgres, lab.s3() as s3:
        yield postgres, s3


@pytest.fixture
def project(known_toy: Toy, servers: Any, tmp_path: Path, empty_store: Path) -> Toy:
    """The toy as Dagster knows it, a training of it with a model and files in MLflow, and a profile `lab` of databases of its own."""
    postgres, s3 = servers
    name = f"p{abs(hash(tmp_path)) % 10**10}"
    urls = {part: postgres.make_database(f"{part}_{name}") for part in ("dagster", "mlflow")}
    artifacts = s3.make_bucket(name)
    profile = {**urls, "artifacts": f"{artifacts}/mlflow", "s3_endpoint": s3.endpoint}
    lines = "".join(f"    {key}: {value}\n" for key, value in profile.items())
    (known_toy.root / "stores.yaml").write_text(f"profiles:\n  lab:\n{lines}")
    os.environ.update({**postgres.env, **s3.env})
    (known_toy.root / ".figment" / "mlflow").mkdir()
    shutil.copy(empty_store, known_toy.root / ".figment/mlflow/mlflow.db")
    _train(known_toy.root)
    return known_toy


def _train(root: Path) -> None:
    from stages.reporting import Reporter
    from training.tracking.registry import CHAMPION
    from training.tracking.store import open_client, sqlite_uri
    from training.tracking.tracker import InputArtifact, open_tracker

    read = InputArtifact("rows", root / "data/rows", Toy(root).project().lock().entries["rows"].output_id(Toy(root).project().graph["rows"]))
    state, text = root / ".figment", root / "note.txt"
    text.write_text("nothing is lost\n")
    with open_tracker("total", run_key="k", config={"a": 1}, inputs=[read], state_dir=state, resume_step=None, reporter=Reporter()) as tracker:
        for step in range(300):
            tracker.metrics(step, {"loss": 1 / (step + 1), "odd": float("nan")})
        tracker.tags({"said": "by a test: 'quoted', \U0001f9ea"})
        tracker.artifact(text, "notes")
        tracker.register_model("total", root / "data/total", output_id=read.id)
    text.unlink()
    open_client(sqlite_uri(state)).set_registered_model_alias("total", CHAMPION, "1")


def _rows(path: Path, table: str) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]


def test_everything_is_there_after_a_move_and_every_door_uses_it(project: Toy) -> None:
    import dagster as dg

    from orchestration.runs.dagster_run import open_instance
    from training.tracking.store import open_client, tracking_uri

    state = project.root / ".figment"
    asset = dg.AssetKey("total")
    with open_instance(project.root) as instance:
        runs = {run.run_id: [(event.timestamp, event.message) for event in instance.all_logs(run.run_id)] for run in instance.get_runs()}
        before = instance.get_latest_materialization_event(asset)
        made = _materializations(instance)
    metrics = _rows(state / "mlflow/mlflow.db", "metrics")

    counted = figment(project.root, "move-stores", "--profile", "lab", "--dry-run")
    assert counted.code == 0, counted
    assert f"{metrics} rows" in counted.out and (state / "mlflow/mlflow.db").is_file()
    moved = figment(project.root, "move-stores", "--profile", "lab")
    assert moved.code == 0, moved
    assert moved.out.replace(counted.out.rpartition("nothing")[0], "") != moved.out, "a dry run counts what is then moved"
    assert not (state / "mlflow").exists() and not (state / "dagster/history").exists()
    assert len(list((state / "set-aside").glob("*-stores/mlflow/mlflow.db"))) == 1

    os.environ["FIGMENT_PROFILE"] = "lab"
    with open_instance(project.root) as instance:
        assert "Postgres" in type(instance.event_log_storage).__name__
        assert {run.run_id: [(event.timestamp, event.message) for event in instance.all_logs(run.run_id)] for run in instance.get_runs()} == runs
        assert len(runs) > 0
        after = instance.get_latest_materialization_event(asset)
        assert after.asset_materialization.tags.keys() == before.asset_materialization.tags.keys()
        moved_events = _materializations(instance)
        assert [(each.asset_key, each.timestamp) for each in moved_events] == [(each.asset_key, each.timestamp) for each in made]
        _pointers_hold(instance, moved_events)
    port_line = f"    mlflow_server: http://127.0.0.1:{lab.free_port()}\n"
    (project.root / "stores.yaml").write_text((project.root / "stores.yaml").read_text() + port_line)
    with lab.mlflow(project.root):
        client = open_client(tracking_uri(state))
        (run,) = client.search_runs([client.get_experiment_by_name("total").experiment_id])
        assert len(client.get_metric_history(run.info.run_id, "loss")) == 300
        assert run.data.tags["said"] == "by a test: 'quoted', \U0001f9ea"
        assert client.get_model_version_by_alias("total", "champion").version == "1"
        (note,) = client.list_artifacts(run.info.run_id, "notes")
        assert Path(client.download_artifacts(run.info.run_id, note.path, str(project.root.parent))).read_text() == "nothing is lost\n"
        examined = figment(project.root, "doctor")
        assert examined.code == 0, examined
        # New numbers go on behind the old ones.
        assert int(client.create_experiment("another")) > int(run.info.experiment_id)


def _materializations(instance: Any) -> list[Any]:
    found = [record for key in instance.get_asset_keys() for record in instance.fetch_materializations(key, limit=1000).records]
    return sorted(found, key=lambda record: record.storage_id)


def _pointers_hold(instance: Any, events: list[Any]) -> None:
    """Each pointer to an input names a materialization of that very input."""
    by_number = {each.storage_id: each.asset_key.to_user_string() for each in events}
    pointers = [
        (key.rpartition("/")[2], int(value))
        for each in events
        for key, value in (each.event_log_entry.asset_materialization.tags or {}).items()
        if key.startswith("dagster/input_event_pointer/") and value.isdecimal()
    ]
    assert pointers, "the toy's materializations point to nothing"
    assert all(by_number[number] == name for name, number in pointers)


def test_a_move_that_was_killed_goes_on_and_ends_with_the_same(project: Toy) -> None:
    program = (
        "import os, signal, sys\nfrom orchestration.moving import tables\nfrom orchestration.cli.main import main\n"
        "tables._BATCH, copy = 50, tables._set_sequence\n"
        "def deadly(table, target):\n    if table.name == sys.argv[1]: os.kill(os.getpid(), signal.SIGKILL)\n    copy(table, target)\n"
        "tables._set_sequence = deadly\nsys.exit(main(['--root', sys.argv[2], 'move-stores', '--profile', 'lab']))\n"
    )
    for table in ("run_tags", "event_logs", "metrics"):
        assert subprocess.run([sys.executable, "-c", program, table, str(project.root)], check=False, capture_output=True).returncode == -9
    assert (project.root / ".figment/mlflow/mlflow.db").is_file()
    expected = _rows(project.root / ".figment/mlflow/mlflow.db", "metrics")
    answer = figment(project.root, "move-stores", "--profile", "lab")
    assert answer.code == 0, answer
    assert f"metrics {expected} rows" in " ".join(answer.out.split())


def test_nothing_is_moved_while_something_runs_or_into_a_store_of_others(project: Toy) -> None:
    with stage_lock(project.project().paths.locks, "rows", door="test"):
        answer = figment(project.root, "move-stores", "--profile", "lab")
    assert (answer.code, "still being made: rows" in answer.err) == (2, True), answer
    from training.tracking.journal import FolderLock, journal_folders

    lock = FolderLock(journal_folders(project.root / ".figment")[0])
    assert lock.acquire()
    answer = figment(project.root, "move-stores", "--profile", "lab")
    lock.release()
    assert (answer.code, "a training writes .figment/tracking" in answer.err) == (2, True), answer
    assert figment(project.root, "move-stores", "--profile", "lab").code == 0
    shutil.copytree(next((project.root / ".figment/set-aside").glob("*-stores")), project.root / ".figment", dirs_exist_ok=True)
    answer = figment(project.root, "move-stores", "--profile", "lab")
    assert (answer.code, "has rows already (runs, event_logs)" in answer.err) == (2, True), answer


def test_a_row_that_differs_there_is_found_and_the_old_store_stays(project: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    import sqlalchemy as sa

    from orchestration.moving import tables

    original = tables._set_sequence

    def spoil(table: sa.Table, target: sa.Engine) -> None:
        original(table, target)
        if table.name == "params":
            with target.begin() as connection:
                connection.execute(table.update().values(value="another"))

    monkeypatch.setattr(tables, "_set_sequence", spoil)
    answer = figment(project.root, "move-stores", "--profile", "lab")
    assert (answer.code, "table params is not the same there" in answer.err) == (2, True), answer
    assert (project.root / ".figment/mlflow/mlflow.db").is_file() and (project.root / ".figment/dagster/history/runs.db").is_file()


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("PGPASSWORD", None, "set PGPASSWORD"),
        ("PGPASSWORD", "wrong", "the password in PGPASSWORD"),
        ("AWS_SECRET_ACCESS_KEY", None, "AWS_SECRET_ACCESS_KEY"),
        ("AWS_SECRET_ACCESS_KEY", "wrong", "are refused"),
    ],
)
def test_a_secret_that_is_missing_or_wrong_is_named_in_one_line(project: Toy, monkeypatch, tmp_path, variable, value, words) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(variable, value) if value else monkeypatch.delenv(variable)
    answer = figment(project.root, "move-stores", "--profile", "lab", "--dry-run")
    assert answer.code == 2 and words in answer.err and answer.err.count("\n") == 1, answer
    os.environ["FIGMENT_PROFILE"] = "lab"
    assert figment(project.root, "up").code == 2
