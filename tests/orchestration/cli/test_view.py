"""`figment view` finds the model, and becomes the program that shows it."""

import os
import sys
from pathlib import Path

import pytest

from tests.orchestration.cli.figment import figment

GRAPH = """
stages:
  imaginary_toc: {cmd: x, outs: [data/imaginary_toc]}
  words: {cmd: x, outs: [data/words]}
  two: {cmd: x, outs: [data/two_a, data/two_b]}
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / ".dvc/config").write_text("[core]\n    no_scm = true\n")
    (tmp_path / "dvc.yaml").write_text(GRAPH)
    for name, config in (("imaginary_toc", '{"model_type": "stylegan3"}'), ("words", '{"model_type": "polygpt"}'), ("broken", "{")):
        (tmp_path / "data" / name).mkdir(parents=True)
        (tmp_path / "data" / name / "config.json").write_text(config)
    return tmp_path


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The commands that this process would have become."""
    commands: list[list[str]] = []

    def become(program: str, command: list[str]) -> None:
        commands.append([program, *command])
        raise SystemExit(0)

    monkeypatch.setattr(os, "execv", become)
    return commands


@pytest.mark.parametrize("model", ["imaginary_toc", "{data}/imaginary_toc", "./imaginary_toc"])
def test_an_artifact_or_a_folder_is_shown_by_the_program_of_its_kind(project: Path, started: list[list[str]], model: str):
    folder = project / "data/imaginary_toc"
    os.chdir(folder.parent)
    assert figment(project, "view", model.format(data=project / "data"), "--port", "8123", "--open").code == 0
    assert started == [[sys.executable, sys.executable, "-m", "training.stylegan3.view", str(folder), "--port", "8123", "--open"]]
    assert Path.cwd() == project


def test_a_progressive_gan_has_a_program_of_its_own(project: Path, started: list[list[str]]):
    (project / "data/words/config.json").write_text('{"model_type": "progressive_gan"}')
    assert figment(project, "view", "words").code == 0
    assert started == [[sys.executable, sys.executable, "-m", "training.progressive.view", str(project / "data/words")]]


def test_a_snapshot_of_nvidias_is_shown_too(project: Path, started: list[list[str]]):
    (project / "x.pkl").write_bytes(b"")
    assert figment(project, "view", str(project / "x.pkl")).code == 0
    assert started == [[sys.executable, sys.executable, "-m", "training.stylegan3.view", str(project / "x.pkl")]]


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["imaginary_tok"], 2, "did you mean 'imaginary_toc'?"),
        (["words"], 1, "data/words holds a model of the kind 'polygpt', which has no viewer; there is one for stylegan3, progressive_gan"),
        (["two"], 2, "two has 2 outputs; give the folder that holds the model"),
        (["{project}/data/nothing"], 1, "data/nothing: no such file or folder"),
        (["{project}/data"], 1, "data holds no model (config.json is missing)"),
        (["{project}/data/broken"], 1, "config.json: cannot be read"),
        (["imaginary_toc", "--port", "70000"], 2, "expected a port number between 1 and 65535, found '70000'"),
    ],
)
def test_what_cannot_be_shown_is_said_in_a_line(project: Path, started: list[list[str]], words: list[str], code: int, reason: str):
    answer = figment(project, "view", *(word.format(project=project) for word in words))
    assert (answer.code, started) == (code, [])
    assert reason in answer.err


def test_a_model_that_was_never_made_is_named_with_the_way_to_it(project: Path, started: list[list[str]]):
    (project / "data/imaginary_toc/config.json").unlink()
    (project / "data/imaginary_toc").rmdir()
    answer = figment(project, "view", "imaginary_toc")
    assert (answer.code, started) == (1, [])
    assert "`figment materialize imaginary_toc` makes it" in answer.err
