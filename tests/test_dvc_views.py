"""What DVC shows of the project's trainings and reports, asked of DVC itself: curves, pictures and headline numbers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("PIL.Image", reason="pillow is not installed (extra: images)")

from PIL import Image

from training.loop.stats_files import StatsFile, write_curves
from training.reports.numbers import Numbers
from training.reports.report import Picture, Report


def dvc(root: Path, *words: str) -> dict:
    done = subprocess.run([sys.executable, "-m", "dvc", *words, "--json"], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def dot(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4)).save(path)


@pytest.fixture
def project(project_copy: Path) -> Path:
    """Two trainings and their reports, as small as can be."""
    data = project_copy / "data"
    for stage, what in (("polygpt", "molecules"), ("stylegan3_toc", "images")):
        stats = StatsFile(project_copy / f"{stage}.jsonl", what=what, resume_samples=None)
        for step in (100, 200):
            stats.metrics(step, {"loss": 200 / step})
        stats.metrics(300, {"swd_x1000": 5.5})
        write_curves(stats.path, data / stage / "plots/curves", what=what)
    for picture in ("stylegan3_toc/reals.png", "stylegan3_toc/plots/fakes/0.png", "stylegan3_toc/plots/fakes/300.png"):
        dot(data / picture)
    numbers = Numbers(values={"free_validity": 0.5, "free_novelty": 0.9, "real_swd_x1000": 2.0})
    headline = {"free": ["validity"], "real": ["swd_x1000"]}
    for stage, pictures in (("polygpt_report", ("molecules", "requested_vs_obtained")), ("toc_report", ("fakes", "nearest", "psi_sweep"))):
        Report(stage, "model", numbers, "", [Picture(name, name, f"{name}.png", dot) for name in pictures], headline=headline).write(data)
    return project_copy


def test_every_number_of_a_training_has_a_curve_by_samples_and_the_pictures_are_there(project: Path) -> None:
    shown = dvc(project, "plots", "show")
    assert not shown.get("errors")
    by_name = {name.removeprefix("dvc.yaml::"): plots for name, plots in shown["data"].items()}
    curves = {f"data/{stage}/plots/curves/{name}.csv" for stage in ("polygpt", "stylegan3_toc") for name in ("loss", "swd_x1000")}
    assert curves <= set(by_name)
    assert {"data/stylegan3_toc/plots/fakes/0.png", "data/stylegan3_toc/plots/fakes/300.png", "data/toc_report/psi_sweep.png"} <= set(by_name)
    (loss,) = by_name["data/polygpt/plots/curves/loss.csv"]
    chart = loss["content"]
    assert [(point["molecules"], point["loss"]) for point in chart["data"]["values"]] == [("100", "2.0"), ("200", "1.0")]
    assert '"field": "molecules"' in json.dumps(chart)


def test_the_headlines_are_one_small_table(project: Path) -> None:
    shown = dvc(project, "metrics", "show")
    files = shown[""]["data"]
    assert {path: entry["data"] for path, entry in files.items()} == {
        f"data/{name}/headline.json": {"free": {"validity": 0.5}, "real": {"swd_x1000": 2.0}} for name in ("polygpt_report", "toc_report")
    }
