"""A broken file is a named problem of its artifact: no step fails once that was recorded, nothing stops the mirror, nothing hangs."""

import os
import sqlite3
from pathlib import Path

import dagster as dg
import pytest
import yaml

from orchestration.bridge.graph import GraphError
from orchestration.bridge.mirror import asset_key, outside_changes, report_outside_changes
from tests.hostility import Tried
from tests.orchestration.bridge.toy import STAGES, Toy

pytestmark = pytest.mark.hostile


@pytest.fixture(autouse=True)
def one_more(tried: Tried) -> None:
    """Each of these is one try; a test that fails says what got through."""
    tried("broken files before the bridge", 1)


# Appended to the program of `side` or of `total`.
PROBLEMS_OF_FILES = {
    "junk Parquet": ("side", 'open("data/side/side.parquet", "wb").write(b"junk")', "side.parquet is no Parquet that can be read"),
    "half a Parquet": ("side", 'open("data/side/side.parquet", "wb").write(b"PAR1" + b"x" * 99 + b"PAR1")', "side.parquet is no Parquet"),
    "junk metrics": ("total", 'write("data/total.json", "{junk")', "total.json is no JSON that can be read"),
    "deep metrics": ("total", 'write("data/total.json", "[" * 100000)', "total.json is no JSON that can be read"),
}
NOT_RECORDED = {
    "metrics that are no text": ('open("data/total.json", "wb").write(b"\\xff\\x00")', "total.json' cannot be used as metrics"),
    "FIFO": ('import os; os.mkfifo("data/side/pipe")', "data/side/pipe is a FIFO, and an artifact holds files only"),
    "socket": ('import socket; socket.socket(socket.AF_UNIX).bind("data/side/sock")', "data/side/sock is a socket"),
    "link to a device": ('import os; os.symlink("/dev/zero", "data/side/zero")', "data/side/zero is a device"),
    "name that is not UTF-8": ('open(b"data/side/\\xff", "w").close()', "data/side/\\xff has a name that is not UTF-8"),
}
GARBAGE = {"text": b"garbage", "nothing": b"", "no text": b"\xff\xfe\x00", "JSON": b"[1, 2]", "binary": os.urandom(9000)}


def append(toy: Toy, name: str, line: str) -> None:
    toy.write(f"code/{name}.py", (toy.root / f"code/{name}.py").read_text() + line + "\n")


@pytest.mark.parametrize("what", PROBLEMS_OF_FILES)
def test_a_file_that_is_not_what_its_name_says_is_told_with_the_artifact(toy: Toy, instance: dg.DagsterInstance, what: str) -> None:
    name, line, words = PROBLEMS_OF_FILES[what]
    append(toy, name, line)

    assert toy.dagster_make(instance, name).success
    made = instance.get_latest_materialization_event(asset_key(name)).asset_materialization
    append(toy, name, "# once more\nx = 1")
    toy.repro(name)
    told = [change for change in outside_changes(instance, toy.project()) if change.asset_key == asset_key(name)]

    for event in (made, *told):
        assert words in str(event.metadata["problems"].value)
    assert len(told) == 1 and name not in toy.stale()


@pytest.mark.parametrize("what", NOT_RECORDED)
def test_what_is_no_file_is_named_and_nothing_is_recorded(toy: Toy, instance: dg.DagsterInstance, what: str) -> None:
    line, words = NOT_RECORDED[what]
    name = "total" if "metrics" in what else "side"
    before = toy.project().lock().entries[name]
    append(toy, name, line)

    failure = next(event for event in toy.dagster_make(instance, name).all_events if event.event_type_value == "STEP_FAILURE")

    assert words in failure.event_specific_data.error_display_string and toy.project().lock().entries[name] == before
    # The others are judged and told as ever.
    assert {"rows", "report"} <= set(report_outside_changes(instance, toy.project()))
    assert toy.stale() == {name}
    assert name == "total" or any(words in cause.text for cause in toy.status()["side"].causes)


def test_a_pipe_among_the_inputs_is_a_cause_and_no_stop(toy: Toy) -> None:
    os.mkfifo(toy.root / "raw/pipe")
    (toy.root / "code/self").symlink_to("self")

    causes = {name: [cause.text for cause in status.causes] for name, status in toy.status().items()}

    assert [text for name in ("rows", "side") for text in causes[name] if "raw/pipe is a FIFO" in text]
    assert causes["report"] == []


@pytest.mark.parametrize(
    "entry",
    ["text", 7, [1], {"cmd": 7}, {"cmd": "x", "deps": "raw"}, {"outs": [{"md5": "x"}]}, {"params": [1]}, {"outs": [{"path": "x", "md5": [1]}]}],
)
def test_a_malformed_entry_of_dvc_lock_is_a_problem_of_its_stage_alone(toy: Toy, instance: dg.DagsterInstance, entry: object) -> None:
    lock = yaml.safe_load((toy.root / "dvc.lock").read_text())
    lock["stages"]["side"] = entry
    toy.write("dvc.lock", yaml.safe_dump(lock))

    assert report_outside_changes(instance, toy.project()) == [name for name in STAGES if name != "side"]
    assert toy.stale() == {"side"}
    assert "the entry of side" in toy.status()["side"].causes[0].text


@pytest.mark.parametrize("where", ["state.db", "memory", "locks"])
@pytest.mark.parametrize("garbage", [*GARBAGE, "a folder"])
def test_garbage_in_the_bridges_own_state_changes_no_answer(toy: Toy, where: str, garbage: str) -> None:
    state = toy.root / ".figment"
    files = [state / where] if where.endswith(".db") else sorted((state / where).glob("*.*"))
    assert files
    for path in [*files, *state.glob("state.db-*")]:
        put(path, GARBAGE.get(garbage))

    assert toy.stale() == set()
    toy.replace("params.yaml", "word: tea", "word: ale")
    assert toy.stale() == {"side"}
    if garbage != "a folder" or where != "locks":
        assert toy.make("side").how == "ran"


def put(path: Path, content: bytes | None) -> None:
    path.unlink()
    path.mkdir() if content is None else path.write_bytes(content)


def test_a_database_whose_pages_were_damaged_is_set_aside_and_made_anew(toy: Toy) -> None:
    path = toy.root / ".figment/state.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = bytearray(path.read_bytes())
    for place in range(4096, len(content), 4096):
        content[place] = 0x77
    path.write_bytes(content)

    answers, words = [], ""
    for _ in range(4):
        try:
            answers.append(toy.stale())
        except GraphError as error:
            words = str(error)

    assert answers[-1] == set() and list(path.parent.glob("state.db.damaged-*"))
    assert not words or "state.db is damaged" in words
