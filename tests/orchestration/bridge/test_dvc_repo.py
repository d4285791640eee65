import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading

import psutil
import pytest

from orchestration.bridge.dvc_repo import DvcBusy, StageStore, _WholeFiles
from orchestration.bridge.inputs import inputs_of
from tests.orchestration.bridge.test_process import wait_until
from tests.orchestration.bridge.toy import Toy


def store_of(toy: Toy, **options) -> StageStore:
    return StageStore(toy.root, **options)


def seen_by(toy: Toy, name: str) -> dict[str, object]:
    """What the bridge sees of the stage's inputs."""
    project = toy.project()
    return inputs_of(project, project.graph[name])


@pytest.mark.parametrize("name", ["rows", "evens", "total", "report", "side"])
def test_what_dvc_would_record_is_what_the_bridge_saw(toy: Toy, name: str) -> None:
    before = (toy.root / "dvc.lock").read_text()

    assert store_of(toy).commit(name, made_from=seen_by(toy, name)) == []
    assert (toy.root / "dvc.lock").read_text() == before


def test_inputs_that_differ_are_named_and_nothing_is_recorded(toy: Toy) -> None:
    seen = seen_by(toy, "rows")
    toy.replace("raw/a.txt", "1", "7")
    toy.replace("params.yaml", "repeat: 1", "repeat: 2")
    toy.replace("dvc.yaml", "python -SB code/rows.py", "python -BS code/rows.py")
    before = (toy.root / "dvc.lock").read_bytes()
    runs = sorted((toy.root / ".dvc/cache/runs").rglob("*"))

    assert store_of(toy).commit("rows", made_from=seen) == ["dvc.yaml", "params.yaml", "raw"]
    assert (toy.root / "dvc.lock").read_bytes() == before
    assert sorted((toy.root / ".dvc/cache/runs").rglob("*")) == runs


def test_who_reads_the_lock_while_stages_are_recorded_always_finds_all_of_it(toy: Toy) -> None:
    whole = set(toy.project().lock().entries)
    is_done = threading.Event()
    seen: list[set[str]] = []

    def read() -> None:
        while not is_done.is_set():
            seen.append({line.strip(" :") for line in (toy.root / "dvc.lock").read_text().splitlines() if re.fullmatch(r"  \w+:", line)})

    reader = threading.Thread(target=read)
    reader.start()
    for name in ["rows", "side", "evens", "total"]:
        assert store_of(toy).commit(name, made_from=seen_by(toy, name)) == []
    is_done.set()
    reader.join()
    assert len(seen) > 100 and all(entries == whole for entries in seen)
    assert not list((toy.root / ".dvc/tmp").glob("dvc.lock*"))


def test_a_dependency_added_meanwhile_is_a_difference(toy: Toy) -> None:
    seen = seen_by(toy, "total")
    toy.replace("dvc.yaml", "[code/total.py, data/evens]", "[code/total.py, data/evens, raw]")

    assert store_of(toy).commit("total", made_from=seen) == ["raw"]


def test_restoring_asks_whether_the_cache_is_sound_before_it_touches_anything(toy: Toy) -> None:
    shutil.rmtree(toy.root / "data/evens")
    asked: list[str] = []

    assert not store_of(toy).restore("evens", is_sound=lambda id: asked.append(id) or False)
    assert asked == [toy.project().lock().entries["evens"].outs["data/evens"]] and not (toy.root / "data/evens").exists()
    assert store_of(toy).restore("evens", is_sound=lambda id: True)
    assert (toy.root / "data/evens/evens.txt").read_text() == "2\n4\n"


def test_what_was_never_made_cannot_be_restored(toy: Toy) -> None:
    toy.replace("params.yaml", "modulo: 2", "modulo: 9")

    assert not store_of(toy).restore("evens", is_sound=lambda id: True)
    assert (toy.root / "data/evens/evens.txt").read_text() == "2\n4\n"


def test_outputs_are_prepared_as_dvc_repro_does(toy: Toy) -> None:
    store_of(toy).prepare_outputs("evens", keep_links=False)
    store_of(toy).prepare_outputs("rows", keep_links=True)
    assert not (toy.root / "data/evens").exists()
    assert (toy.root / "data/rows/rows.txt").stat().st_nlink > 1
    store_of(toy).prepare_outputs("rows", keep_links=False)
    assert (toy.root / "data/rows/rows.txt").stat().st_nlink == 1


