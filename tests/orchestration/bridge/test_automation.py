import dagster as dg
import pytest

from orchestration.bridge.automation import automation_condition, freshness_policy
from orchestration.bridge.meta import StageMeta
from orchestration.bridge.mirror import asset_key, report_outside_changes
from tests.orchestration.bridge.toy import Toy, stage_name


class Daemon:
    """Evaluates the conditions tick by tick, as Dagster's daemon does, over definitions loaded afresh."""

    def __init__(self, toy: Toy, instance: dg.DagsterInstance) -> None:
        self.toy, self.instance, self.cursor = toy, instance, None

    def tick(self) -> set[str]:
        result = dg.evaluate_automation_conditions(defs=self.toy.definitions(), instance=self.instance, cursor=self.cursor)
        self.cursor = result.cursor
        return {
            stage_name(key)
            for key in (asset_key("rows"), asset_key("evens"), asset_key("total"), asset_key("report"), asset_key("side"))
            if result.get_num_requested(key)
        }


@pytest.fixture
def daemon(toy: Toy, instance: dg.DagsterInstance) -> Daemon:
    """A daemon that has seen the toy at rest."""
    report_outside_changes(instance, toy.project())
    daemon = Daemon(toy, instance)
    assert daemon.tick() == set()
    assert daemon.tick() == set()
    return daemon


def test_changed_data_starts_what_reads_it(daemon: Daemon, toy: Toy, instance: dg.DagsterInstance) -> None:
    toy.replace("params.yaml", "repeat: 1", "repeat: 2")
    toy.make("rows")
    report_outside_changes(instance, toy.project())

    # `report` reads rows too, and is manual.
    assert daemon.tick() == {"evens"}
    toy.make("evens")
    report_outside_changes(instance, toy.project())
    assert daemon.tick() == {"total"}


@pytest.mark.slow
def test_data_added_by_hand_starts_what_reads_it(toy: Toy, instance: dg.DagsterInstance) -> None:
    toy.shell("git", "rm", "-rq", "--cached", "raw")
    toy.dvc("add", "-q", "raw")
    report_outside_changes(instance, toy.project())
    daemon = Daemon(toy, instance)
    assert daemon.tick() == daemon.tick() == set()

    toy.write("raw/c.txt", "6\n")
    toy.dvc("add", "-q", "raw")
    assert report_outside_changes(instance, toy.project()) == []

    # `side` reads raw too, and is manual.
    assert daemon.tick() == {"rows"}
    toy.make("rows")
    report_outside_changes(instance, toy.project())
    assert daemon.tick() == {"evens"}


def test_a_rerun_with_equal_bytes_starts_nothing(daemon: Daemon, toy: Toy, instance: dg.DagsterInstance) -> None:
    toy.replace("params.yaml", "note: first", "note: second")
    toy.make("rows")
    assert report_outside_changes(instance, toy.project()) == ["rows"]
    assert daemon.tick() == set()
    toy.dagster_make(instance, "rows", force=True)
    assert daemon.tick() == set()
    assert daemon.tick() == set()


def test_an_edit_of_the_stage_itself_waits_for_its_author(daemon: Daemon, toy: Toy) -> None:
    toy.replace("params.yaml", "modulo: 2", "modulo: 3")

    assert toy.stale() == {"evens"}
    assert daemon.tick() == set()


def test_a_manual_stage_never_starts_by_itself(daemon: Daemon, toy: Toy) -> None:
    toy.replace("params.yaml", "word: tea", "word: ale")
    toy.replace("code/report.py", "rows, total", "rows; total")

    assert daemon.tick() == set()


def test_nothing_starts_while_an_input_is_missing(toy: Toy, instance: dg.DagsterInstance) -> None:
    daemon = Daemon(toy, instance)
    report_outside_changes(instance, toy.project(), ["side"])
    daemon.tick()
    toy.replace("params.yaml", "modulo: 2", "modulo: 3")

    assert "evens" not in daemon.tick()


def test_words_of_meta_become_conditions_and_policies() -> None:
    assert automation_condition(StageMeta()) is None
    assert automation_condition(StageMeta(automation="on_data")).get_label() == "on_data"
    assert freshness_policy(StageMeta()) is None
    assert freshness_policy(StageMeta(freshness_hours=24)).fail_window.to_timedelta().total_seconds() == 24 * 3600
