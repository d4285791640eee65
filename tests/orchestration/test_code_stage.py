"""Code versions as data, through every door, with the real stage `code`: what an edit touches is made again, and nothing else."""

import importlib.metadata
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from orchestration.bridge.mirror import report_outside_changes
from orchestration.runs.dagster_run import open_instance
from tests.orchestration.bridge.toy import Toy, copy_of
from tests.orchestration.cli.figment import figment
from tests.orchestration.code_toy import STAGES, build_code_toy, find_the_stage_code


@pytest.fixture(autouse=True)
def stage_code_is_found(environment_as_found: None, monkeypatch: pytest.MonkeyPatch, project_root: Path) -> None:
    find_the_stage_code(monkeypatch, project_root)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, project_root: Path) -> Iterator[Toy]:
    with pytest.MonkeyPatch.context() as monkeypatch:
        find_the_stage_code(monkeypatch, project_root)
        toy = build_code_toy(tmp_path_factory.mktemp("code") / "made")
        with open_instance(toy.root) as instance:
            report_outside_changes(instance, toy.project())
        yield toy


@pytest.fixture
def toy(made: Toy, tmp_path: Path) -> Toy:
    """The toy, everything made, committed and known to Dagster."""
    return copy_of(made, tmp_path / "toy")


def stale(toy: Toy) -> set[str]:
    """What `figment status` would not call fresh."""
    return {one["name"] for one in figment(toy.root, "status", "--json").json["artifacts"] if one["state"] != "fresh"}


def bump(toy: Toy) -> None:
    """As after a pull of what a machine with another numpy has made and recorded."""
    toy.replace("code.yaml", f"numpy: '{importlib.metadata.version('numpy')}'", "numpy: '1.0'")
    toy.dvc("commit", "-q", "-f", "rows", "train@1", "train@2", "report", "code")


def tamper_with_a_cache_object(toy: Toy) -> None:
    project = toy.project()
    md5 = project.store.md5_by_relpath(toy.root / "data/report")["report.md"]
    path = project.cache_dir / "files/md5" / md5[:2] / md5[2:]
    path.chmod(0o644)
    path.write_text("damage")
    path.chmod(0o444)


def rerun_with_equal_bytes(toy: Toy) -> None:
    toy.replace("params.yaml", "note: first", "note: second")
    assert toy.make("rows").how == "ran"


def replace(path: str, old: str, new: str) -> Callable[[Toy], None]:
    return lambda toy: toy.replace(path, old, new)


MATRIX: dict[str, tuple[Callable[[Toy], None], set[str]]] = {
    "input byte changed": (replace("raw/a.txt", "3", "8"), {"fetch"}),
    "input removed": (lambda toy: (toy.root / "raw/b.txt").unlink(), {"fetch"}),
    "code changed": (replace("training/losses.py", "len(text)", "len(text) + 1"), {"train@1", "train@2"}),
    "shared code changed": (replace("assets/shared.py", "ran", "did run"), {"rows", "train@1", "train@2", "report"}),
    "comment changed": (replace("training/losses.py", "    return", "    # why\n    return"), set()),
    "docstring changed": (replace("assets/shared.py", "Reading and writing", "Writing and reading"), set()),
    "code of a source changed": (replace("assets/fetch.py", 'begin("fetch")', 'begin("fetch")\nx = 1'), set()),
    "param changed": (replace("params.yaml", "width: 8", "width: 9"), {"train@1", "train@2"}),
    "unrelated param changed": (replace("params.yaml", "x: 1", "x: 2"), set()),
    "output tampered": (lambda toy: toy.write("data/rows/rows.txt", "666\n"), {"rows", "train@1", "train@2"}),
    "output deleted": (lambda toy: shutil.rmtree(toy.root / "data/train@1"), {"train@1", "report"}),
    "cache object tampered": (tamper_with_a_cache_object, {"report"}),
    "upstream rerun with equal bytes": (rerun_with_equal_bytes, set()),
    "library bumped": (bump, {"rows", "train@1", "train@2", "report"}),
}


@pytest.mark.parametrize("done", MATRIX)
def test_dvc_dagster_and_figment_agree_on_every_artifact_and_agree_again_once_it_is_made(toy: Toy, done: str) -> None:
    edit, expected = MATRIX[done]
    edit(toy)
    with open_instance(toy.root) as instance:
        report_outside_changes(instance, toy.project())

        assert {"figment": stale(toy), "DVC": toy.dvc_stale(), "Dagster": toy.dagster_stale(instance)} == dict.fromkeys(
            ("figment", "DVC", "Dagster"), expected
        )

        assert figment(toy.root, "materialize", "--stale").code == 0
        assert stale(toy) == toy.dvc_stale() == toy.dagster_stale(instance) == toy.repro(dry=True) == set()
        assert report_outside_changes(instance, toy.project()) == []


def test_a_comment_runs_code_alone_under_plain_dvc_and_nothing_else(toy: Toy) -> None:
    before = {name: toy.runs(name) for name in STAGES}
    toy.replace("assets/shared.py", "def begin", "# a note\ndef begin")

    assert toy.dvc_stale() == {"code"}
    assert toy.repro() == {"code"}
    assert {name: toy.runs(name) for name in STAGES} == before
    assert toy.dvc_stale() == stale(toy) == set()


def test_dvc_repro_of_one_artifact_runs_code_first_and_makes_what_its_hash_moved(toy: Toy) -> None:
    toy.replace("training/losses.py", "len(text)", "len(text) + 1")

    assert toy.repro("train@2") == {"code", "train@2"}
    assert toy.dvc_stale() == stale(toy) == {"train@1", "report"}
    assert toy.repro() == {"train@1", "report"}


def test_a_source_alone_is_forced_without_a_look_at_code(toy: Toy) -> None:
    toy.replace("assets/shared.py", "ran", "did run")

    assert toy.repro("fetch", single_item=True, force=True) == {"fetch"}
    assert toy.runs("rows") == 1


def test_an_experiment_runs_what_its_parameter_touches(toy: Toy) -> None:
    toy.dvc("exp", "run", "-q", "-S", "train.width=9")

    assert {name: toy.runs(name) for name in STAGES} == {"fetch": 1, "rows": 1, "train@1": 2, "train@2": 2, "report": 1}
    assert toy.dvc_stale() == stale(toy) == set()


def test_a_second_clone_that_pulled_is_fresh_and_its_git_is_clean(toy: Toy, tmp_path: Path) -> None:
    toy.dvc("remote", "add", "-q", "-d", "store", str(tmp_path / "store"))
    toy.dvc("push", "-q")
    toy.git_commit()
    subprocess.run(["git", "clone", "-q", str(toy.root), str(tmp_path / "clone")], check=True)
    clone = Toy(tmp_path / "clone")
    clone.dvc("pull", "-q")

    assert clone.dvc_stale() == stale(clone) == clone.repro(dry=True) == set()
    assert clone.shell("git", "status", "--short") == ""


def test_after_installing_a_library_forcing_code_records_the_new_release(toy: Toy) -> None:
    bump(toy)
    # What stands in the file is what another machine had; here it is the release that is installed.
    toy.git_commit()

    assert toy.repro("code", single_item=True, force=True) == {"code"}
    assert toy.dvc_stale() == {"rows", "train@1", "train@2", "report"}


def test_a_night_makes_again_what_its_data_touch_and_code_first(toy: Toy) -> None:
    toy.replace("raw/a.txt", "3", "8")
    toy.replace("assets/shared.py", "def begin", "# a note\ndef begin")

    assert figment(toy.root, "nightly").code == 0
    assert {name: toy.runs(name) for name in STAGES} == {"fetch": 2, "rows": 2, "train@1": 1, "train@2": 1, "report": 1}
    assert stale(toy) == toy.dvc_stale() == {"train@1", "train@2"}


@pytest.mark.parametrize("verb", ["status", "why", "materialize", "nightly", "export"])
def test_the_stage_code_is_no_artifact_to_the_command_line(toy: Toy, verb: str) -> None:
    answer = figment(toy.root, verb, "code", *(["elsewhere"] if verb == "export" else []))

    assert answer.code == 2
    assert "code is no artifact: it writes parameters of others (code.yaml)" in answer.err


