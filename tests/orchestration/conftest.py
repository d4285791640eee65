"""Projects that Dagster knows, for the command line, the nights and the doctor."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.orchestration.bridge.toy import Toy, build, copy_of, python_first
from tests.orchestration.cli.figment import figment
from tests.orchestration.journal_toy import make_journal_project


@pytest.fixture(scope="session")
def materialized_template(made_once: Callable[[str, Callable[[Path], Any]], Path]) -> Toy:
    """The toy after `figment materialize --all`, with everything committed to git."""

    def make(root: Path) -> None:
        python_first()
        toy = build(root)
        _materialize_all(root)
        toy.git_commit()

    with pytest.MonkeyPatch.context():
        return Toy(made_once("materialized", make))


def _materialize_all(root: Path) -> None:
    answer = figment(root, "materialize", "--all")
    assert answer.code == 0, answer


@pytest.fixture
def known_toy(materialized_template: Toy, tmp_path: Path) -> Toy:
    """The toy with everything made, committed, and known to Dagster."""
    python_first()
    return copy_of(materialized_template, tmp_path / "toy")


@pytest.fixture(scope="session")
def journal_template(made_once: Callable[[str, Callable[[Path], Any]], Path]) -> Path:
    """The small journal with everything made."""
    return made_once("journal", lambda root: _materialize_all(make_journal_project(root)))
