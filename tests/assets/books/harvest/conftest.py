"""A tiny archive, and a harvest of it that tells what it did."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from assets.books.harvest.config import ArchiveItemsConfig
from assets.books.harvest.harvesting import Harvest, harvest
from stages.reporting import Reporter
from tests.assets.books.harvest.tiny_archive import TinyArchive, serving


class Lines(Reporter):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture
def archive() -> Iterator[TinyArchive]:
    with serving(TinyArchive()) as running:
        yield running


@pytest.fixture
def harvested(archive: TinyArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Harvest]:
    """Harvests into tmp_path/items; keywords are parameters. What was asked before is forgotten."""
    rules_for = ArchiveItemsConfig.rules_for
    monkeypatch.setattr(ArchiveItemsConfig, "rules_for", lambda *given: replace(rules_for(*given), first_wait_s=0.01))

    def once(**values: Any) -> Harvest:
        archive.forget()
        return harvest(archive.config(**values), tmp_path / "items", state=tmp_path / "state", authorization="", reporter=Lines())

    return once
