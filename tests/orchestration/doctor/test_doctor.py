"""Everything the doctor must find, made real: flipped bytes in every store, edits by hand, dead processes; and what it may do about each.

Where outputs are hard links into the cache, a byte flipped in place is flipped in both; a test says which of the two it means.
"""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestration.bridge.cache import object_path
from orchestration.bridge.stage_lock import stage_lock
from orchestration.records.dagster_records import DagsterRecords
from tests.orchestration.bridge.toy import STAGES, Toy
from tests.orchestration.cli.figment import figment

NOBODYS_ID = "0123456789abcdef0123456789abcdef.dir"


def doctor(toy: Toy, *words: str) -> Any:
    """The JSON answer; its exit code says what the answer says."""
    answer = figment(toy.root, "doctor", "--json", *words)
    document = answer.json
    assert answer.code == (1 if document["remaining"] else 0), answer
    return document


def kinds(findings: list[dict[str, Any]]) -> set[tuple[str, str]]:
    return {(finding["kind"], finding["subject"]) for finding in findings}


def flip(path: Path) -> None:
    """Change one bit in place and leave size and modification time as they were."""
    before, mode = path.stat(), path.stat().st_mode
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.chmod(0o644)
    with path.open("r+b") as stream:
        stream.write(content)
    path.chmod(mode)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def unlink_from_cache(toy: Toy, relative: str) -> Path:
    """Make the output file a copy of its own, so that the cache keeps the good bytes."""
    path = toy.root / relative
    content, info = path.read_bytes(), path.stat()
    path.unlink()
    path.write_bytes(content)
    path.chmod(0o444)
    os.utime(path, ns=(info.st_atime_ns, info.st_mtime_ns))
    # Both tools learn the new file's stamp.
    assert toy.dvc_status() == {}
    assert figment(toy.root, "status").code == 0
    return path


def cached(toy: Toy, relative: str) -> Path:
    """The cache object behind one output file."""
    project = toy.project()
    return object_path(project.cache_dir, project.content(relative).id)


# ---- nothing wrong -------------------------------------------------------------------------------------------------------------------


def test_a_sound_project_has_no_findings_and_every_byte_of_it_was_read(known_toy: Toy):
    document = doctor(known_toy)
    assert document["agrees"] is True
    assert document["findings"] == []
    assert document["read"]["outputs"] == 7
    assert document["read"]["files"] >= 10
    answer = figment(known_toy.root, "doctor")
    assert (answer.code, answer.out.splitlines()[-1].partition(" (")[0]) == (0, "files, DVC, Dagster and MLflow agree")


def test_an_edited_parameter_is_no_illness(known_toy: Toy):
    known_toy.replace("params.yaml", "modulo: 2", "modulo: 3")
    assert doctor(known_toy)["findings"] == []


# ---- outputs -------------------------------------------------------------------------------------------------------------------------


def test_a_flipped_byte_in_an_output_is_named_and_restored_from_the_cache(known_toy: Toy):
    path = unlink_from_cache(known_toy, "data/evens/evens.txt")
    good = path.read_bytes()
    flip(path)
    assert "evens" not in known_toy.dvc_stale() | known_toy.stale(), "no tool sees it: size and time have not moved"
    document = doctor(known_toy, "--repair")
    assert kinds(document["findings"]) == {("output_damaged", "data/evens")}
    assert "evens.txt changed" in document["findings"][0]["detail"]
    assert document["remaining"] == []
    assert path.read_bytes() == good
    kept = list((known_toy.root / ".figment/set-aside").rglob("evens.txt"))
    assert len(kept) == 1 and kept[0].read_bytes() != good
    assert known_toy.dvc_status() == {}


def test_an_output_edited_by_hand_is_kept_aside_before_the_recorded_one_comes_back(known_toy: Toy):
    known_toy.write("data/rows/rows.txt", "mine\n")
    known_toy.write("data/rows/extra.txt", "also mine\n")
    document = doctor(known_toy)
    assert kinds(document["findings"]) == {("output_edited", "data/rows")}
    assert "extra.txt added, rows.txt changed" in document["findings"][0]["detail"]
    assert (known_toy.root / "data/rows/rows.txt").read_text() == "mine\n", "looking changes nothing"
    doctor(known_toy, "--repair")
    assert (known_toy.root / "data/rows/rows.txt").read_text() == "1\n2\n3\n4\n5\n"
    assert [path.read_text() for path in (known_toy.root / ".figment/set-aside").rglob("rows.txt")] == ["mine\n"]


def test_an_edited_output_without_a_good_copy_elsewhere_is_never_touched(known_toy: Toy):
    known_toy.write("data/side/side.txt", "mine\n")
    entry = known_toy.project().lock().entries["side"].outs["data/side"]
    object_path(known_toy.project().cache_dir, entry).unlink()
    document = doctor(known_toy, "--repair")
    assert ("output_edited", "data/side") in kinds(document["remaining"])
    assert (known_toy.root / "data/side/side.txt").read_text() == "mine\n"
    assert "figment materialize side --force" in next(one["remedy"] for one in document["remaining"] if one["kind"] == "output_edited")


def test_a_deleted_output_comes_back(known_toy: Toy):
    (known_toy.root / "data/report.md").unlink()
    document = doctor(known_toy, "--repair")
    assert kinds(document["findings"]) == {("output_missing", "data/report.md")}
    assert (known_toy.root / "data/report.md").exists()
    assert document["remaining"] == []


def test_an_output_that_git_keeps_is_left_to_git(known_toy: Toy):
    known_toy.write("data/total.json", '{"total": 7}')
    document = doctor(known_toy, "--repair")
    assert kinds(document["remaining"]) == {("output_edited", "data/total.json")}
    assert "git checkout data/total.json" in document["remaining"][0]["remedy"]


# ---- the cache -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        (lambda path: path.write_text("rows: 'v0'\n"), "output_edited"),
        (flip, "output_edited"),
        (lambda path: path.unlink(), "output_missing"),
    ],
)
def test_what_a_prelude_wrote_is_compared_too_and_written_anew(known_toy: Toy, damage: Callable[[Path], None], kind: str):
    path = known_toy.root / "versions.yaml"
    text = path.read_text()
    damage(path)
    document = doctor(known_toy, "--repair")
    assert kinds(document["findings"]) == {(kind, "versions.yaml")}
    assert [repair["did"] for repair in document["repairs"]] == ["wrote versions.yaml anew"]
    assert path.read_text() == text
    assert document["remaining"] == []


def test_a_prelude_that_cannot_be_written_anew_says_why(known_toy: Toy):
    known_toy.replace("code/versions.py", "begin(", 'raise SystemExit("no")\nbegin(')
    (known_toy.root / "versions.yaml").unlink()
    (repair,) = doctor(known_toy, "--repair")["repairs"]
    assert repair["refused"] == "versions: its command ended with status 1: no"


def test_a_damaged_cache_object_is_named_with_its_output_and_written_anew(known_toy: Toy):
    unlink_from_cache(known_toy, "data/evens/evens.txt")
    stored = cached(known_toy, "data/evens/evens.txt")
    flip(stored)
    assert known_toy.dvc_status() == {}, "DVC believes it"
    document = doctor(known_toy, "--repair")
    (finding,) = document["findings"]
    assert finding["kind"] == "cache_object_damaged"
    assert finding["subject"] == stored.relative_to(known_toy.root).as_posix()
    assert "data/evens/evens.txt" in finding["detail"]
    assert document["remaining"] == []
    assert stored.read_bytes() == (known_toy.root / "data/evens/evens.txt").read_bytes()
    assert not stored.stat().st_mode & 0o222


def test_a_damaged_folder_listing_in_the_cache_is_written_anew(known_toy: Toy):
    id = known_toy.project().lock().entries["rows"].outs["data/rows"]
    stored = object_path(known_toy.project().cache_dir, id)
    good = stored.read_bytes()
    flip(stored)
    document = doctor(known_toy, "--repair")
    assert [finding["kind"] for finding in document["findings"]] == ["cache_object_damaged"]
    assert stored.read_bytes() == good
    assert document["remaining"] == []


