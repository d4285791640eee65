import json
import os
import shutil
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest

from orchestration.bridge.materialize import InputsMoved, Request, StageCancelled, StageFailed, materialize, running_stages
from tests.orchestration.bridge.toy import Toy, copy_of


def wait_for(path: Path, *, seconds: float = 20.0) -> None:
    deadline = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear within {seconds} s"
        time.sleep(0.01)


def slow(toy: Toy, name: str, *, before: str = "") -> Path:
    """Make the stage's command say that it has begun and then wait for a sign; its lines after that are as before."""
    begun = toy.root / ".runs/begun"
    lines = f"""
        import os, time
        {before or "pass"}
        open(".runs/begun", "w").close()
        while not os.path.exists(".runs/go"):
            time.sleep(0.01)
    """
    path = f"code/{name}.py"
    text = (toy.root / path).read_text()
    head = f'begin("{name}")\n'
    toy.write(path, text.replace(head, head + textwrap.dedent(lines)))
    return begun


def go(toy: Toy) -> None:
    (toy.root / ".runs/go").touch()


def lock_entry(toy: Toy, name: str) -> object:
    return toy.project().lock().entries.get(name)


# ---- what is done, and what is not ---------------------------------------------------------------------------------------------------


def test_an_unchanged_stage_does_not_run(toy: Toy) -> None:
    before = toy.runs("rows")

    done = toy.make("rows")

    assert done.how == "fresh" and toy.runs("rows") == before
    assert done.id == toy.status()["rows"].id and done.content.files == 2


def test_a_changed_stage_runs_once_and_is_then_fresh(toy: Toy) -> None:
    toy.replace("params.yaml", "modulo: 2", "modulo: 1")
    before = toy.runs("evens")

    done = toy.make("evens")

    assert done.how == "ran" and toy.runs("evens") == before + 1
    assert [cause.kind for cause in done.causes] == ["param"]
    assert done.outcome is not None and done.outcome.returncode == 0
    assert toy.make("evens").how == "fresh"


def test_a_forced_stage_runs_although_it_is_fresh(toy: Toy) -> None:
    before = toy.runs("evens")

    done = toy.make("evens", force=True)

    assert (done.how, toy.runs("evens")) == ("ran", before + 1)
    assert done.causes == ()


def test_going_back_restores_what_was_made_before_without_a_run(toy: Toy) -> None:
    first = toy.make("evens").id
    toy.replace("params.yaml", "modulo: 2", "modulo: 3")
    second = toy.make("evens").id
    toy.replace("params.yaml", "modulo: 3", "modulo: 2")
    before = toy.runs("evens")

    done = toy.make("evens")

    assert (done.how, done.id, toy.runs("evens")) == ("restored", first, before)
    assert second != first
    assert (toy.root / "data/evens/evens.txt").read_text() == "2\n4\n"
    assert "evens" not in toy.dvc_stale()


def test_new_params_never_get_the_output_of_old_ones(toy: Toy) -> None:
    """The trap of DVC's own restore: it may check out what dvc.lock records, under parameters that changed since."""
    toy.replace("params.yaml", "modulo: 2", "modulo: 5")

    assert toy.make("evens").how == "ran"
    assert (toy.root / "data/evens/evens.txt").read_text() == "5\n"
    toy.replace("params.yaml", "modulo: 5", "modulo: 3")
    assert toy.make("evens").how == "ran"
    assert (toy.root / "data/evens/evens.txt").read_text() == "3\n"
    entry = toy.project().lock().entries["evens"]
    assert entry.params["params.yaml"] == {"evens.modulo": 3} and entry.outs["data/evens"] == toy.project().content("data/evens").id


def test_a_deleted_output_is_restored_from_the_run_cache(toy: Toy) -> None:
    shutil.rmtree(toy.root / "data/evens")
    before = toy.runs("evens")

    assert toy.make("evens").how == "restored"
    assert toy.runs("evens") == before and toy.stale() == set()


