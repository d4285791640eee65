"""What docs/sharing.md says of several people on one project, with real git and DVC: each has a clone, and all push to one folder."""

import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.orchestration.bridge.toy import STAGES, Toy
from tests.orchestration.cli.figment import figment


class Lab(NamedTuple):
    """One person who made everything and pushed it, and another with a clone that has nothing yet."""

    first: Toy
    second: Toy


@pytest.fixture
def lab(known_toy: Toy, tmp_path: Path) -> Lab:
    known_toy.dvc("remote", "add", "--default", "lab", str(tmp_path / "store"))
    known_toy.git_commit()
    known_toy.dvc("push", "--run-cache")
    subprocess.run(["git", "clone", "-q", "--bare", str(known_toy.root), str(tmp_path / "lab.git")], check=True)
    known_toy.shell("git", "remote", "add", "origin", str(tmp_path / "lab.git"))
    return Lab(known_toy, clone(tmp_path, "second"))


def clone(folder: Path, name: str) -> Toy:
    subprocess.run(["git", "clone", "-q", str(folder / "lab.git"), str(folder / name)], check=True)
    return Toy(folder / name)


def ids(toy: Toy) -> dict[str, str]:
    return {row["name"]: row["id"] for row in figment(toy.root, "status", "--json").json["artifacts"]}


def share(toy: Toy) -> None:
    """As the page says: the bytes first, so that nobody has a dvc.lock whose bytes are nowhere."""
    toy.git_commit()
    toy.dvc("push", "--run-cache")
    toy.shell("git", "push", "-q", "origin", "HEAD")


def take(toy: Toy) -> None:
    toy.shell("git", "pull", "-q", "--no-rebase", "origin", "HEAD")
    toy.dvc("pull", "--run-cache")


def test_a_second_clone_pulls_and_has_everything_without_running_anything(lab: Lab) -> None:
    take(lab.second)
    assert lab.second.dvc_status() == {} and lab.second.repro(dry=True) == set()
    answer = figment(lab.second.root, "status")
    assert answer.code == 0, answer
    assert ids(lab.second) == ids(lab.first)
    assert figment(lab.second.root, "materialize", "--all").out.splitlines()[-1] == "nothing to do: 5 artifacts up to date"
    assert figment(lab.second.root, "doctor").code == 0
    assert [name for name in STAGES if lab.second.runs(name)] == []


def test_what_one_makes_the_other_has_after_a_pull(lab: Lab) -> None:
    take(lab.second)
    lab.second.replace("params.yaml", "modulo: 2", "modulo: 3")
    assert figment(lab.second.root, "materialize", "--stale").code == 0
    share(lab.second)
    before = {name: lab.first.runs(name) for name in STAGES}
    take(lab.first)
    assert figment(lab.first.root, "status").code == 0
    assert ids(lab.first) == ids(lab.second)
    assert {name: lab.first.runs(name) for name in STAGES} == before
    # Dagster hears of it from the next door that is opened.
    assert "evens: dvc.lock has a version that Dagster did not know; reported" in figment(lab.first.root, "materialize", "--stale").out
    assert figment(lab.first.root, "doctor").code == 0


def test_two_who_changed_different_stages_merge_and_run_nothing_that_either_ran(lab: Lab) -> None:
    """git cannot merge dvc.lock, which is only a record: either side will do, and what it lacks comes out of the run cache."""
    take(lab.second)
    lab.first.replace("params.yaml", "modulo: 2", "modulo: 3")
    lab.second.replace("params.yaml", "word: tea", "word: mate")
    for toy in lab:
        assert figment(toy.root, "materialize", "--stale").code == 0
    share(lab.first)
    lab.second.git_commit()
    pulled = subprocess.run(["git", "pull", "-q", "--no-rebase", "origin", "HEAD"], cwd=lab.second.root, capture_output=True, text=True)
    if pulled.returncode:
        lab.second.shell("git", "checkout", "--theirs", "dvc.lock")
        lab.second.git_commit()
    lab.second.dvc("pull", "--run-cache")
    before = {name: lab.second.runs(name) for name in STAGES}
    answer = figment(lab.second.root, "materialize", "--stale")
    assert answer.code == 0, answer
    assert {name: lab.second.runs(name) for name in STAGES} == before
    assert lab.second.dvc_status() == {}
    assert figment(lab.second.root, "doctor").code == 0


def test_bytes_that_nobody_pushed_are_named(lab: Lab, tmp_path: Path) -> None:
    lab.first.replace("params.yaml", "word: tea", "word: mate")
    assert figment(lab.first.root, "materialize", "--stale").code == 0
    lab.first.git_commit()
    lab.first.shell("git", "push", "-q", "origin", "HEAD")
    pulled = subprocess.run(["python", "-m", "dvc", "pull"], cwd=clone(tmp_path, "third").root, capture_output=True, text=True)
    assert pulled.returncode != 0 and "data/side" in pulled.stdout + pulled.stderr