def test_one_output_is_checked_out_as_dvc_lock_records_it(toy: Toy) -> None:
    toy.write("data/evens/evens.txt", "lies")
    store_of(toy).checkout("data/evens")

    assert toy.stale() == set()


def enter(toy: Toy, mode: str, path: str, pid: int, cmd: str) -> None:
    info = {"pid": pid, "cmd": cmd}
    entries = {"write": {}, "read": {}} | {mode: {str(toy.root / path): [info] if mode == "read" else info}}
    (toy.root / ".dvc/tmp/rwlock").write_text(json.dumps(entries))


def entries(toy: Toy) -> dict[str, dict[str, object]]:
    return json.loads((toy.root / ".dvc/tmp/rwlock").read_text())


@pytest.mark.parametrize(
    ("mode", "path"), [("write", "data/evens"), ("read", "data/evens"), ("write", "data/rows"), ("write", "data/rows/deep"), ("write", "params.yaml")]
)
def test_a_claim_waits_for_who_writes_outputs_or_inputs_or_reads_outputs(toy: Toy, mode: str, path: str) -> None:
    enter(toy, mode, path, os.getpid(), "dvc elsewhere")
    with pytest.raises(DvcBusy, match="dvc elsewhere"), store_of(toy, patience_s=0.0).claim(toy.project().graph["evens"]):
        pass
    enter(toy, "read", "data/rows", os.getpid(), "dvc elsewhere")
    with store_of(toy, patience_s=0.0).claim(toy.project().graph["evens"]):
        assert str(toy.root / "data/evens") in entries(toy)["read"]


def test_no_process_that_has_ended_stands_in_the_way_of_a_claim(toy: Toy) -> None:
    stage = toy.project().graph["evens"]
    with subprocess.Popen(["true"]) as gone:
        wait_until(lambda: psutil.Process(gone.pid).status() == psutil.STATUS_ZOMBIE)
        # It has ended, and nobody has waited for it: DVC by itself takes it for alive.
        enter(toy, "write", "data/evens", gone.pid, "dvc repro")
        with store_of(toy, patience_s=0.0).claim(stage):
            pass
    enter(toy, "write", "data/evens", gone.pid, "dvc repro")
    with store_of(toy, patience_s=0.0).claim(stage):
        pass
    # Of an earlier materialization, whose number another process has now.
    enter(toy, "read", "data/evens", os.getppid(), "command of evens, run by a materialization")
    with store_of(toy, patience_s=0.0).claim(stage):
        pass
    assert entries(toy) == {"write": {}, "read": {}}


def test_a_claim_lasts_as_long_as_the_process_that_it_was_extended_to(toy: Toy) -> None:
    with subprocess.Popen(["sleep", "60"]) as command:
        with store_of(toy).claim(toy.project().graph["evens"]) as extend:
            extend(command.pid)
        assert [info["pid"] for info in entries(toy)["read"][str(toy.root / "data/evens")]] == [command.pid]
        command.kill()


def test_a_kill_amid_its_writing_leaves_the_register_whole(toy: Toy) -> None:
    enter(toy, "read", "raw", os.getpid(), "dvc elsewhere")
    before = entries(toy)
    with contextlib.suppress(KeyboardInterrupt), _WholeFiles.open(str(toy.root / ".dvc/tmp/rwlock"), "w", encoding="utf-8") as file:
        file.write('{"wri')
        raise KeyboardInterrupt

    assert entries(toy) == before
    with store_of(toy).claim(toy.project().graph["evens"]):
        assert set(entries(toy)["read"]) == {str(toy.root / "raw"), str(toy.root / "data/evens")}


_HOLD_LOCK = """
import sys, time
from dvc.repo import Repo
with Repo(sys.argv[1]) as repo, repo.lock:
    print("held", flush=True)
    time.sleep(60)
"""


def test_patience_with_another_dvc_command_has_an_end(toy: Toy) -> None:
    with subprocess.Popen([sys.executable, "-c", _HOLD_LOCK, str(toy.root)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "held\n"
        with pytest.raises(DvcBusy, match="waited 0 s for another DVC command"):
            store_of(toy, patience_s=0.1).checkout("data/evens")
        holder.kill()