def test_a_damaged_cache_object_is_not_restored_but_made_again(toy: Toy) -> None:
    project = toy.project()
    md5 = project.store.md5_by_relpath(toy.root / "data/evens")["evens.txt"]
    stored = project.cache_dir / "files/md5" / md5[:2] / md5[2:]
    shutil.rmtree(toy.root / "data/evens")
    stored.chmod(0o644)
    stored.write_text("666\n")
    stored.chmod(0o444)
    told: list[str] = []

    done = toy.make("evens", log=told.append)

    assert done.how == "ran"
    assert any("damaged" in line and md5 in line for line in told)
    assert (toy.root / "data/evens/evens.txt").read_text() == stored.read_text() == "2\n4\n"


def test_a_forced_run_mends_a_damaged_object_and_is_not_replaced_by_it(toy: Toy) -> None:
    project = toy.project()
    md5 = project.store.md5_by_relpath(toy.root / "data/rows")["rows.txt"]
    stored = project.cache_dir / "files/md5" / md5[:2] / md5[2:]
    toy.write("data/rows/rows.txt", "a copy of its own")
    stored.chmod(0o644)
    stored.write_text("damage")
    stored.chmod(0o444)

    toy.make("rows", force=True)

    assert (toy.root / "data/rows/rows.txt").read_text() == stored.read_text() == "1\n2\n3\n4\n5\n"
    assert toy.stale() == set()


# ---- edits while a command runs -----------------------------------------------------------------------------------------------------------

# What a stage lists of a file of code: the version that the prelude writes.
RECORDED_AS = {"code/settings.py": "versions.yaml"}


@pytest.mark.parametrize(
    ("path", "old", "new"),
    [
        ("raw/a.txt", "1\n", "9\n"),
        ("params.yaml", "repeat: 2", "repeat: 3"),
        ("libraries.yaml", "13.0.0", "13.1.0"),
        ("code/settings.py", "def write", "NEW = 1\n\n\ndef write"),
        ("dvc.yaml", "python -SB code/rows.py", "python -S -B code/rows.py"),
    ],
)
def test_what_is_made_while_an_input_changes_is_withheld_and_the_next_run_makes_it_right(toy: Toy, path: str, old: str, new: str) -> None:
    toy.replace("params.yaml", "repeat: 1", "repeat: 2")
    begun = slow(toy, "rows")
    recorded = lock_entry(toy, "rows")
    background = toy.in_background("rows")
    wait_for(begun)
    toy.replace(path, old, new)
    go(toy)

    with pytest.raises(InputsMoved, match=rf"rows: .*{RECORDED_AS.get(path, path.partition('/')[0])}.* changed while its command ran"):
        background.result()

    assert lock_entry(toy, "rows") == recorded
    causes = [cause.text for cause in toy.status()["rows"].causes]
    assert any("made by a run during which" in text for text in causes), causes
    assert "rows" in toy.dvc_stale()
    assert toy.make("rows").how == "ran"
    assert "rows" not in toy.stale() | toy.dvc_stale()


def test_a_withheld_output_is_forgotten_once_dvc_has_made_the_stage_through_the_other_door(toy: Toy) -> None:
    toy.replace("params.yaml", "repeat: 1", "repeat: 2")
    begun = slow(toy, "rows")
    background = toy.in_background("rows")
    wait_for(begun)
    toy.replace("raw/a.txt", "1\n", "9\n")
    go(toy)
    with pytest.raises(InputsMoved):
        background.result()

    toy.repro()

    assert toy.stale() == toy.dvc_stale() == set()
    toy.replace("params.yaml", "repeat: 2", "repeat: 3")
    assert [cause.kind for cause in toy.status()["rows"].causes] == ["param"]


def test_an_edit_that_is_taken_back_before_the_end_leaves_the_stage_stale_when_bytes_differ(toy: Toy) -> None:
    """Nobody can see such an edit afterwards but by the bytes; those disagree with dvc.lock only if the command read it."""
    begun = slow(toy, "rows")
    background = toy.in_background("rows")
    wait_for(begun)
    toy.replace("raw/a.txt", "1\n", "9\n")
    toy.replace("raw/a.txt", "9\n", "1\n")
    go(toy)

    assert background.result().how == "ran"
    assert (toy.root / "data/rows/rows.txt").read_text().startswith("1\n")


