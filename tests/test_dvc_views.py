"""What DVC shows of the project's trainings and reports, asked of DVC itself: curves, pictures and headline numbers."""

import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest.importorskip("PIL.Image", reason="pillow is not installed (extra: images)")

from PIL import Image
from ruamel.yaml import YAML

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


@dataclass(frozen=True)
class Views:
    """What dvc.yaml shows: the unit of each training's curves, by training; pictures, folders of them, and reports with a headline."""

    curves: dict[str, str]
    pictures: list[str]
    folders: list[str]
    reports: list[str]

    @classmethod
    def of(cls, root: Path) -> "Views":
        graph = YAML(typ="safe").load((root / "dvc.yaml").read_text())
        plots = [next(iter(entry.items())) if isinstance(entry, dict) else (entry, {}) for entry in graph["plots"]]
        curves = {path.split("/")[1]: "images" if how["x"] == "kimg" else how["x"] for path, how in plots if path.endswith("/curves")}
        others = [path for path, _ in plots if not path.endswith("/curves")]
        pictures, folders = ([path for path in others if path.endswith(".png") is is_file] for is_file in (True, False))
        return cls(curves, pictures, folders, [path.split("/")[1] for path in graph["metrics"]])


@pytest.fixture
def project(project_copy: Path) -> Path:
    """Every training and report that dvc.yaml shows, as small as can be."""
    data, views = project_copy / "data", Views.of(project_copy)
    for stage, what in views.curves.items():
        stats = StatsFile(project_copy / f"{stage}.jsonl", what=what, resume_samples=None)
        for step in (100, 200):
            stats.metrics(step, {"loss": 200 / step})
        stats.metrics(300, {"swd_x1000": 5.5})
        write_curves(stats.path, data / stage / "plots/curves", what=what)
    numbers = Numbers(values={"free_validity": 0.5, "free_novelty": 0.9, "real_swd_x1000": 2.0})
    headline = {"free": ["validity"], "real": ["swd_x1000"]}
    for stage in views.reports:
        names = [Path(path).stem for path in views.pictures if path.split("/")[1] == stage]
        Report(stage, "model", numbers, "", [Picture(name, name, f"{name}.png", dot) for name in names], headline=headline).write(data)
    for path in [*views.pictures, *(f"{folder}/{number}.png" for folder in views.folders for number in (0, 300))]:
        dot(project_copy / path)
    return project_copy


def test_every_number_of_a_training_has_a_curve_by_samples_and_the_pictures_are_there(project: Path) -> None:
    shown = dvc(project, "plots", "show")
    assert not shown.get("errors")
    by_name = {name.removeprefix("dvc.yaml::"): plots for name, plots in shown["data"].items()}
    curves = {f"data/{stage}/plots/curves/{name}.csv" for stage in Views.of(project).curves for name in ("loss", "swd_x1000")}
    assert curves <= set(by_name)
    assert {"data/stylegan3_toc/plots/fakes/0.png", "data/stylegan3_toc/plots/fakes/300.png", "data/toc_report/psi_sweep.png"} <= set(by_name)
    (loss,) = by_name["data/polygpt/plots/curves/loss.csv"]
    chart = loss["content"]
    assert [(point["molecules"], point["loss"]) for point in chart["data"]["values"]] == [("100", "2.0"), ("200", "1.0")]
    assert '"field": "molecules"' in json.dumps(chart)


def test_the_headlines_are_one_small_table(project: Path) -> None:
    shown = dvc(project, "metrics", "show")
    files = shown[""]["data"]
    expected = {"free": {"validity": 0.5}, "real": {"swd_x1000": 2.0}}
    assert {path: entry["data"] for path, entry in files.items()} == {f"data/{name}/headline.json": expected for name in Views.of(project).reports}
    assert len(files) >= 2
