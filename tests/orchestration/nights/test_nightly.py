import shutil
from pathlib import Path

import pytest

from orchestration.checkout import open_project
from orchestration.nights.nightly import night_plan, scheduled_sources
from tests.orchestration.cli.figment import figment
from tests.orchestration.journal_toy import paper, publish


@pytest.fixture
def project(journal_template: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(journal_template, tmp_path / "project"))


def states(root: Path) -> dict[str, str]:
    return {row["name"]: row["state"] for row in figment(root, "status", "--json").json["artifacts"]}


def test_a_night_plans_its_sources_and_what_follows_up_to_the_training(project: Path) -> None:
    opened = open_project(project)

    plan = night_plan(opened, scheduled_sources(opened))

    assert (plan.due, plan.following, plan.forced) == (("journal_pages",), ("papers", "toc_dataset@64"), frozenset({"journal_pages"}))


def test_a_night_without_changes_writes_nothing(project: Path) -> None:
    lock = (project / "dvc.lock").read_bytes()
    before = states(project)

    answer = figment(project, "nightly")

    assert answer.code == 0, answer.err
    assert (project / "crawled").read_text().count("once") == 2, "the source was asked"
    assert (project / "dvc.lock").read_bytes() == lock
    assert states(project) == before == dict.fromkeys(before, "fresh")
    assert not (project / ".figment/mlflow").exists()


def test_a_night_with_news_moves_the_data_and_leaves_the_training(project: Path) -> None:
    publish(project, [*(paper(number) for number in range(4)), paper(4)])

    assert figment(project, "nightly").code == 0

    assert states(project) == {"journal_pages": "fresh", "papers": "fresh", "toc_dataset@64": "fresh", "gan": "stale", "fakes": "fresh"}


def test_only_what_has_a_schedule_is_looked_at(project: Path) -> None:
    text = (project / "dvc.yaml").read_text()
    schedule = '        schedule: {cron: "0 3 * * *", timezone: UTC}\n'
    assert schedule in text
    (project / "dvc.yaml").write_text(text.replace(schedule, "        group: papers\n"))

    answer = figment(project, "nightly")

    assert answer.code == 2 and "no stage in dvc.yaml has a `schedule`" in answer.err
