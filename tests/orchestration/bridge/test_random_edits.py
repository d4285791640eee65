"""After each of many random edits of random projects, DVC, Dagster and the bridge give one answer for every stage.

`--tries 1000` makes as many edits; each graph gets thirty. A disagreement says the seed of its graph and the edits that led to it.
"""

import contextlib
import io
import logging
import shutil
from pathlib import Path

import dagster as dg
import pytest

from orchestration.bridge.mirror import report_outside_changes
from tests.hostility import Tried
from tests.orchestration.bridge.random_project import RandomProject

EDITS_OF_A_GRAPH = 30


@pytest.mark.hostile
@pytest.mark.timeout(7200)
def test_three_answers_are_one_after_random_edits(
    tmp_path: Path, dagster_home_template: Path, tried: Tried, tries: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, edits, disagreements = tries or 60, 0, []
    logging.getLogger("dvc").setLevel(logging.CRITICAL)
    for seed in range(-(-wanted // EDITS_OF_A_GRAPH)):
        project = RandomProject(tmp_path / str(seed), seed)
        home = project.toy.root / "dagster-home"
        shutil.copytree(dagster_home_template, home)
        with dg.DagsterInstance.from_config(str(home)) as instance:
            done: list[str] = []
            for _ in range(min(EDITS_OF_A_GRAPH, wanted - edits)):
                with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                    done.append(project.edit())
                    answers = three_answers(project, instance)
                edits += 1
                if answers["bridge"] != answers["DVC"] or answers["Dagster"] != answers["DVC"]:
                    disagreements.append((seed, len(done), done[-3:], {who: sorted(stale) for who, stale in answers.items()}))
                    print(disagreements[-1])
        shutil.rmtree(project.toy.root)
    tried("random edits of random DVC projects", edits, got_through=len(disagreements))
    assert not disagreements


def three_answers(project: RandomProject, instance: dg.DagsterInstance) -> dict[str, set[str]]:
    """The stages that are not fresh, by whom one asks."""
    toy = project.toy
    report_outside_changes(instance, toy.project())
    return {"bridge": toy.stale(), "Dagster": toy.dagster_stale(instance), "DVC": toy.dvc_stale()}
