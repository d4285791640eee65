"""A small project in Figment's own manner: a real stage `code` writes the code versions, and programs run as modules of packages.

    fetch (a source) ──> rows ──> train@1, train@2 ──> report

fetch runs assets.fetch; rows assets.rows, which imports assets.shared; train and report run modules of training, which import assets.shared, too.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.orchestration.bridge.toy import Toy, build, python_first

STAGES = ("fetch", "rows", "train@1", "train@2", "report")

DVC_YAML = """\
stages:
  code:
    cmd: python -m stages.code_versions
    deps: [assets, training]
    outs:
      - code.yaml:
          cache: false
          persist: true
  fetch:
    cmd: python -m assets.fetch
    deps: [raw]
    params: [fetch]
    outs: [data/fetch]
    meta:
      source: true
      dagster: {schedule: {cron: "0 3 * * *"}}
  rows:
    cmd: python -m assets.rows
    deps: [data/fetch]
    params: [rows, code.yaml: [rows]]
    outs:
      - data/rows:
          persist: true
    meta:
      dagster: {automation: on_data}
  train:
    foreach: [1, 2]
    do:
      cmd: python -m training.train ${item}
      deps: [data/rows]
      params: [train, code.yaml: [train]]
      outs: ["data/train@${item}"]
  report:
    cmd: python -m training.report
    deps: ["data/train@1", "data/train@2"]
    params: [code.yaml: [report]]
    outs: [data/report]
"""

_SHARED = '''\
"""Reading and writing of the toy."""
import os
from pathlib import Path


def begin(stage):
    Path(".runs").mkdir(exist_ok=True)
    with open(f".runs/{stage}", "a") as stream:
        stream.write("ran\\n")


def write(path, text):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_name(path.name + ".new").write_text(text)
    os.replace(path.with_name(path.name + ".new"), path)


def never():
    import numpy
'''
_FETCH = """\
from pathlib import Path

from assets.shared import begin, write

begin("fetch")
write("data/fetch/numbers.txt", "".join(path.read_text() for path in sorted(Path("raw").iterdir())))
"""
_ROWS = """\
from pathlib import Path

from assets.shared import begin, write

begin("rows")
write("data/rows/rows.txt", "".join(sorted(Path("data/fetch/numbers.txt").read_text().splitlines(keepends=True))))
"""
_TRAIN = """\
import sys
from pathlib import Path

from assets.shared import begin, write
from training import losses

begin("train@" + sys.argv[1])
write(f"data/train@{sys.argv[1]}/model.txt", str(losses.loss(Path("data/rows/rows.txt").read_text()) + int(sys.argv[1])))
"""
_REPORT = """\
from pathlib import Path

from assets.shared import begin, write

begin("report")
write("data/report/report.md", " ".join(Path(f"data/train@{number}/model.txt").read_text() for number in (1, 2)))
"""

FILES: Mapping[str, str] = {
    "dvc.yaml": DVC_YAML,
    "params.yaml": "fetch: {again: 0}\nrows: {note: first}\ntrain: {width: 8}\nunrelated: {x: 1}\n",
    "raw/a.txt": "3\n1\n",
    "raw/b.txt": "2\n",
    "assets/__init__.py": "",
    "assets/fetch.py": _FETCH,
    "assets/rows.py": _ROWS,
    "assets/shared.py": _SHARED,
    "training/__init__.py": "",
    "training/losses.py": "def loss(text):\n    return len(text)\n",
    "training/train.py": _TRAIN,
    "training/report.py": _REPORT,
    ".gitignore": "/.figment\n/.runs\n__pycache__\n/data\n",
    ".dvcignore": "/.figment\n/.runs\n/assets/**/__pycache__\n/training/**/__pycache__\n",
}


def find_the_stage_code(monkeypatch: pytest.MonkeyPatch, project_root: Path) -> None:
    """Commands of the toy find `stages` in this checkout, and `python` where the tests found it."""
    monkeypatch.setenv("PYTHONPATH", str(project_root))
    monkeypatch.setenv("PATH", os.environ["PATH"])
    python_first()


def build_code_toy(root: Path) -> Toy:
    """The project, everything made and committed to git."""
    toy = build(root, FILES)
    toy.make_all()
    toy.git_commit()
    return toy
