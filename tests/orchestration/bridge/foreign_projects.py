"""Projects with the shapes of well-known public DVC examples, written anew: what they read and write is theirs, what they compute is a line of shell.

| name | after the shape of |
|---|---|
| get_started | iterative/example-get-started |
| experiments | iterative/example-get-started-experiments: data under a .dvc file, outputs that hold a dvc.yaml of their own |
| languages | a sibling of the first for texts of several languages: `foreach`, commands of several lines and lists |
| events | open-innovations/bradford-2025: `foreach` over a mapping of params, in a subfolder, reading and writing beside it |
| grid | the `matrix` of DVC's documentation, with values that are mappings |
| templated | data42lana/end-to-end-cv-mlops-project: `vars` from files of another folder, `wdir: ..`, `vars` of stages |
| monorepo | several dvc.yaml below one root that is itself a subfolder of a git repository (`dvc init --subdir`) |
| dvc_2 | example-get-started as DVC 2 left it: ids without `hash: md5`, objects where DVC 2 kept them, texts with the line ends of Windows |
| imports | a model built from `dvc import` and `dvc import-url` of a dataset registry |
| plots | iterative/example-repos-dev, the Fashion-MNIST one: plots and metrics that git keeps, paths with a slash at the end |
| frozen | a pipeline whose expensive stage is frozen |
"""

import dataclasses
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path

from orchestration.bridge.dvc_repo import dvc_2_id
from orchestration.bridge.identity import tree_listing, walk_files
from tests.orchestration.bridge.example_get_started import build_example
from tests.orchestration.bridge.toy import Toy, build


@dataclasses.dataclass(frozen=True)
class Foreign:
    """build: makes the project in a new folder, nothing run. edits: what somebody then does, each told by its name.

    before_edits: after everything was made for the first time.
    """

    build: Callable[[Path], Toy]
    edits: Mapping[str, Callable[[Toy], None]]
    before_edits: Callable[[Toy], None] = lambda toy: None


def replaced(path: str, old: str, new: str) -> Callable[[Toy], None]:
    return lambda toy: toy.replace(path, old, new)


def written(path: str, text: str) -> Callable[[Toy], None]:
    return lambda toy: toy.write(path, text)


def record_lost(name: str) -> Callable[[Toy], None]:
    """The entry of the stage in dvc.lock is gone; what it made is there."""
    return lambda toy: toy.write("dvc.lock", re.sub(rf"  {name}:\n(    .*\n)+", "", (toy.root / "dvc.lock").read_text()))


def _built(files: Mapping[str, str], *added: str) -> Callable[[Path], Toy]:
    def make(root: Path) -> Toy:
        toy = build(root, {".gitignore": "/.figment\n", **files})
        for path in added:
            toy.dvc("add", "-q", path)
        return toy

    return make


def _add_again(path: str, text: str, added: str) -> Callable[[Toy], None]:
    def edit(toy: Toy) -> None:
        toy.write(path, text)
        toy.dvc("add", "-q", added)

    return edit


_EXPERIMENTS = {
    "dvc.yaml": """\
params: [results/train/params.yaml]
metrics: [results/train/metrics.json, results/evaluate/metrics.json]
plots:
  - results/train/plots/metrics: {x: step}
  - results/evaluate/plots/images
artifacts:
  pool-segmentation: {path: models/model.pkl, type: model, desc: finds pools, labels: [cv, segmentation]}
stages:
  data_split:
    cmd: mkdir -p data/test_data data/train_data && head -n 1 data/pool_data/a.txt > data/test_data/a && cat data/pool_data/*.txt > data/train_data/a
    deps: [data/pool_data, src/data_split.py]
    params: [base, data_split]
    outs: [data/test_data, data/train_data]
  train:
    cmd: >-
      mkdir -p results/train/plots/metrics && cp data/train_data/a models/model.pkl && wc -c < data/train_data/a > models/model.pth &&
      echo '{"loss": 0.5}' > results/train/metrics.json && echo 'metrics: [metrics.json]' > results/train/dvc.yaml && cp params.yaml results/train/
    deps: [data/train_data, src/train.py]
    params: [base, train]
    outs: [models/model.pkl, models/model.pth, results/train]
  evaluate:
    cmd: mkdir -p results/evaluate && echo "{\\"dice\\":" $(wc -l < models/model.pkl) "}" > results/evaluate/metrics.json
    deps: [data/test_data, models/model.pkl, src/evaluate.py]
    params: [base, evaluate]
    outs: [results/evaluate]
  sagemaker:
    cmd: cat models/model.pth > model.tar
    deps: [models/model.pth]
    outs: [model.tar]
""",
    "params.yaml": "base: {random_seed: 42}\ndata_split: {test_pct: 0.1}\ntrain: {arch: resnet18, epochs: 8}\nevaluate: {n_samples: 3}\n",
    "data/pool_data/a.txt": "one\ntwo\n",
    "data/pool_data/b.txt": "three\n",
    "models/.gitkeep": "",
    **{f"src/{name}.py": f"# {name}\n" for name in ("data_split", "train", "evaluate")},
}

_LANGUAGES = {
    "dvc.yaml": """\
stages:
  corpus:
    foreach: [de, en, pt br]
    do:
      cmd: |
        mkdir -p corpus
        tr a-z A-Z < "raw/${item}.txt" > "corpus/${item}.txt"

        cd corpus
        ls > /dev/null
        test -f "corpus/${item}.txt"
      deps: ["raw/${item}.txt"]
      outs: ["corpus/${item}.txt"]
  vocabulary:
    cmd:
      - cat corpus/*.txt | tr ' ' '\\n' > vocabulary.txt
      - |
        cd corpus
        wc -l *.txt > ../sizes.txt
    deps: [corpus]
    params: [vocabulary.most, "vocabulary.languages.0", "vocabulary.r*es"]
    outs: [vocabulary.txt, sizes.txt]
  one:
    cmd: ["cat vocabulary.txt > one.txt"]
    deps: [vocabulary.txt]
    outs: [one.txt]
""",
    "params.yaml": "vocabulary:\n  most: 10\n  languages: [de, en]\n  rules: strict\n",
    "raw/de.txt": "ein wort\n",
    "raw/en.txt": "a word\n",
    "raw/pt br.txt": "uma palavra\n",
}

_EVENTS = {
    "pipelines/dvc.yaml": """\
vars:
  - ROOT: ..
  - THEME: ../src/themes/volunteers/_data
stages:
  volunteers:
    cmd: mkdir -p ${THEME}/people && cut -d, -f1 ../data/published/shifts.csv > ${THEME}/people/by_age.csv
    deps: [volunteers.txt, ../data/published/shifts.csv]
    outs:
      - ${THEME}/people/by_age.csv: {cache: false}
  events:
    foreach: ${events}
    do:
      cmd: >-
        cd ${ROOT} && mkdir -p src/${key}-event/_data/tickets &&
        (echo ${item.ids}; cat data/published/*) > src/${key}-event/_data/tickets/ids
      deps: [volunteers.txt, "${ROOT}/data/published/"]
      outs:
        - ${ROOT}/src/${key}-event/_data/tickets/: {cache: false}
""",
    "pipelines/params.yaml": "events:\n  rise: {ids: 1-2}\n  dawn: {ids: 3}\n",
    "pipelines/volunteers.txt": "a notebook\n",
    "data/published/shifts.csv": "20,a\n30,b\n",
    "dvc.yaml": """\
stages:
  report:
    cmd: cat src/rise-event/_data/tickets/ids > report.md
    deps: [src/rise-event/_data/tickets]
    outs: [report.md]
""",
}

_GRID = {
    "dvc.yaml": """\
stages:
  train:
    matrix:
      model:
        - {name: cnn, size: 1}
        - {name: vit, size: 2}
      feature: [a b, a_b, a-b]
    cmd: mkdir -p "out/${key}" && (echo ${item.model.name} ${item.model.size}; cat "features/${item.feature}") > "out/${key}/model"
    deps: ["features/${item.feature}"]
    outs: ["out/${key}"]
  best:
    cmd: sort out/*/model > best.txt
    deps: [out]
    outs: [best.txt]
""",
    "features/a b": "spaced\n",
    "features/a_b": "joined\n",
    "features/a-b": "dashed\n",
}

_TEMPLATED = {
    "pipelines/dvc.yaml": """\
vars:
  - ../configs/params.yaml
  - data_path: {raw: data/raw, prepared: data/prepared}
stages:
  check:
    wdir: ..
    cmd: mkdir -p checks && wc -l ${data_path.raw}/images.csv > checks/run
    deps: ["${data_path.raw}/images.csv"]
    outs:
      - checks/run: {cache: false, persist: true}
    desc: Check raw data
  split:
    wdir: ..
    cmd: mkdir -p ${data_path.prepared} && head -n ${split.train} ${data_path.raw}/images.csv > ${data_path.prepared}/train.csv
    deps: [checks/run]
    outs: ["${data_path.prepared}"]
  tune:
    wdir: ..
    cmd: "echo 'lr: 0.'${tune.digit} > configs/best.yaml"
    deps: ["${data_path.prepared}/train.csv"]
    params:
      - configs/params.yaml: [tune]
    outs:
      - configs/best.yaml: {cache: false}
  train:
    wdir: ../work
    vars: [shapes.yaml]
    cmd: echo ${layers[0]} > model.txt && cat ../${data_path.prepared}/train.csv >> model.txt
    deps: ["../${data_path.prepared}"]
    params:
      - ../configs/best.yaml:
      - shapes.yaml: [layers.0]
    outs: [model.txt]
""",
    "configs/params.yaml": "split: {train: 2}\ntune: {digit: 1, unused: 3}\n",
    "work/shapes.yaml": "layers: [8, 16]\n",
    "data/raw/images.csv": "a\nb\nc\n",
}

_MONOREPO = {
    "dvc.yaml": """\
stages:
  all:
    cmd: cat shop/out/orders shop/models/out/model > all.txt
    deps: [shop/out/orders, shop/models/out/model]
    outs: [all.txt]
""",
    "shop/dvc.yaml": """\
stages:
  orders:
    cmd: mkdir -p out && sort orders.csv > out/orders
    deps: [orders.csv]
    params: [sort]
    outs: [out/orders]
""",
    "shop/params.yaml": "sort: plain\n",
    "shop/orders.csv": "b\na\n",
    "shop/models/dvc.yaml": """\
stages:
  all:
    cmd: mkdir -p out && rev ../out/orders > out/model && cat ../../shared/words.txt >> out/model
    deps: [../out/orders, ../../shared/words.txt]
    outs: [out/model]
    meta: {dagster: {group: shop}}
""",
    "shared/words.txt": "hello\n",
}

_PLOTS = {
    "dvc.yaml": """\
stages:
  prepare:
    cmd: mkdir -p data/prepared && cat data/raw/* > data/prepared/all
    deps: [data/raw/, src/prepare.py]
    params: [prepare.remix, prepare.seed]
    outs: [data/prepared]
  train:
    cmd: mkdir -p models && cp data/prepared/all models/model.h5 && printf 'step,loss\\n0,1\\n1,0.5\\n' > logs.csv
    deps: [data/prepared/, src/train.py]
    params: [model.cnn.units, model.name, train.epochs]
    outs: [models/model.h5]
    plots:
      - logs.csv: {cache: false, x: step, y: loss}
  evaluate:
    cmd: echo "{\\"accuracy\\":" $(wc -c < models/model.h5) "}" > metrics.json && printf 'actual,predicted\\na,a\\n' > confusion.csv
    deps: [models/model.h5, src/evaluate.py]
    metrics:
      - metrics.json: {cache: false}
    plots:
      - confusion.csv: {template: confusion, x: predicted, y: actual}
""",
    "params.yaml": "prepare: {remix: false, seed: 1}\nmodel: {name: cnn, cnn: {units: [1, 2]}}\ntrain: {epochs: 3}\n",
    "data/raw/one": "1\n",
    "data/raw/two": "2\n",
    **{f"src/{name}.py": f"# {name}\n" for name in ("prepare", "train", "evaluate")},
}