def test_damage_through_a_hard_link_is_found_on_both_sides_and_dvc_can_no_longer_restore_it(known_toy: Toy):
    path = known_toy.root / "data/evens/evens.txt"
    stored = cached(known_toy, "data/evens/evens.txt")
    path.unlink()
    path.hardlink_to(stored)
    flip(path)
    document = doctor(known_toy, "--repair")
    assert {kind for kind, _ in kinds(document["findings"])} == {"output_damaged", "cache_object_damaged"}
    assert not stored.exists()
    assert ("output_damaged", "data/evens") in kinds(document["remaining"]) or ("output_edited", "data/evens") in kinds(document["remaining"])
    assert figment(known_toy.root, "materialize", "evens", "--force").code == 0
    assert doctor(known_toy)["findings"] == []


def test_a_missing_cache_object_is_added_from_the_workspace(known_toy: Toy):
    stored = cached(known_toy, "data/side/side.txt")
    stored.unlink()
    document = doctor(known_toy, "--repair")
    assert [finding["kind"] for finding in document["findings"]] == ["cache_object_missing"]
    assert stored.exists() and document["remaining"] == []


# ---- dvc.lock ------------------------------------------------------------------------------------------------------------------------


def flip_in_lock(toy: Toy, id: str) -> str:
    """Change the first digit of the first occurrence of `id` in dvc.lock; the id that stands there now."""
    wrong = ("0" if id[0] != "0" else "1") + id[1:]
    path = toy.root / "dvc.lock"
    path.write_text(path.read_text().replace(id, wrong, 1))
    return wrong


def test_a_flipped_output_id_in_dvc_lock_is_named_and_recorded_right(known_toy: Toy):
    before = (known_toy.root / "dvc.lock").read_text()
    wrong = flip_in_lock(known_toy, known_toy.project().lock().entries["side"].outs["data/side"])
    document = doctor(known_toy, "--repair")
    assert ("lock_unknown_id", "side") in kinds(document["findings"])
    assert wrong in next(one["detail"] for one in document["findings"] if one["kind"] == "lock_unknown_id")
    assert document["remaining"] == []
    assert (known_toy.root / "dvc.lock").read_text() == before


def test_a_flipped_output_id_is_not_recorded_over_when_the_inputs_have_moved_too(known_toy: Toy):
    wrong = flip_in_lock(known_toy, known_toy.project().lock().entries["side"].outs["data/side"])
    known_toy.replace("params.yaml", "word: tea", "word: coffee")
    document = doctor(known_toy, "--repair")
    assert "params.yaml changed" in document["repairs"][0]["refused"]
    assert wrong in (known_toy.root / "dvc.lock").read_text()


def test_a_flipped_input_id_in_dvc_lock_is_named(known_toy: Toy):
    known_toy.shell("git", "checkout", "-q", "dvc.lock")
    id = known_toy.project().lock().entries["evens"].outs["data/evens"]
    text = (known_toy.root / "dvc.lock").read_text()
    head, mark, tail = text.partition("  total:\n")
    (known_toy.root / "dvc.lock").write_text(head + mark + tail.replace(id, "f" * 32 + ".dir", 1))
    assert ("lock_unknown_id", "total") in kinds(doctor(known_toy)["findings"])


def test_an_older_version_in_dvc_lock_is_no_unknown_id(known_toy: Toy):
    known_toy.replace("params.yaml", "word: tea", "word: coffee")
    known_toy.make("side")
    known_toy.shell("git", "checkout", "-q", "dvc.lock")
    assert not [kind for kind, _ in kinds(doctor(known_toy)["findings"]) if kind == "lock_unknown_id"]


def test_a_merge_conflict_in_dvc_lock_is_named_with_its_lines(known_toy: Toy):
    text = (known_toy.root / "dvc.lock").read_text()
    known_toy.write("dvc.lock", text.replace("  rows:", "<<<<<<< HEAD\n  rows:\n=======\n  rows:\n>>>>>>> theirs\n", 1))
    document = doctor(known_toy, "--repair")
    assert kinds(document["remaining"]) == {("lock_conflict", "dvc.lock")}
    assert "lines" in document["remaining"][0]["detail"]