def test_an_edit_between_the_end_of_the_command_and_the_recording_is_found_too(toy: Toy, monkeypatch: pytest.MonkeyPatch) -> None:
    import orchestration.bridge.materialize as engine

    toy.replace("params.yaml", "repeat: 1", "repeat: 2")
    recorded = lock_entry(toy, "rows")
    check = engine._drop_damaged_objects
    original = engine.StageStore.commit

    def edit_then_commit(self, name, *, made_from):
        toy.replace("params.yaml", "repeat: 2", "repeat: 3")
        return original(self, name, made_from=made_from)

    monkeypatch.setattr(engine.StageStore, "commit", edit_then_commit)
    with pytest.raises(InputsMoved, match="params.yaml changed"):
        toy.make("rows")

    assert check is engine._drop_damaged_objects
    assert lock_entry(toy, "rows") == recorded
    assert "rows" in toy.stale()


# ---- failures -----------------------------------------------------------------------------------------------------------------------------


def test_a_failing_command_speaks_first_and_records_nothing(toy: Toy) -> None:
    toy.replace("code/evens.py", "modulo = int", 'raise SystemExit("figment: the moon is full")\nmodulo = int')
    recorded = lock_entry(toy, "evens")

    with pytest.raises(StageFailed) as raised:
        toy.make("evens")

    assert str(raised.value).splitlines()[0] == "figment: the moon is full"
    assert "evens ended with status 1" in str(raised.value) and "nothing was recorded" in str(raised.value)
    assert lock_entry(toy, "evens") == recorded and "evens" in toy.stale()


def test_after_a_failure_dvc_may_write_the_output_again(toy: Toy) -> None:
    toy.replace("code/evens.py", "modulo = int", 'raise SystemExit("no")\nmodulo = int')
    with pytest.raises(StageFailed):
        toy.make("evens")

    assert json.loads((toy.root / ".dvc/tmp/rwlock").read_text()) == {"write": {}, "read": {}}


def test_a_command_that_a_signal_ends_says_so(toy: Toy) -> None:
    toy.replace("code/evens.py", "modulo = int", "import os; os.kill(os.getpid(), 9)\nmodulo = int")

    with pytest.raises(StageFailed, match="evens ended by signal 9") as raised:
        toy.make("evens")
    assert raised.value.outcome is not None and raised.value.outcome.signal == 9


def test_a_command_that_does_not_write_its_output_records_nothing(toy: Toy) -> None:
    toy.replace("code/evens.py", 'write("data/evens/evens.txt"', 'write("data/elsewhere.txt"')

    with pytest.raises(StageFailed, match="ended well but did not write data/evens, which dvc.yaml names as its output"):
        toy.make("evens")
    assert "evens" in toy.stale()


def test_a_missing_input_names_who_writes_it(toy: Toy) -> None:
    shutil.rmtree(toy.root / "data/rows")
    before = toy.runs("evens")

    with pytest.raises(StageFailed, match="evens: its input data/rows does not exist; materialize rows first"):
        toy.make("evens", force=True)
    shutil.rmtree(toy.root / "raw")
    with pytest.raises(StageFailed, match="side: its input raw does not exist; add it, or take it out of the deps of side"):
        toy.make("side")
    assert toy.runs("evens") == before


def test_an_unknown_stage_is_an_error_with_the_near_miss(toy: Toy) -> None:
    with pytest.raises(Exception, match="did you mean 'evens'"):
        toy.make("even")


# ---- outputs before and after -------------------------------------------------------------------------------------------------------------


def test_outputs_that_do_not_persist_are_gone_before_the_command_runs(toy: Toy) -> None:
    toy.write("data/evens/left.txt", "of a run long ago")

    toy.make("evens", force=True)

    assert sorted(path.name for path in (toy.root / "data/evens").iterdir()) == ["evens.txt"]


def test_outputs_that_persist_are_kept_and_writable_unless_the_stage_replaces_files(toy: Toy) -> None:
    place = toy.root / "data/rows/rows.txt"
    assert place.stat().st_nlink > 1, "the toy is expected to be linked to its cache"
    see = """
import os
info = os.stat("data/rows/rows.txt")
pathlib.Path(".runs/mode").write_text(f"{info.st_nlink} {oct(info.st_mode)[-3:]}")
lines ="""
    toy.replace("code/rows.py", "lines =", see)

    original = (toy.root / "dvc.yaml").read_text()
    toy.replace("dvc.yaml", "automation: on_data}\n  evens", "automation: on_data, replaces_files: true}\n  evens")
    toy.make("rows")
    links, mode = (toy.root / ".runs/mode").read_text().split()
    assert int(links) > 1 and mode == "444"

    toy.write("dvc.yaml", original)
    toy.make("rows", force=True)
    assert (toy.root / ".runs/mode").read_text() == "1 644"


def test_a_stage_of_several_outputs_and_one_named_like_a_variant_are_made(toy: Toy) -> None:
    toy.replace(
        "dvc.yaml",
        "stages:\n",
        "stages:\n  pair:\n    foreach: [x, y]\n    do:\n      cmd: mkdir -p two/${item} && echo ${item} > two/${item}/a && echo b > two/${item}.b\n"
        "      deps: [raw]\n      outs:\n        - two/${item}\n        - two/${item}.b\n",
    )

    done = toy.make("pair@x")

    assert done.how == "ran" and done.content.files == 2 and len(done.id) == 32
    assert toy.stale() == toy.dvc_stale() == {"pair@y"}


def test_a_stage_with_a_working_directory_and_several_lines_is_made(toy: Toy) -> None:
    (toy.root / "sub").mkdir()
    toy.replace(
        "dvc.yaml",
        "stages:\n",
        "stages:\n  inner:\n    wdir: sub\n    cmd: [pwd > where, cat ../raw/a.txt > copy]\n    deps: [../raw]\n    outs: [where, copy]\n",
    )

    toy.make("inner")

    assert (toy.root / "sub/where").read_text().strip() == str(toy.root / "sub")
    assert toy.stale() == toy.dvc_stale() == set()


# ---- others beside us ----------------------------------------------------------------------------------------------------------------------


def test_two_materializations_at_once_are_one_run(toy: Toy) -> None:
    begun = slow(toy, "rows")
    before = toy.runs("rows")
    told: list[str] = []
    first = toy.in_background("rows")
    wait_for(begun)
    threading.Timer(0.3, go, [toy]).start()

    second = toy.make("rows", log=told.append)

    assert (first.result().how, second.how) == ("ran", "fresh")
    assert toy.runs("rows") == before + 1
    assert told == [f"rows is being materialized by process {os.getpid()} (figment); waiting for it"]


_MAKE = """
import sys
from pathlib import Path
from tests.orchestration.bridge.toy import Toy
done = Toy(Path(sys.argv[1])).make(sys.argv[2])
print(done.how)
"""


def test_processes_that_record_siblings_side_by_side_lose_nothing(toy: Toy, project_root: Path) -> None:
    siblings = "".join(
        f"  s{n}:\n    cmd: mkdir -p data/s{n} && sleep 0.2 && echo {n} > data/s{n}/x\n    deps: [raw]\n    outs: [data/s{n}]\n" for n in range(3)
    )
    toy.replace("dvc.yaml", "stages:\n", "stages:\n" + siblings)

    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _MAKE, str(toy.root), f"s{n}"], cwd=project_root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for n in range(3)
    ]
    answers = [process.communicate(timeout=100) for process in processes]

    assert [out.strip() for out, _ in answers] == ["ran"] * 3, answers
    assert toy.stale() == toy.dvc_stale() == set()


def test_a_dvc_repro_of_another_stage_at_the_same_time_is_waited_for_and_nothing_is_lost(toy: Toy) -> None:
    toy.replace("params.yaml", "word: tea", "word: ale")
    toy.replace("params.yaml", "modulo: 2", "modulo: 1")
    begun = slow(toy, "evens")
    # What the prelude writes must not change under DVC's hands: it is written before.
    assert toy.stale() == {"evens", "side"}
    repro = subprocess.Popen([sys.executable, "-m", "dvc", "repro", "-q", "-s", "evens"], cwd=toy.root)
    wait_for(begun)
    assert toy.make("side").how == "ran"
    # `rows` is being read by the command of DVC: its writer has to wait.
    told: list[str] = []
    toy.replace("params.yaml", "repeat: 1", "repeat: 2")
    threading.Timer(1.0, go, [toy]).start()
    assert toy.make("rows", log=told.append).how == "ran"

    assert repro.wait(60) == 0
    assert any("waiting for another DVC command" in line for line in told), told
    assert {"rows", "evens", "side"} <= set(toy.project().lock().entries)
    assert toy.stale() == toy.dvc_stale() and not {"rows", "side"} & toy.stale()


