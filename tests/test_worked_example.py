"""docs/contributing.md adds a source, a dataset and a model: what it says is put into a copy of the project and made by DVC."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.orchestration.bridge.toy import python_first

if find_spec("torch") is None:
    pytest.skip("torch is not installed (extra: model)", allow_module_level=True)

NEW = ("colour_sources", "colours", "colour_namer")


@pytest.fixture
def project(project_copy: Path, project_root: Path) -> Path:
    """The project without its outputs, with what the page adds to it."""
    add_example(project_copy, (project_root / "docs/contributing.md").read_text(encoding="utf-8"))
    return project_copy


def add_example(root: Path, page: str) -> None:
    """Do with the code blocks what the page says above them."""
    for name, text in re.findall(r"^`([\w./]+)`\n\n```python\n(.*?)^```$", page, re.DOTALL | re.MULTILINE):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(text)
    (params,) = re.findall(r"^At the end of `params.yaml`:\n\n```yaml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    (stages,) = re.findall(r"^In `dvc.yaml`, behind the last stage:\n\n```yaml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    (curves,) = re.findall(r"^At the end of its `plots`.*?\n\n```yaml\n(.*?)^```$", page, re.DOTALL | re.MULTILINE)
    with (root / "params.yaml").open("a") as file:
        file.write(f"\n{params}")
    graph = (root / "dvc.yaml").read_text()
    assert graph.count("\nmetrics:\n") == 1
    (root / "dvc.yaml").write_text(graph.replace("\nmetrics:\n", f"\n{stages}\nmetrics:\n") + curves)


def run(root: Path, module: str, *words: str) -> str:
    """A program of the copy, with the copy's own code; what it printed."""
    # That MLflow receives what a training's journal says is tested with the tracker.
    environment = {**os.environ, "FIGMENT_TRACK": "jsonl"}
    done = subprocess.run([sys.executable, "-m", module, *words], cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def states(root: Path) -> dict[str, str]:
    answer = json.loads(run(root, "orchestration.cli.main", "status", "--json", *NEW))
    return {row["name"]: row["state"] for row in answer["artifacts"]}


def test_its_stages_are_made_fresh_and_a_comment_trains_nothing(project: Path) -> None:
    python_first()

    said = run(project, "dvc", "repro", "colour_namer")

    assert [name for name in NEW if f"Running stage '{name}'" in said] == list(NEW)
    summary = json.loads((project / "data/colour_namer/training_summary.json").read_text())
    assert summary["samples_seen"] == 8_000
    assert summary["validation_error"] < 0.2
    assert sorted(path.name for path in (project / "data/colour_namer").iterdir()) == [
        "config.json",
        "model.safetensors",
        "plots",
        "training_summary.json",
    ]
    assert "data/colour_namer/plots/curves/validation_error.csv" in run(project, "dvc", "plots", "show", "--json")
    assert states(project) == dict.fromkeys(NEW, "fresh")
    assert len(list((project / ".figment/tracking/colour_namer").iterdir())) == 1

    networks = project / "training/colours/networks.py"
    networks.write_text(f"# Two are enough.\n{networks.read_text()}")
    said = run(project, "dvc", "repro", "colour_namer")
    assert "Running stage 'code'" in said and "Running stage 'colour" not in said

    networks.write_text(networks.read_text().replace("nn.ReLU()", "nn.Tanh()"))
    assert states(project) == {"colour_sources": "fresh", "colours": "fresh", "colour_namer": "stale"}
