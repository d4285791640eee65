"""Every kind of file that a project keeps, damaged in every way: the doctor names it, and ends with an exit code and no traceback."""

import contextlib
import json
import os
import random
import shutil
import sqlite3
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestration.bridge.answers import recall
from orchestration.records.seals import seal
from stages.reporting import Reporter
from tests.hostility import Tried
from tests.orchestration.bridge.toy import STAGES, Toy, copy_of, python_first
from tests.orchestration.cli.figment import Answer, figment
from training.tracking.tracker import InputArtifact, PromotionRule, attach_metrics, open_tracker

pytest.importorskip("mlflow", reason="mlflow is not installed (the `track` extra)")

# kind of file -> (pattern below the project, one of the words by which a finding names it besides its own path)
KINDS = {
    "output": ("data/rows/rows.txt", "data/rows"),
    "output that git keeps": ("data/total.json", "data/total.json"),
    "what a prelude wrote": ("versions.yaml", "versions.yaml"),
    "cache object": (".dvc/cache/files/md5/??/" + "?" * 30, ".dvc/cache"),
    "listing in the cache": (".dvc/cache/files/md5/??/*.dir", ".dvc/cache"),
    "dvc.lock": ("dvc.lock", "dvc.lock"),
    "DVC's register": (".dvc/tmp/rwlock", ".dvc/tmp/rwlock"),
    "the bridge's log": (".figment/state.db", "state.db"),
    "an answer of the bridge's": (".figment/memory/graph.json", "graph.json"),
    "a second answer": (".figment/memory/" + "?" * 64 + ".json", ".figment/memory"),
    "the seals": (".figment/seals.json", "seals.json"),
    "Dagster's runs": (".figment/dagster/history/runs.db", "runs.db"),
    "Dagster's index": (".figment/dagster/history/runs/index.db", "index.db"),
    "events of one run": (".figment/dagster/history/runs/????????-*.db", ".figment/dagster/history/runs/"),
    "Dagster's schedules": (".figment/dagster/schedules/schedules.db", "schedules.db"),
    "what a step printed": (".figment/dagster/storage/**/*.err", ".figment/dagster/storage"),
    "MLflow's store": (".figment/mlflow/mlflow.db", "mlflow"),
    "an artifact of MLflow's": (".figment/mlflow/artifacts/**/notes.txt", "notes.txt"),
    "a journal": (".figment/tracking/gan/*/events.jsonl", "tracking/gan"),
    "what a journal has sent": (".figment/tracking/gan/*/sent.json", "gan"),
    "a checkpoint": (".figment/checkpoints/gan/key/samples-000000000000001.pt", "samples-"),
    "the crawl's memory": (".figment/crawls/journal_pages/memory.parquet", "memory.parquet"),
    "a table that waits": (".figment/reuse/papers/kept.parquet", "kept.parquet"),
    "an archive that waits": (".figment/handover/kept.zip", "kept.zip"),
    "bytes of no known format": (".figment/embedded_sites/kept.bin", "kept.bin"),
}
# What is made again by itself, or holds nothing: that it is gone is not told. The register is DVC's, and lives as long as its commands.
_MAY_GO = {
    "DVC's register", "an answer of the bridge's", "a second answer", "the seals", "what a step printed", "what a journal has sent", "a checkpoint",
    "the crawl's memory", "a table that waits", "an archive that waits", "bytes of no known format",
}  # fmt: skip
# Written again with other bytes, they may be meant: of these only a flipped bit can be told, by the seals.
_OF_NO_FORMAT = {"what a step printed", "bytes of no known format"}
# An empty register is one without locks only for DVC; garbage is told. A prelude writes its file anew before anybody looks.
_SOUND = {("DVC's register", "another project's"), ("what a prelude wrote", "another project's")}


def flip(path: Path) -> None:
    """Some bits, under the same time and size, as a failing disk does."""
    before, content, chance = path.stat(), bytearray(path.read_bytes()), random.Random(3)
    for _ in range(3):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    write(path, bytes(content), before.st_mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def write(path: Path, content: bytes, mode: int = 0o644) -> None:
    path.chmod(0o644)
    with path.open("r+b") as stream:
        stream.write(content)
        stream.truncate()
    path.chmod(mode)


def cut(path: Path) -> None:
    write(path, path.read_bytes()[: path.stat().st_size // 2])


def empty(path: Path) -> None:
    write(path, b"")


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


DAMAGE: dict[str, Callable[[Path], None]] = {
    "bits flipped": flip,
    "cut short": cut,
    "emptied": empty,
    "deleted": Path.unlink,
    "a folder in its place": make_folder,
    "a pipe in its place": make_pipe,
}


@pytest.fixture(scope="module")
def full(materialized_template: Toy, empty_store: Path, made_once: Callable[[str, Callable[[Path], object]], Path]) -> Toy:
    """A project with each of those files, sealed."""

    def make(root: Path) -> None:
        toy = copy_of(materialized_template, root)
        state = root / ".figment"
        (state / "mlflow").mkdir()
        shutil.copyfile(empty_store, state / "mlflow/mlflow.db")
        (root / ".dvc/tmp/rwlock").write_text(json.dumps({"write": {}, "read": {"raw": [{"pid": os.getpid(), "cmd": "dvc status"}]}}))
        train(toy)
        for name, content in _others().items():
            (state / name).parent.mkdir(parents=True, exist_ok=True)
            (state / name).write_bytes(content)
        # What is damaged is then the database, and not a copy of what its log still holds.
        for path in state.rglob("*.db"):
            with contextlib.closing(sqlite3.connect(path)) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        # Damage comes long after MLflow was told of anything.
        for path in [*state.glob("tracking/gan/*/sent.json"), *state.glob("mlflow/artifacts/**/notes.txt")]:
            os.utime(path, (time.time() - 3600,) * 2)
        time.sleep(0.1)
        seal(state)

    python_first()
    return Toy(made_once("full", make))


def train(toy: Toy) -> None:
    """A model with an artifact and the title of champion."""
    entry = toy.project().lock().entries
    inputs = [InputArtifact("rows", Path("data/rows"), entry["rows"].outs["data/rows"])]
    output_id, state = entry["evens"].outs["data/evens"], toy.root / ".figment"
    notes = toy.root / ".runs/notes.txt"
    notes.write_text("what was seen")
    with open_tracker("gan", run_key="k", config={"lr": 1}, inputs=inputs, state_dir=state, resume_step=None, reporter=Reporter()) as tracker:
        tracker.metrics(1, {"loss": 0.5})
        tracker.artifact(notes)
        tracker.register_model("gan", Path("data/evens"), output_id=output_id)
    rule = PromotionRule("quality", at_least=0.5)
    attach_metrics("gan", output_id=output_id, metrics={"quality": 0.9}, artifacts=[], promote=rule, reporter=Reporter(), state_dir=state)


def _others() -> dict[str, bytes]:
    import hashlib
    import io
    import zipfile

    import pyarrow as pa
    import pyarrow.parquet as pq

    table, archive = io.BytesIO(), io.BytesIO()
    pq.write_table(pa.table({"url": [f"http://x.example/{n}" for n in range(200)]}), table)
    with zipfile.ZipFile(archive, "w") as writer:
        writer.writestr("0.png", bytes(range(256)) * 8)
    body = bytes(range(256)) * 20
    return {
        "checkpoints/gan/key/samples-000000000000001.pt": body + b"FIGMENT1" + hashlib.sha256(body).digest(),
        "crawls/journal_pages/memory.parquet": table.getvalue() + hashlib.sha256(table.getvalue()).digest(),
        "reuse/papers/kept.parquet": table.getvalue(),
        "handover/kept.zip": archive.getvalue(),
        "embedded_sites/kept.bin": body,
    }


@pytest.fixture
def project(full: Toy, tmp_path: Path) -> Toy:
    python_first()
    return copy_of(full, tmp_path / "toy")


def findings(answer: Answer) -> list[dict[str, str]]:
    assert answer.code in (0, 1), answer
    assert "Traceback" not in answer.err
    return answer.json["findings"]


def names(found: list[dict[str, str]], *words: str) -> bool:
    """Whether a finding is about the file, or says its name."""
    return any(word in f"{one['subject']} {one['detail']}" for one in found for word in words)


@pytest.mark.hostile
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_is_damaged_is_named_and_nothing_ends_in_a_traceback(full: Toy, tmp_path: Path, tried: Tried, kind: str) -> None:
    pattern, word = KINDS[kind]
    unseen, broke = [], []
    for damage, act in [*DAMAGE.items(), ("another project's", None)]:
        toy = copy_of(full, tmp_path / "toy")
        (path, *_) = sorted(path for path in toy.root.glob(pattern) if path.is_file())
        act(path) if act else write(path, _of_another_project(kind, path))
        try:
            found = findings(figment(toy.root, "doctor", "--json"))
        except Exception as error:  # noqa: BLE001 - a traceback, of whatever kind, is what is looked for
            broke.append((damage, repr(error)))
            found = []
        if not (names(found, word, str(path.relative_to(toy.root))) or is_no_loss(kind, damage, path)):
            unseen.append((damage, [(one["kind"], one["subject"], one["detail"]) for one in found]))
        shutil.rmtree(toy.root)
    tried("doctor: corrupted files", len(DAMAGE) + 1, got_through=len(unseen), lost=len(broke))
    assert not unseen and not broke, (unseen, broke)


def is_no_loss(kind: str, damage: str, path: Path) -> bool:
    """Whether there is nothing to tell: the file is made again by itself, was already, or cannot be told from one that somebody wrote."""
    if kind in _OF_NO_FORMAT and damage in ("cut short", "emptied", "another project's"):
        return True
    if path.parent.name == "memory" and recall(path) is not None:
        return True
    return (kind in _MAY_GO and damage == "deleted") or (kind, damage) in _SOUND


def _of_another_project(kind: str, path: Path) -> bytes:
    """A whole file of the same format with other contents."""
    if path.suffix == ".db":
        other = path.with_name("other.db")
        with sqlite3.connect(other) as connection:
            connection.execute("CREATE TABLE things (name TEXT)")
        content = other.read_bytes()
        other.unlink()
        for end in ("-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
        return content
    texts = {
        ".json": b'{"another": 1}',
        ".jsonl": b'{"kind":"another"}\n',
        ".yaml": b"rows: 'v1'\n",
        ".lock": b"schema: '2.0'\nstages:\n  other: {cmd: x}\n",
    }
    return b'{"write": {}, "read": {}}' if kind == "DVC's register" else texts.get(path.suffix, b"another project's")


@pytest.mark.slow
def test_a_full_project_has_no_findings(project: Toy) -> None:
    assert findings(figment(project.root, "doctor", "--json")) == []


@pytest.mark.slow
def test_a_file_of_any_format_whose_bits_flipped_is_told_and_what_was_written_again_is_not(project: Toy) -> None:
    path = project.root / ".figment/embedded_sites/kept.bin"
    path.write_bytes(b"written again")
    assert findings(figment(project.root, "doctor", "--json")) == []
    flip(path)
    (found,) = findings(figment(project.root, "doctor", "--json", "--repair"))
    assert (found["kind"], found["subject"]) == ("state_damaged", ".figment/embedded_sites/kept.bin")
    assert not path.exists() and list((project.root / ".figment/set-aside").rglob("kept.bin"))


@pytest.mark.slow
def test_a_wrong_but_known_id_in_dvc_lock_costs_no_good_output(project: Toy) -> None:
    old = project.project().lock().entries["side"].outs["data/side"]
    project.replace("params.yaml", "word: tea", "word: coffee")
    assert figment(project.root, "materialize", "side").code == 0
    new = project.project().lock().entries["side"].outs["data/side"]
    text = (project.root / "data/side/side.txt").read_text()
    project.write("dvc.lock", (project.root / "dvc.lock").read_text().replace(new, old))

    answer = figment(project.root, "doctor", "--json", "--repair")

    (found,) = [one for one in findings(answer) if one["subject"] == "data/side"]
    assert found["kind"] == "lock_contradicted" and old in found["detail"] and new in found["detail"] and not found["can_be_repaired"]
    assert (project.root / "data/side/side.txt").read_text() == text


@pytest.mark.slow
def test_what_a_user_keeps_beside_the_outputs_is_neither_named_nor_touched(project: Toy) -> None:
    # While a DVC command is at work, nothing is a leftover.
    (project.root / ".dvc/tmp/rwlock").unlink()
    mine = ["data/notes.tmp", "data/films.part", "data/.tmp-mine", ".figment/mlflow/artifacts/gan/kept.tmp", ".figment/dagster/storage/mine.tmp"]
    for name in mine:
        project.write(name, "mine")
        os.utime(project.root / name, (1, 1))
    project.write("data/evens/mine.part", "mine, in an output")

    found = findings(figment(project.root, "doctor", "--json", "--repair"))

    assert [one["subject"] for one in found if one["kind"] == "leftover"] == ["data/evens/mine.part"]
    assert all((project.root / name).read_text() == "mine" for name in mine)
    assert [path.read_text() for path in (project.root / ".figment/set-aside").rglob("mine.part")] == ["mine, in an output"]


@pytest.mark.slow
def test_entries_of_no_stage_are_told(project: Toy) -> None:
    project.replace("dvc.yaml", "  side:\n", "  renamed:\n")
    assert ("lock_orphan", "side") in [(one["kind"], one["subject"]) for one in findings(figment(project.root, "doctor", "--json"))]


@pytest.mark.slow
def test_locks_of_foreign_processes_are_told(project: Toy) -> None:
    path = project.root / ".dvc/tmp/rwlock"
    os.utime(path, (1, 1))
    (project.root / ".dvc/tmp/lock").write_text("x|another-machine.example|77|1")
    found = findings(figment(project.root, "doctor", "--json", "--repair"))
    assert [one["subject"] for one in found if one["kind"] == "foreign_lock"] == [".dvc/tmp/rwlock", ".dvc/tmp/lock"]
    assert path.exists() and (project.root / ".dvc/tmp/lock").exists()


def sql(statement: str) -> Callable[[Path], None]:
    def act(root: Path) -> None:
        with sqlite3.connect(root / ".figment/mlflow/mlflow.db") as connection:
            assert connection.execute(statement).rowcount > 0, statement

    return act


def edit_artifact(root: Path) -> None:
    (path,) = (root / ".figment/mlflow/artifacts").rglob("notes.txt")
    path.write_text("what was not seen")
    os.utime(path, (time.time() + 60, time.time() + 60))


def delete_artifact(root: Path) -> None:
    (path,) = (root / ".figment/mlflow/artifacts").rglob("notes.txt")
    path.unlink()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("act", "kind"),
    [
        (lambda root: (root / ".figment/mlflow/mlflow.db").unlink(), "mlflow_store_missing"),
        (lambda root: shutil.rmtree(root / ".figment/mlflow"), "mlflow_store_missing"),
        (sql("UPDATE runs SET lifecycle_stage = 'deleted'"), "mlflow_run_missing"),
        (sql("UPDATE params SET value = '7' WHERE key = 'lr'"), "mlflow_run_edited"),
        (sql("DELETE FROM tags WHERE key LIKE 'figment.%'"), "mlflow_run_edited"),
        (sql("UPDATE latest_metrics SET value = 7 WHERE key = 'loss'"), "mlflow_run_edited"),
        (sql("DELETE FROM model_version_tags WHERE key = 'figment.output_path'"), "mlflow_version_edited"),
        (sql("UPDATE model_version_tags SET value = 'x.dir' WHERE key = 'figment.input.rows'"), "mlflow_version_edited"),
        (sql("DELETE FROM model_version_tags WHERE key = 'figment.output_id'"), "mlflow_version_missing"),
        (sql("DELETE FROM registered_model_aliases"), "mlflow_alias_missing"),
        (sql("UPDATE model_version_tags SET value = 'not promoted' WHERE key = 'figment.promotion'"), "mlflow_alias_edited"),
        (delete_artifact, "mlflow_artifact_missing"),
        (edit_artifact, "mlflow_artifact_edited"),
    ],
)
def test_what_was_deleted_or_edited_in_mlflow_is_told(project: Toy, act: Callable[[Path], None], kind: str) -> None:
    act(project.root)
    assert kind in [one["kind"] for one in findings(figment(project.root, "doctor", "--json"))]


@pytest.mark.slow
def test_a_lost_dagster_store_is_told_and_a_new_one_hears_of_dvc_lock(project: Toy) -> None:
    shutil.rmtree(project.root / ".figment/dagster/history")
    answer = figment(project.root, "doctor", "--json", "--repair")
    assert "dagster_missing" in [one["kind"] for one in findings(answer)]
    assert not [one for one in answer.json["remaining"] if one["kind"].startswith("dagster") and one["subject"] in STAGES]


def _bits(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    chance = random.Random(seed)
    for _ in range(count):
        damaged = bytearray(content)
        damaged[chance.randrange(len(damaged))] ^= 1 << chance.randrange(8)
        yield bytes(damaged)


@pytest.mark.hostile
def test_no_single_flipped_bit_of_local_state_goes_untold(full: Toy, tmp_path: Path, tried: Tried) -> None:
    """Of every file below .figment: the bit flips as on a failing disk, and only the examination of local state looks."""
    from orchestration.doctor.state import examine_state

    toy = copy_of(full, tmp_path / "toy")
    project, count, untold = toy.project(), 0, []
    for path in sorted(path for path in (toy.root / ".figment").rglob("*") if path.is_file() and path.suffix not in (".lock", "", ".db-shm")):
        content, info = path.read_bytes(), path.stat()
        for damaged in _bits(content, 2, len(content)) if content else ():
            write(path, damaged)
            os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
            count += 1
            if not any(path.name in found.subject for found in examine_state(project, hear=None, is_busy=False)):
                untold.append(path.name)
            write(path, content)
            os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    tried("flipped bits in every file of local state", count, got_through=len(untold))
    assert not untold, untold
