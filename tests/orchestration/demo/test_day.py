"""The demo's summary says what is there, and the numbers that people ask for."""

from pathlib import Path

import pytest

from orchestration.bridge.status import project_status
from orchestration.checkout import open_project
from orchestration.demo.day import print_summary
from orchestration.records.history import makings


def test_the_summary_has_every_artifact_and_the_headline_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n"
        "  report: {cmd: python x.py, params: [report], outs: [data/report]}\n"
        "  other: {cmd: python y.py, deps: [data/report], outs: [data/other]}\n"
        "metrics: [data/report/headline.json]\n"
    )
    (tmp_path / "params.yaml").write_text("report: {a: 1}\n")
    (tmp_path / "data/report").mkdir(parents=True)
    (tmp_path / "data/report/headline.json").write_text('{"free": {"validity": 0.5, "compared": 1000}}')
    _init_dvc(tmp_path)
    project = open_project(tmp_path)

    print_summary(project, project_status(project), makings(project, project.lock()))

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines if line.startswith(("report", "other"))] == [["report", "missing"], ["other", "missing"]]
    assert [line.split() for line in lines if line.startswith("free")] == [["free.validity", "0.5"], ["free.compared", "1,000"]]


def _init_dvc(root: Path) -> None:
    from dvc.repo import Repo

    Repo.init(str(root), no_scm=True).close()
