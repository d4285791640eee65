"""Turns among machines, as the bridge keeps them: a remote that is a folder, two clones, and a table of turns in memory."""

import contextlib
import dataclasses
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from orchestration.bridge.materialize import Materialized, Request, StageFailed, materialize
from orchestration.bridge.turns import TurnRefused
from tests.orchestration.bridge.toy import Toy, copy_of


@dataclasses.dataclass
class Table:
    """What was published, by stage and inputs. refusal: what a holder hears that has lost its turn."""

    published: dict[tuple[str, str], Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    refusal: str = ""

    @contextlib.contextmanager
    def take_turn(self, name: str, made_from: str, tell: Any, is_cancelled: Any) -> Iterator[Any]:
        yield _Turn(self, (name, made_from))


class _Turn:
    is_made_meanwhile = False

    def __init__(self, table: Table, key: tuple[str, str]) -> None:
        self._table, self._key = table, key
        self.made = table.published.get(key)

    def confirm(self) -> None:
        if self._table.refusal:
            raise TurnRefused(self._table.refusal)

    def publish(self, made: Mapping[str, Any]) -> None:
        self._table.published[self._key] = made


def make(toy: Toy, table: Table, name: str, *, force: bool = False) -> Materialized:
    surroundings = dataclasses.replace(toy.surroundings(), take_turn=table.take_turn)
    return materialize(toy.project(), Request(name, "figment", force), surroundings)


@pytest.fixture
def other(toy: Toy, tmp_path: Path) -> Toy:
    """The same project on another machine, with a cache and a memory of its own; both share a remote."""
    toy.dvc("remote", "add", "-q", "-d", "shared", str(tmp_path / "remote"))
    other = copy_of(toy, tmp_path / "other")
    for project in (toy, other):
        project.replace("params.yaml", "word: tea", "word: coffee")
    return other


def test_what_one_machine_made_the_next_restores(toy: Toy, other: Toy) -> None:
    table = Table()
    made = make(toy, table, "side")
    assert made.how == "ran" and list(table.published) == [("side", next(iter(table.published))[1])]
    restored = make(other, table, "side")
    assert (restored.how, restored.id) == ("restored", made.id)
    assert (other.root / "data/side/side.txt").read_text() == (toy.root / "data/side/side.txt").read_text()
    assert other.stale() == other.dvc_stale() == toy.stale()


def test_what_the_remote_has_lost_is_made_again(toy: Toy, other: Toy, tmp_path: Path) -> None:
    table = Table()
    made = make(toy, table, "side")
    shutil.rmtree(tmp_path / "remote")
    again = make(other, table, "side")
    assert (again.how, again.id) == ("ran", made.id)


def test_who_has_lost_the_turn_records_nothing(toy: Toy, other: Toy) -> None:
    before = (toy.root / "dvc.lock").read_bytes()
    with pytest.raises(StageFailed, match="another took over at noon; nothing was recorded"):
        make(toy, Table(refusal="another took over at noon"), "side")
    assert (toy.root / "dvc.lock").read_bytes() == before


def test_a_remote_that_is_away_leaves_what_was_made_on_this_machine(toy: Toy, other: Toy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("orchestration.bridge.dvc_remote.PUSH_PATIENCE_S", 0.0)
    (tmp_path / "remote").write_text("a file where a folder should be")
    table = Table()
    assert make(toy, table, "side").how == "ran" and not table.published
    assert "side" not in toy.stale()
