"""Toy projects that Dagster knows, for the command line and the doctor."""

from pathlib import Path

import pytest

from tests.orchestration.bridge.toy import Toy, build, copy_of, python_first
from tests.orchestration.cli.figment import figment


@pytest.fixture(scope="session")
def materialized_template(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    """The toy after `figment materialize --all`, with everything committed to git."""
    before = pytest.MonkeyPatch()
    with before.context():
        python_first()
        toy = build(tmp_path_factory.mktemp("template") / "materialized")
        answer = figment(toy.root, "materialize", "--all")
        assert answer.code == 0, answer
        toy.git_commit()
    return toy


@pytest.fixture
def known_toy(materialized_template: Toy, tmp_path: Path) -> Toy:
    """The toy with everything made, committed, and known to Dagster."""
    python_first()
    return copy_of(materialized_template, tmp_path / "toy")