def test_a_lock_of_a_subfolder_is_told_by_its_own_name(known_toy: Toy):
    known_toy.write("more/dvc.yaml", "stages:\n  copied:\n    cmd: echo x > copy.txt\n    outs: [copy.txt]\n")
    known_toy.make("more/copied")
    lock = known_toy.root / "more/dvc.lock"
    known = lock.read_text()
    (id,) = re.findall(r"md5: (\w{32})", known)
    lock.write_text(known.replace(id, "f" * 32))
    (found,) = [one for one in doctor(known_toy)["findings"] if one["kind"].startswith("lock_")]
    assert (found["kind"], found["subject"]) == ("lock_unknown_id", "more/copied") and "git checkout more/dvc.lock" in found["remedy"]

    lock.write_text(f"<<<<<<< HEAD\n{known}=======\n{known}>>>>>>> theirs\n")
    (found,) = doctor(known_toy)["findings"]
    assert (found["kind"], found["subject"]) == ("lock_conflict", "more/dvc.lock") and "--ours more/dvc.lock" in found["remedy"]


def test_outputs_on_a_server_are_not_looked_for_here(known_toy: Toy):
    address = "http://127.0.0.1:9/table.csv"
    known_toy.write("more/dvc.yaml", f'stages:\n  sent:\n    cmd: echo\n    outs: [{{"{address}": {{cache: false}}}}]\n')
    entry = f"  sent:\n    cmd: echo\n    outs:\n    - path: {address}\n      etag: '1'\n"
    known_toy.write("more/dvc.lock", f"schema: '2.0'\nstages:\n{entry}")
    assert kinds(doctor(known_toy)["findings"]) == {("dagster_untold", "more/sent")}


def test_a_dvc_lock_that_is_no_yaml_is_a_finding(known_toy: Toy):
    known_toy.write("dvc.lock", "stages: {rows: [\n")
    assert kinds(doctor(known_toy)["findings"]) == {("lock_unreadable", "dvc.lock")}


def test_a_dvc_lock_that_a_killed_dvc_left_empty_is_brought_back_as_it_was_last_read(known_toy: Toy):
    text = (known_toy.root / "dvc.lock").read_text()
    assert doctor(known_toy)["findings"] == []
    known_toy.write("dvc.lock", "")
    answer = figment(known_toy.root, "materialize", "--stale")
    assert answer.code == 2 and "is empty, as a `dvc repro` that was killed leaves it" in answer.err and "doctor --repair" in answer.err
    document = doctor(known_toy, "--repair")
    assert kinds(document["findings"]) == {("lock_unreadable", "dvc.lock")} and document["remaining"] == []
    assert (known_toy.root / "dvc.lock").read_text() == text


# ---- Dagster -------------------------------------------------------------------------------------------------------------------------


def test_a_materialization_with_another_id_than_dvcs_is_named_and_put_right(known_toy: Toy):
    tell_dagster(known_toy, "side", NOBODYS_ID)
    document = doctor(known_toy, "--repair")
    assert kinds(document["findings"]) == {("dagster_disagrees", "side")}
    assert NOBODYS_ID in document["findings"][0]["detail"]
    assert document["remaining"] == []


def test_what_dvc_repro_made_is_reported_to_dagster(known_toy: Toy):
    known_toy.replace("params.yaml", "word: tea", "word: coffee")
    known_toy.repro()
    document = doctor(known_toy, "--repair")
    assert kinds(document["findings"]) == {("dagster_disagrees", "side")}
    assert document["repairs"][0]["did"] == "reported dvc.lock's version of side to Dagster"


def test_an_artifact_that_only_dagster_takes_for_made_is_named(known_toy: Toy):
    (known_toy.root / "dvc.lock").unlink()
    document = doctor(known_toy, "--repair")
    assert kinds(document["remaining"]) == {("dagster_disagrees", name) for name in STAGES}
    assert "dvc.lock has no entry for it" in document["remaining"][0]["detail"]


def test_a_run_whose_worker_is_dead_is_named_and_marked(known_toy: Toy):
    run_id = start_run_and_die(known_toy)
    document = doctor(known_toy, "--repair")
    assert kinds(document["findings"]) == {("dagster_run_dead", f"run {run_id}")}
    assert document["remaining"] == []


def test_the_direct_reading_of_dagsters_records_says_what_dagster_says(known_toy: Toy):
    import dagster as dg

    records = DagsterRecords(known_toy.root / ".figment/dagster")
    with dg.DagsterInstance.from_config(str(known_toy.root / ".figment/dagster")) as instance:
        for name, record in records.newest().items():
            event = instance.get_latest_materialization_event(dg.AssetKey([name]))
            assert (record.run_id, record.tags, record.at) == (event.run_id, event.asset_materialization.tags, event.timestamp)
            assert record.id in records.known_ids()
        assert set(records.newest()) == set(known_toy.project().graph.stages)
        assert [run.run_id for run in records.unfinished_runs()] == []


def test_what_dagster_was_not_told_is_judged_as_the_mirror_judges_it(known_toy: Toy):
    import dagster as dg

    from orchestration.bridge.mirror import outside_changes
    from orchestration.records.dagster_records import untold_stages

    records = DagsterRecords(known_toy.root / ".figment/dagster")
    with dg.DagsterInstance.from_config(str(known_toy.root / ".figment/dagster")) as instance:
        for old, new in (("word: tea", "word: coffee"), ("modulo: 2", "modulo: 3"), ("repeat: 1", "repeat: 2")):
            known_toy.replace("params.yaml", old, new)
            known_toy.repro()
            changes = outside_changes(instance, known_toy.project())
            assert untold_stages(known_toy.project(), records) == [change.asset_key.path[-1] for change in changes] != []


def test_a_dagster_store_that_is_no_database_is_a_finding(known_toy: Toy):
    path = known_toy.root / ".figment/dagster/history/runs/index.db"
    for beside in path.parent.glob("index.db-*"):
        beside.unlink()
    path.write_bytes(b"not a database" * 1000)
    assert ("dagster_unreadable", ".figment/dagster") in kinds(doctor(known_toy)["findings"])


def tell_dagster(toy: Toy, name: str, id: str) -> None:
    import dagster as dg

    with dg.DagsterInstance.from_config(str(toy.root / ".figment/dagster")) as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization(name, tags={"dagster/data_version": id}))


def start_run_and_die(toy: Toy) -> str:
    """A run that says it is worked on by a process that has ended."""
    program = """
import sys
import dagster as dg
from orchestration.bridge.dead_runs import record_worker

@dg.job
def nothing(): pass

with dg.DagsterInstance.from_config(sys.argv[1]) as instance:
    run = instance.create_run_for_job(nothing)
    record_worker(instance, run.run_id)
    instance.report_dagster_event(dg.DagsterEvent("PIPELINE_START", "nothing"), run.run_id)
    print(run.run_id)
"""
    words = [sys.executable, "-W", "ignore", "-c", program, str(toy.root / ".figment/dagster")]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


# ---- MLflow --------------------------------------------------------------------------------------------------------------------------


def test_mlflow_ids_that_nobody_has_are_named(known_toy: Toy, empty_store: Path):
    from stages.reporting import Reporter
    from training.tracking.tracker import InputArtifact, open_tracker

    def train(stage: str, id: str, output_id: str) -> None:
        inputs = [InputArtifact("rows", Path("data/rows"), id)]
        with open_tracker(
            stage, run_key=id[:8], config={}, inputs=inputs, state_dir=known_toy.root / ".figment", resume_step=None, reporter=Reporter()
        ) as tracker:
            tracker.register_model(stage, Path("data") / stage, output_id=output_id)

    (known_toy.root / ".figment/mlflow").mkdir()
    shutil.copyfile(empty_store, known_toy.root / ".figment/mlflow/mlflow.db")
    entries = known_toy.project().lock().entries
    train("good", entries["rows"].outs["data/rows"], entries["evens"].outs["data/evens"])
    assert doctor(known_toy)["findings"] == []
    train("bad", NOBODYS_ID, NOBODYS_ID)
    found = kinds(doctor(known_toy)["findings"])
    assert ("mlflow_dataset_unknown", "rows") in found
    assert ("mlflow_model_unknown", "bad version 1") in found
    assert not any("good" in subject for _, subject in found)
    known = figment(known_toy.root, "why", "rows", "--json").json["mlflow"]
    assert [use["experiment"] for use in known["read_by"]] == ["good"]
    assert [version["model"] for version in known["models_made_from_it"]] == ["good"]


# ---- leftovers and locks -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "data/.tmp-rows/half.parquet",
        "data/.rows.writing/half",
        "data/evens/half.tmp",
        ".figment/memory/graph.1.tmp",
        ".dvc/cache/files/md5/00/.x.tmp",
        ".dvc/tmp/a.tmp",
    ],
)
def test_a_temporary_file_that_nobody_writes_any_more_is_named_and_removed(known_toy: Toy, path: str):
    known_toy.write(path, "half")
    document = doctor(known_toy, "--repair")
    leftovers = [subject for kind, subject in kinds(document["findings"]) if kind == "leftover"]
    assert len(leftovers) == 1 and path.startswith(leftovers[0])
    assert not (known_toy.root / path).exists()
    assert document["remaining"] == []


def test_what_a_killed_prelude_left_is_removed_and_what_else_lies_beside_it_is_not(known_toy: Toy):
    (known_toy.root / "versions.yaml.123.tmp").write_text("half")
    (known_toy.root / "notes.tmp").write_text("somebody's own")
    assert kinds(doctor(known_toy, "--repair")["findings"]) == {("leftover", "versions.yaml.123.tmp")}
    assert (known_toy.root / "notes.tmp").exists() and not (known_toy.root / "versions.yaml.123.tmp").exists()


def test_temporary_files_are_left_alone_while_a_stage_runs(known_toy: Toy):
    known_toy.write("data/.tmp-rows/half", "half")
    with stage_lock(known_toy.project().paths.locks, "rows", door="dagster"):
        document = doctor(known_toy, "--repair")
    assert document["running"] == ["rows"]
    assert (known_toy.root / "data/.tmp-rows/half").exists()


def test_an_output_that_was_moved_away_and_never_replaced_is_put_back(known_toy: Toy):
    (known_toy.root / "data/side").rename(known_toy.root / "data/.tmp-side-old")
    document = doctor(known_toy, "--repair")
    assert {"put data/.tmp-side-old back as side"} <= {repair["did"] for repair in document["repairs"]}
    assert document["remaining"] == []
    assert known_toy.dvc_status() == {}


def test_locks_of_ended_processes_are_named_and_removed_and_those_of_living_ones_stay(known_toy: Toy):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    path = known_toy.root / ".dvc/tmp/rwlock"
    living = {"pid": os.getpid(), "cmd": "dvc repro"}
    content = {"write": {"data/rows": {"pid": ended.pid, "cmd": "dvc commit"}}, "read": {"raw": [living, {"pid": ended.pid, "cmd": "dvc commit"}]}}
    path.write_text(json.dumps(content))
    document = doctor(known_toy, "--repair")
    assert kinds(document["findings"]) == {("stale_lock", ".dvc/tmp/rwlock")}
    assert json.loads(path.read_text()) == {"write": {}, "read": {"raw": [living]}}
    assert document["remaining"] == []


def test_an_output_that_a_dvc_command_is_writing_is_not_restored_under_it(known_toy: Toy):
    shutil.rmtree(known_toy.root / "data/side")
    written = {str(known_toy.root / "data/side"): {"pid": os.getpid(), "cmd": "dvc repro side"}}
    (known_toy.root / ".dvc/tmp/rwlock").write_text(json.dumps({"write": written, "read": {}}))
    repairs = doctor(known_toy, "--repair")["repairs"]
    assert [repair["did"] for repair in repairs] == [None] and "dvc repro side" in repairs[0]["refused"]
    assert not (known_toy.root / "data/side").exists()


def test_a_lock_file_that_is_garbage_is_removed_and_dvc_works_again(known_toy: Toy):
    (known_toy.root / ".dvc/tmp/rwlock").write_text("{garbage")
    document = doctor(known_toy, "--repair")
    assert kinds(document["findings"]) == {("stale_lock", ".dvc/tmp/rwlock")}
    known_toy.replace("params.yaml", "word: tea", "word: coffee")
    assert known_toy.repro() == {"side"}


def test_the_log_of_a_project_is_not_written_by_a_look(known_toy: Toy):
    figment(known_toy.root, "doctor")
    with sqlite3.connect(known_toy.root / ".figment/state.db") as connection:
        assert connection.execute("SELECT count(*) FROM events").fetchone() == (5,)
