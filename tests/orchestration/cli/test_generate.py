"""`figment generate` becomes the program that writes; tests/training/polymers/test_generate.py asks it."""

import itertools
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


def test_it_becomes_the_program_that_writes_with_paths_of_where_it_was_typed(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    started: list[list[str]] = []

    def become(program: str, command: list[str]) -> None:
        started.append([program, *command])
        raise SystemExit(0)

    monkeypatch.setattr(os, "execv", become)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    words = ("polymers", "--property", "mol_wt=200", "--property", "band_gap=2.5", "--model", "polytao", "-n", "100", "--unique", "--out", "mine")
    assert figment(project, "generate", *words).code == 0
    (command,) = started
    assert command[:4] == [sys.executable, sys.executable, "-m", "training.polymers.generate"]
    pairs = list(itertools.pairwise(command))
    for pair in (("--model", "polytao"), ("--number", "100"), ("--property", "band_gap=2.5"), ("--out", str(tmp_path / "elsewhere/mine"))):
        assert pair in pairs
    assert ("--data", str(project / "data")) in pairs and "--unique" in command


def test_a_model_and_a_folder_must_be_named(project: Path):
    assert figment(project, "generate", "polymers", "--out", "x").code == 2
    assert figment(project, "generate", "polymers", "--model", "polygpt").code == 2
    assert figment(project, "generate", "papers", "--model", "polygpt", "--out", "x").code == 2
