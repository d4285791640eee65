"""A reporter that listens, a project folder with an MLflow store in it, and what the tests of tracking ask of both."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stages.reporting import Reporter, Severity


class RecordingReporter(Reporter):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.facts: dict[str, Any] = {}
        self.links: dict[str, str] = {}
        self.markdowns: dict[str, str] = {}
        self.paths: dict[str, Path] = {}
        self.checks: dict[str, tuple[bool, str, dict[str, Any]]] = {}

    def log(self, message: str) -> None:
        self.lines.append(message)

    def metadata(self, **values: Any) -> None:
        self.facts.update(values)

    def url(self, name: str, address: str) -> None:
        self.links[name] = address

    def path(self, name: str, path: Path) -> None:
        self.paths[name] = path

    def markdown(self, name: str, text: str) -> None:
        self.markdowns[name] = text

    def check(self, name: str, passed: bool, *, severity: Severity = "ERROR", **values: Any) -> None:
        self.checks[name] = (passed, severity, values)


@pytest.fixture
def reporter() -> RecordingReporter:
    return RecordingReporter()


@pytest.fixture
def state_dir(tmp_path: Path, empty_store: Path) -> Path:
    """The `.figment` folder of a project whose MLflow store exists and is empty."""
    folder = tmp_path / ".figment"
    (folder / "mlflow").mkdir(parents=True)
    shutil.copyfile(empty_store, folder / "mlflow" / "mlflow.db")
    return folder


@pytest.fixture
def client_of() -> Callable[[Path], Any]:
    """The MLflow client of a `.figment` folder."""
    from training.tracking.store import open_client, tracking_uri

    return lambda state_dir: open_client(tracking_uri(state_dir))