_FROZEN = {
    "dvc.yaml": """\
stages:
  clean:
    cmd: sort raw.txt > clean.txt
    deps: [raw.txt]
    outs: [clean.txt]
  embed:
    cmd: rev clean.txt > embedded.txt
    deps: [clean.txt]
    params: [embed]
    outs: [embedded.txt]
  score:
    cmd: wc -c embedded.txt > score.txt
    deps: [embedded.txt]
    outs: [score.txt]
""",
    "params.yaml": "embed: 1\n",
    "raw.txt": "b\na\n",
}


def _build_monorepo(root: Path) -> Toy:
    """A DVC project in the folder `project` of a git repository."""
    from dvc.repo import Repo

    toy = Toy(root)
    for path, text in {".gitignore": "/.figment\n", **_MONOREPO}.items():
        toy.write(path, text)
    subprocess.run(["git", "init", "-q", str(root.parent)], check=True)
    Repo.init(str(root), subdir=True).close()
    toy.dvc("add", "-q", "shared/words.txt")
    return toy


def _as_dvc_2_left_it(toy: Toy) -> None:
    """Ids of texts with the line ends of Unix, without their kind, and the objects where DVC 2 had them."""
    project, cache = toy.project(), toy.root / ".dvc/cache"
    tracked = {out for source in project.graph.sources.values() for out in source.ids}
    tracked |= {path for stage in project.graph.stages.values() for path in (*stage.deps, *stage.writes)}
    old_ids = {}
    for path in (toy.root / name for name in tracked):
        content = project.store.content(path)
        assert content is not None
        old_ids[content.id] = dvc_2_id(path)
        files = {name: dvc_2_id(path / name) for name, _ in walk_files(path)} if path.is_dir() else {"": dvc_2_id(path)}
        objects = {id: (path / name).read_bytes() for name, id in files.items()}
        if path.is_dir():
            objects[old_ids[content.id]] = tree_listing(files)
        for id, data in objects.items():
            (cache / id[:2]).mkdir(exist_ok=True)
            (cache / id[:2] / id[2:]).write_bytes(data)
    for file in (toy.root / "dvc.lock", *toy.root.glob("data/*.dvc")):
        text = re.sub(r"\n +hash: md5", "", file.read_text())
        toy.write(file.relative_to(toy.root).as_posix(), re.sub(r"(?<=md5: )\S+", lambda id: old_ids[id[0]], text))
    shutil.rmtree(cache / "files")


def _build_imports(root: Path) -> Toy:
    """A project that imports a file of another DVC project, and a file by its address."""
    registry = build(root.parent / f"{root.name}-registry", {"words/list.txt": "one\ntwo\n"})
    registry.dvc("add", "-q", "words/list.txt")
    registry.git_commit()
    (root.parent / f"{root.name}-numbers.txt").write_text("1\n2\n")
    toy = build(
        root,
        {
            ".gitignore": "/.figment\n",
            "dvc.yaml": """\
stages:
  model:
    cmd: cat data/list.txt numbers.txt > model.txt
    deps: [data/list.txt, numbers.txt]
    outs: [model.txt]
""",
            "data/.gitkeep": "",
        },
    )
    toy.dvc("import", "-q", str(registry.root), "words/list.txt", "-o", "data/list.txt")
    toy.dvc("import-url", "-q", str(root.parent / f"{root.name}-numbers.txt"), "numbers.txt")
    return toy


