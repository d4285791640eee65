"""A made toy project per test, copied from one that is made once."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from tests.orchestration.bridge.toy import Toy, build, copy_of, python_first


@pytest.fixture(autouse=True)
def python_on_path(environment_as_found: None) -> None:
    python_first()


@pytest.fixture(scope="session")
def made_template(made_once: Callable[[str, Callable[[Path], Any]], Path]) -> Toy:
    def make(root: Path) -> None:
        toy = build(root)
        toy.make_all()
        toy.git_commit()

    return Toy(made_once("toy", make))


@pytest.fixture
def toy(made_template: Toy, tmp_path: Path) -> Toy:
    """The toy with everything made and committed."""
    return copy_of(made_template, tmp_path / "toy")


@pytest.fixture(scope="session")
def dagster_home_template(made_once: Callable[[str, Callable[[Path], Any]], Path]) -> Path:
    """A Dagster home whose databases have been made: that takes seconds, and copying it nothing."""

    def make(home: Path) -> None:
        home.mkdir()
        with dg.DagsterInstance.from_config(str(home)) as instance:
            instance.get_runs(limit=1)
            instance.get_asset_keys()
            instance.all_instigator_state()

    return made_once("dagster-home", make)


@pytest.fixture
def instance(dagster_home_template: Path, tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """A real Dagster instance with SQLite storage that knows nothing yet."""
    home = tmp_path / "dagster-home"
    shutil.copytree(dagster_home_template, home)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance
