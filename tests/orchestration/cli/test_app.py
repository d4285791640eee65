"""`figment app` becomes the program that serves the apps; tests/app/live asks it."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest

from orchestration.cli import app
from tests.orchestration.cli.figment import figment


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "dvc.yaml").write_text("stages:\n  one: {cmd: x, outs: [data/one]}\n")
    return tmp_path


def test_it_becomes_the_server_in_the_projects_folder(project: Path, monkeypatch: pytest.MonkeyPatch):
    started: list[list[str]] = []

    def become(program: str, command: list[str]) -> None:
        started.append([program, *command])
        raise SystemExit(0)

    monkeypatch.setattr(os, "execv", become)
    assert figment(project, "app", "--port", "8123", "--open", "--newest").code == 0
    expected = ["-m", "app.live.serve", "--root", str(project), "--port", "8123", "--open", "--newest"]
    assert started == [[sys.executable, sys.executable, *expected]]
    assert Path.cwd() == project


def test_without_gradio_it_says_what_to_install(project: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(app, "find_spec", lambda name: None if name == "gradio" else importlib.util.find_spec(name))
    answer = figment(project, "app")
    assert answer.code == 2 and "pip install -e '.[app]'" in answer.err


def test_a_port_is_a_number_and_there_is_no_other_host(project: Path):
    assert figment(project, "app", "--port", "x").code == 2
    assert figment(project, "app", "--host", "0.0.0.0").code == 2
