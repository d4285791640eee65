"""A project with the shape of DVC's example-get-started: data added by hand, four stages, metrics and plots that git keeps.

Its scripts are a few lines of plain Python each; what they compute does not matter, what they read and write does.
"""

from collections.abc import Mapping
from pathlib import Path

from tests.orchestration.bridge.toy import Toy, build

_DVC_YAML = """\
stages:
  prepare:
    cmd: python -SB src/prepare.py data/data.xml
    deps:
      - data/data.xml
      - src/prepare.py
    params:
      - prepare.seed
      - prepare.split
    outs:
      - data/prepared
  featurize:
    cmd: python -SB src/featurization.py data/prepared data/features
    deps:
      - data/prepared
      - src/featurization.py
    params:
      - featurize.max_features
      - featurize.ngrams
    outs:
      - data/features
  train:
    cmd: python -SB src/train.py data/features model.pkl
    deps:
      - data/features
      - src/train.py
    params:
      - train.min_split
      - train.n_est
      - train.seed
    outs:
      - model.pkl
  evaluate:
    cmd: python -SB src/evaluate.py model.pkl data/features
    deps:
      - data/features
      - model.pkl
      - src/evaluate.py
    outs:
      - eval/importance.txt
    metrics:
      - eval/live/metrics.json:
          cache: false
    plots:
      - eval/live/plots:
          cache: false
metrics:
  - eval/live/metrics.json
plots:
  - ROC:
      x: fpr
      y:
        eval/live/plots/roc/train.json: tpr
        eval/live/plots/roc/test.json: tpr
  - eval/importance.txt
"""

_PARAMS = """\
prepare:
  split: 0.20
  seed: 20170428

featurize:
  max_features: 200
  ngrams: 2

train:
  seed: 20170428
  n_est: 50
  min_split: 0.01
"""

_PREPARE = """\
import pathlib, sys
lines = pathlib.Path(sys.argv[1]).read_text().splitlines()
out = pathlib.Path("data/prepared")
out.mkdir(parents=True, exist_ok=True)
(out / "train.tsv").write_text("\\n".join(lines[2:]))
(out / "test.tsv").write_text("\\n".join(lines[:2]))
"""
_FEATURIZE = """\
import pathlib, sys
source, out = map(pathlib.Path, sys.argv[1:])
out.mkdir(parents=True, exist_ok=True)
for name in ("train", "test"):
    (out / f"{name}.pkl").write_text(str(len((source / f"{name}.tsv").read_text())))
"""
_TRAIN = """\
import pathlib, sys
pathlib.Path(sys.argv[2]).write_text("model of " + pathlib.Path(sys.argv[1], "train.pkl").read_text())
"""
_EVALUATE = """\
import json, pathlib, sys
length = len(pathlib.Path(sys.argv[1]).read_text())
live = pathlib.Path("eval/live")
(live / "plots/roc").mkdir(parents=True, exist_ok=True)
(live / "metrics.json").write_text(json.dumps({"avg_prec": {"train": 0.9, "test": 0.8}, "roc_auc": length / 100}))
for name in ("train", "test"):
    (live / f"plots/roc/{name}.json").write_text(json.dumps([{"fpr": 0, "tpr": 0}, {"fpr": 1, "tpr": 1}]))
pathlib.Path("eval/importance.txt").write_text("words: " + str(length))
"""

FILES: Mapping[str, str] = {
    "dvc.yaml": _DVC_YAML,
    "params.yaml": _PARAMS,
    "data/data.xml": "".join(f'<row Id="{number}" Tags="&lt;r&gt;" Title="title {number}" />\n' for number in range(8)),
    "src/prepare.py": _PREPARE,
    "src/featurization.py": _FEATURIZE,
    "src/train.py": _TRAIN,
    "src/evaluate.py": _EVALUATE,
    ".gitignore": "/.figment\n/.bridge\n",
}


def build_example(root: Path) -> Toy:
    """The project, its data added to DVC, nothing made yet."""
    example = build(root, FILES)
    example.dvc("add", "-q", "data/data.xml")
    return example
