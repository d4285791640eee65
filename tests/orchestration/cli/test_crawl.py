"""`figment crawl try` becomes the crawl's own program; tests/assets/papers/crawl/test_trying.py asks it."""

import os
import sys
from pathlib import Path

import pytest

from tests.orchestration.cli.figment import figment


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "dvc.yaml").write_text("stages:\n  one: {cmd: x, outs: [data/one]}\n")
    return tmp_path


def test_it_becomes_the_program_in_the_projects_folder(project: Path, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory):
    started: list[list[str]] = []

    def become(program: str, command: list[str]) -> None:
        started.append(command)
        raise SystemExit(0)

    monkeypatch.setattr(os, "execv", become)
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "saved.html").write_text("<p>")
    monkeypatch.chdir(elsewhere)
    assert figment(project, "crawl", "try", "saved.html", "--url", "http://x.example/", "--page", "rsc").code == 0
    program = [sys.executable, "-m", "assets.papers.crawl.trying"]
    assert started == [[*program, str(elsewhere / "saved.html"), "--url", "http://x.example/", "--page", "rsc"]]
    assert Path.cwd() == project
    assert figment(project, "crawl", "try", "http://x.example/toc").code == 0
    assert started[1] == [*program, "http://x.example/toc"]


def test_another_action_is_refused(project: Path):
    assert figment(project, "crawl", "publish", "http://x.example/").code == 2