def _update_import(toy: Toy) -> None:
    registry = Toy(toy.root.parent / f"{toy.root.name}-registry")
    registry.write("words/list.txt", "one\ntwo\nthree\n")
    registry.dvc("add", "-q", "words/list.txt")
    registry.git_commit()
    toy.dvc("update", "-q", "data/list.txt.dvc")


PROJECTS: Mapping[str, Foreign] = {
    "get_started": Foreign(build_example, {"a param": replaced("params.yaml", "ngrams: 2", "ngrams: 3")}),
    "experiments": Foreign(
        _built(_EXPERIMENTS, "data/pool_data"),
        {
            "data": _add_again("data/pool_data/b.txt", "four\n", "data/pool_data"),
            "seed": replaced("params.yaml", "42", "43"),
            "the record of one with two outputs": record_lost("data_split"),
            "one of two outputs": written("data/test_data/a", "by hand\n"),
        },
    ),
    "languages": Foreign(
        _built(_LANGUAGES),
        {
            "item of a list": replaced("params.yaml", "[de, en]", "[en, de]"),
            "key of a pattern": replaced("params.yaml", "strict", "lax"),
            "a text": written("raw/pt br.txt", "duas\n"),
            "a command that was a list": replaced("dvc.yaml", 'cmd: ["cat vocabulary.txt > one.txt"]', "cmd: cat vocabulary.txt > one.txt"),
        },
    ),
    "events": Foreign(
        _built(_EVENTS),
        {
            "an item": replaced("pipelines/params.yaml", "ids: 3", "ids: 4"),
            "a file of a folder": written("data/published/more.csv", "40,c\n"),
            "a new item": replaced("pipelines/params.yaml", "  dawn", "  noon: {ids: 7}\n  dawn"),
        },
    ),
    "grid": Foreign(_built(_GRID), {"a value": replaced("dvc.yaml", "size: 2", "size: 3"), "a feature": written("features/a_b", "glued\n")}),
    "templated": Foreign(
        _built(_TEMPLATED, "data/raw/images.csv"),
        {
            "a file of vars of a stage": replaced("work/shapes.yaml", "[8, 16]", "[4, 16]"),
            "an unused key of vars": replaced("configs/params.yaml", "unused: 3", "unused: 4"),
            "a file of vars": replaced("configs/params.yaml", "train: 2", "train: 1"),
            "what a stage wrote and another takes for params": written("configs/best.yaml", "lr: 0.7\n"),
        },
    ),
    "monorepo": Foreign(
        _build_monorepo,
        {
            "a param of a folder": replaced("shop/params.yaml", "plain", "fancy"),
            "data of a folder": written("shop/orders.csv", "c\nb\n"),
            "data of another": _add_again("shared/words.txt", "hi\n", "shared/words.txt"),
        },
    ),
    "dvc_2": Foreign(
        _built({**_PLOTS, "data/raw/windows": "line\r\nline\r\n"}, "data/raw"),
        {"a file of code": written("src/train.py", "# other\n"), "an output": lambda toy: (toy.root / "models/model.h5").unlink()},
        before_edits=_as_dvc_2_left_it,
    ),
    "imports": Foreign(_build_imports, {"an import": _update_import, "an edited import": written("numbers.txt", "3\n")}),
    "plots": Foreign(
        _built(_PLOTS, "data/raw"),
        {"a plot that git keeps": written("logs.csv", "step,loss\n"), "a list": replaced("params.yaml", "[1, 2]", "[1, 3]")},
    ),
    "frozen": Foreign(
        _built(_FROZEN),
        {
            "what lies before it": written("raw.txt", "c\na\n"),
            "its param": replaced("params.yaml", "1", "2"),
            "its output": written("embedded.txt", "by hand\n"),
            "thawed": replaced("dvc.yaml", "    frozen: true\n", ""),
        },
        before_edits=replaced("dvc.yaml", "  embed:\n", "  embed:\n    frozen: true\n"),
    ),
}