def test_a_write_outside_the_stages_own_folder_is_told(toy: Toy) -> None:
    toy.replace("code/side.py", 'write("data/side', 'write("data/rows/sneaky.txt", "x")\nwrite("notes.txt", "x")\nwrite("data/side')

    done = toy.make("side")

    assert done.trespasses == ("data/rows/sneaky.txt (new)", "notes.txt (new)")
    assert toy.make("side", force=True).trespasses == ("data/rows/sneaky.txt (changed)", "notes.txt (changed)")


def test_a_neighbour_that_is_made_meanwhile_is_no_trespass(toy: Toy) -> None:
    begun = slow(toy, "rows")
    background = toy.in_background("rows")
    wait_for(begun)
    toy.make("side", force=True)
    go(toy)

    assert background.result().trespasses == ()


def test_cancelling_ends_the_whole_tree_and_records_nothing(toy: Toy) -> None:
    begun = slow(toy, "rows", before='import subprocess; open(".runs/child", "w").write(str(subprocess.Popen(["sleep", "600"]).pid))')
    recorded = lock_entry(toy, "rows")

    with pytest.raises(StageCancelled, match="rows was cancelled after .* nothing was recorded"):
        materialize(toy.project(), Request("rows", "figment"), toy.surroundings(is_cancelled=begun.exists))

    child = int((toy.root / ".runs/child").read_text())
    # A process that has ended may stand in the table a moment longer, until its adopted parent has looked.
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE
    assert lock_entry(toy, "rows") == recorded and "rows" in toy.stale()


def test_after_a_kill_nothing_runs_on_nothing_is_recorded_and_the_next_run_is_right(toy: Toy, project_root: Path) -> None:
    toy.replace("params.yaml", "repeat: 1", "repeat: 2")
    begun = slow(toy, "rows", before='open(".runs/pid", "w").write(str(os.getpid())); write("data/rows/half.txt", "half")')
    recorded = lock_entry(toy, "rows")
    process = subprocess.Popen([sys.executable, "-c", _MAKE, str(toy.root), "rows"], cwd=project_root)
    wait_for(begun)
    assert set(running_stages(toy.project())) == {"rows"}

    process.kill()
    process.wait()

    command, deadline = int((toy.root / ".runs/pid").read_text()), time.monotonic() + 20
    while psutil.pid_exists(command) and psutil.Process(command).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "the command outlived who asked for it"
        time.sleep(0.05)
    assert running_stages(toy.project()) == {} and lock_entry(toy, "rows") == recorded
    assert "rows" in toy.stale() and "rows" in toy.dvc_stale()
    toy.replace("code/rows.py", 'write("data/rows/half.txt", "half")', 'pathlib.Path("data/rows/half.txt").unlink(missing_ok=True)')
    go(toy)
    assert toy.make("rows").how == "ran"
    assert "rows" not in toy.stale() | toy.dvc_stale()


def test_the_door_and_the_outcome_are_remembered(toy: Toy) -> None:
    toy.make("rows", force=True)

    connection = toy.project().store.connection()
    stage, id, door, outcome = connection.execute("SELECT stage, id, door, outcome FROM events ORDER BY number DESC LIMIT 1").fetchone()

    assert (stage, id, door, outcome) == ("rows", toy.status()["rows"].id, "figment", "ran")


def test_a_project_in_a_path_with_blanks_and_signs_is_made_from_anywhere(made_template: Toy, tmp_path: Path) -> None:
    (tmp_path / "my [odd] project, ü").mkdir()
    toy = copy_of(made_template, tmp_path / "my [odd] project, ü" / "toy")
    toy.replace("params.yaml", "modulo: 2", "modulo: 1")

    toy.make_all()

    assert toy.stale() == toy.dvc_stale() == set()
