"""The demo's summary says what is there, and of hundreds of numbers those that people ask for."""

import json
from pathlib import Path

import pytest

from orchestration.bridge.status import project_status
from orchestration.checkout import open_project
from orchestration.demo.day import print_summary
from orchestration.records.history import makings


def test_the_summary_has_every_artifact_and_the_headline_numbers_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "dvc.yaml").write_text(
        "stages:\n"
        "  report: {cmd: python x.py, params: [report], outs: [data/report]}\n"
        "  other: {cmd: python y.py, deps: [data/report], outs: [data/other]}\n"
        "metrics: [data/report/metrics.json]\n"
    )
    (tmp_path / "params.yaml").write_text("report: {a: 1}\n")
    (tmp_path / "data/report").mkdir(parents=True)
    metrics = {"free_validity": 0.5, "free_validity_low": 0.4, "free_validity_n": 10, "mol_wt_pearson_r2": 0.9, "mol_wt_r2": 0.25, "finished": 1.0}
    (tmp_path / "data/report/metrics.json").write_text(json.dumps(metrics))
    _init_dvc(tmp_path)
    project = open_project(tmp_path)

    print_summary(project, project_status(project), makings(project, project.lock()))

    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines if line.startswith(("report", "other"))] == [["report", "missing"], ["other", "missing"]]
    assert [line.split() for line in lines if line.startswith(("free", "mol", "fin"))] == [["free_validity", "0.5"], ["mol_wt_r2", "0.25"]]


def _init_dvc(root: Path) -> None:
    from dvc.repo import Repo

    Repo.init(str(root), no_scm=True).close()