def test_code_that_cannot_be_followed_is_said_once_for_each_artifact_and_the_source_is_fresh(toy: Toy) -> None:
    (toy.root / "training/train.py").unlink()

    artifacts = figment(toy.root, "status", "--json").json["artifacts"]

    (cause,) = artifacts[1]["causes"]
    assert (artifacts[0]["state"], artifacts[1]["state"], cause["kind"]) == ("fresh", "stale", "prelude")
    assert "code: dvc.yaml: train: no module training.train below" in cause["text"]


# ---- why --------------------------------------------------------------------------------------------------------------------------------


def why(toy: Toy, name: str) -> dict:
    return figment(toy.root, "why", name, "--json").json


def test_why_names_the_files_that_made_an_artifact_and_its_libraries(toy: Toy) -> None:
    source = why(toy, "train@1")["made_from"]

    assert source["code"]["files"] == [
        "assets/__init__.py",
        "assets/shared.py",
        "training/__init__.py",
        "training/losses.py",
        "training/train.py",
    ]
    assert source["libraries"] == {"numpy": importlib.metadata.version("numpy")}
    assert set(source["params"]) == {"params.yaml"}
    assert why(toy, "fetch")["made_from"]["code"] is None


EDITS = (("training/losses.py", "def loss", "from training import more\n\n\ndef loss"), ("training/train.py", "begin(", "print(1)\nbegin("))
CHANGED = ["training/losses.py (changed)", "training/more.py (new)", "training/train.py (changed)"]


def edit(toy: Toy) -> None:
    for one in EDITS:
        toy.replace(*one)
    toy.write("training/more.py", "")
    toy.replace("assets/shared.py", "def begin", "# a note\ndef begin")


def test_why_names_the_files_that_changed_since(toy: Toy) -> None:
    edit(toy)

    assert why(toy, "train@2")["code_changed"] == CHANGED
    said = figment(toy.root, "why", "train@2").out
    assert "code that changed since:\n  training/losses.py (changed)\n  training/more.py (new)\n  training/train.py (changed)\n" in said
    assert why(toy, "rows")["code_changed"] == []


def test_why_in_a_clone_that_remembers_nothing_finds_the_files_in_git(toy: Toy, tmp_path: Path) -> None:
    subprocess.run(["git", "clone", "-q", str(toy.root), str(tmp_path / "clone")], check=True)
    clone = Toy(tmp_path / "clone")
    edit(clone)
    clone.git_commit()

    assert why(clone, "train@2")["code_changed"] == CHANGED


def test_why_says_plainly_that_the_files_are_not_known(toy: Toy) -> None:
    edit(toy)
    stale(toy)
    shutil.rmtree(toy.root / ".figment/memory/code")
    shutil.rmtree(toy.root / ".git")

    assert why(toy, "train@2")["code_changed"] is None
    assert "which files is not known: neither .figment/memory nor git has that version of the code" in figment(toy.root, "why", "train@2").out


@pytest.mark.parametrize("door", ["dagster", "figment"])
def test_an_edit_while_a_stage_runs_leaves_it_withheld_and_one_of_comments_does_not(toy: Toy, door: str) -> None:
    wait = "import time\nfrom pathlib import Path\nPath('.runs/begun').touch()\nwhile not Path('.runs/go').exists(): time.sleep(0.01)\n"
    begun = toy.root / ".runs/begun"
    toy.replace("assets/rows.py", 'begin("rows")\n', f'begin("rows")\n{wait}')
    for edit_of, kept in (("# a note\n", True), ("x = 1\n", False)):
        (toy.root / ".runs/go").unlink(missing_ok=True)
        begun.unlink(missing_ok=True)
        recorded = toy.project().lock().entries["rows"]

        def change_and_go(text: str = edit_of) -> None:
            with (toy.root / "assets/shared.py").open("a") as stream:
                stream.write(text)
            (toy.root / ".runs/go").touch()

        background = _when_it_exists(begun, change_and_go)
        if door == "dagster":
            with open_instance(toy.root) as instance:
                done = toy.dagster_make(instance, "rows", force=True).success
        else:
            done = figment(toy.root, "materialize", "rows", "--force").code == 0
        background.join(60)
        assert done is kept
        assert ("rows" in stale(toy)) is not kept
        assert (toy.project().lock().entries["rows"] == recorded) is not kept


def _when_it_exists(path: Path, action: Callable[[], None]):
    import threading
    import time

    def wait() -> None:
        deadline = time.monotonic() + 60
        while not path.exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        action()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread
