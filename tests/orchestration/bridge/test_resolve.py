import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from orchestration.bridge.graph import Graph, GraphError, ParamsFile
from orchestration.bridge.resolve import load_graph
from tests.orchestration.bridge.toy import Toy, build

Load = Callable[..., Graph]


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return build(tmp_path_factory.mktemp("resolve") / "empty", {})


@pytest.fixture
def load(empty: Toy) -> Load:
    """dvc.yaml (and other files by keyword, `params_yaml="…"`) -> Graph."""

    def load_text(dvc_yaml: str, *, params: str = "{}", **others: str) -> Graph:
        for path in [*empty.root.glob("*.yaml"), *empty.root.glob("*.json"), *empty.root.glob("*.toml")]:
            path.unlink()
        empty.write("dvc.yaml", textwrap.dedent(dvc_yaml))
        empty.write("params.yaml", textwrap.dedent(params))
        for name, text in others.items():
            empty.write(name.replace("__", "."), textwrap.dedent(text))
        return load_graph(empty.root)

    return load_text


def test_foreach_over_a_list_makes_a_stage_per_item(load: Load) -> None:
    graph = load("""
        stages:
          clean:
            foreach: [en, de]
            do:
              cmd: clean ${item}
              outs:
                - data/clean/${item}
        """)

    assert list(graph.stages) == ["clean@en", "clean@de"]
    assert graph["clean@de"].cmd == ("clean de",)
    assert graph.producer_of("data/clean/en") == "clean@en"


def test_foreach_over_a_mapping_from_params_uses_key_and_item(load: Load) -> None:
    graph = load(
        """
        stages:
          train:
            foreach: ${models}
            do:
              cmd: train ${key} --lr ${item.lr}
              outs:
                - models/${key}
        """,
        params="models: {small: {lr: 0.1}, large: {lr: 0.01}}",
    )

    assert graph["train@large"].cmd == ("train large --lr 0.01",)


def test_a_matrix_makes_a_stage_per_combination_that_others_depend_on(load: Load) -> None:
    graph = load("""
        stages:
          train:
            matrix: {model: [cnn, vit], seed: [1, 2]}
            cmd: train ${item.model} ${item.seed}
            outs:
              - models/${item.model}/${item.seed}
          compare:
            cmd: compare
            deps: [models]
            outs: [report.md]
        """)

    assert set(graph.stages) == {"train@cnn-1", "train@cnn-2", "train@vit-1", "train@vit-2", "compare"}
    # A folder around several outputs: DVC makes the stage wait for all of them.
    assert set(graph.upstream("compare")) == {"train@cnn-1", "train@cnn-2", "train@vit-1", "train@vit-2"}


def test_outputs_keep_their_options_and_kinds(load: Load) -> None:
    stage = load("""
        stages:
          a:
            cmd: [make one, make two]
            outs:
              - data/kept: {persist: true}
              - data/plain
            metrics:
              - metrics.json: {cache: false}
            plots:
              - curve.csv: {cache: false, x: step, y: loss}
        """)["a"]

    assert stage.cmd == ("make one", "make two")
    assert [(out.path, out.kind, out.cached, out.persist) for out in stage.outs] == [
        ("data/kept", "out", True, True),
        ("data/plain", "out", True, False),
        ("metrics.json", "metric", False, False),
        ("curve.csv", "plot", False, False),
    ]
    assert [out.path for out in stage.data_outs] == ["data/kept", "data/plain"]


def test_params_of_several_files_and_whole_files(load: Load) -> None:
    stage = load(
        """
        stages:
          a:
            cmd: make
            params:
              - a.lr
              - a.depth
              - other.toml: [x, y.z]
              - whole.json:
            outs: [out]
        """,
        other__toml="x = 1\n[y]\nz = 2\n",
        whole__json='{"k": 1}',
    )["a"]

    assert stage.params == (ParamsFile("params.yaml", ("a.lr", "a.depth")), ParamsFile("other.toml", ("x", "y.z")), ParamsFile("whole.json"))


def test_paths_are_relative_to_the_root_whatever_the_working_directory(load: Load, empty: Toy) -> None:
    (empty.root / "sub").mkdir(exist_ok=True)
    graph = load(
        """
        stages:
          a:
            wdir: sub
            cmd: make
            deps: [../raw, own.py]
            params: [lr, ../params.yaml: [other]]
            outs: [out]
          b:
            cmd: use
            deps: [sub/out]
            outs: [b]
        """
    )

    assert graph["a"].wdir == "sub"
    assert graph["a"].deps == ("raw", "sub/own.py")
    assert graph["a"].params == (ParamsFile("sub/params.yaml", ("lr",)), ParamsFile("params.yaml", ("other",)))
    assert graph.upstream("b") == ("a",)


def test_templates_draw_from_vars_and_their_files(load: Load) -> None:
    graph = load(
        """
        vars:
          - names.yaml
          - version: v3
        stages:
          a:
            cmd: make ${word} ${version}
            outs:
              - data/${word}
        """,
        names__yaml="word: tea",
    )

    assert graph["a"].cmd == ("make tea v3",)


def test_top_level_metrics_and_plots_are_known(load: Load) -> None:
    graph = load("""
        stages:
          a: {cmd: make, outs: [eval]}
        metrics: [eval/metrics.json]
        plots:
          - eval/roc.csv: {x: fpr, y: tpr}
          - both: {y: {eval/prc/train.json: precision, eval/prc/test.json: precision}}
        """)

    assert graph.metric_files == ("eval/metrics.json",)
    assert graph.plot_files == ("eval/roc.csv", "eval/prc/train.json", "eval/prc/test.json")


def test_desc_meta_frozen_and_always_changed_are_read(load: Load) -> None:
    graph = load("""
        stages:
          a: {cmd: make, desc: What it is., outs: [a], frozen: true, meta: {dagster: {group: g}, owner: me}}
          b: {cmd: make, outs: [b], deps: [x], always_changed: true}
          c: {cmd: ring}
        """)

    assert graph["a"].desc == "What it is." and graph["a"].frozen and graph["a"].meta == {"dagster": {"group": "g"}, "owner": "me"}
    assert graph["b"].always_changed and not graph["a"].always_changed
    assert [name for name in graph.stages if graph[name].is_callback] == ["c"]


def test_an_absent_dvc_yaml_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"dvc\.yaml: no such file"):
        load_graph(tmp_path)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("stages: {a: {cmd: make, ouputs: [x]}}", ["stages.a.ouputs is not a known key (did you mean 'outs'?)"]),
        ("stages: {a: {cmd: make, outs: [x], deps: 3}}", ["dvc.yaml", "deps"]),
        ("stages: {a: {cmd: 'make ${nowhere}', outs: [x]}}", ["nowhere", "stages.a.cmd"]),
        ("stages: {a: {cmd: make, outs: [x]", ["dvc.yaml", "line"]),
        ("stages: {a: {foreach: [1], do: {cmd: make, depss: [x]}}}", ["stages.a.do.depss is not a known key (did you mean 'deps'?)"]),
        ("stages: {a: {cmd: make, outs: [{x: {presist: true}}]}}", ["presist is not a known key (did you mean 'persist'?)"]),
        ("stagse: {}", ["stagse is not a known key (did you mean 'stages'?)"]),
        ("stages: {a: {cmd: make, outs: [data]}, b: {cmd: make, outs: [data/b]}}", ["data/b", "inside data", "a", "b"]),
        ("stages: {a: {outs: [x]}}", ["cmd", "'a'"]),
        ("stages: {a: {cmd: make, outs: [same]}, b: {cmd: make, outs: [same]}}", ["same", "a", "b"]),
        ("just a sentence", ["dvc.yaml"]),
        ("vars: [absent.yaml]\nstages: {a: {cmd: make, outs: [x]}}", ["absent.yaml"]),
    ],
)
def test_a_dvc_yaml_that_cannot_be_used_is_an_error_that_says_where_and_what(load: Load, text: str, words: list[str]) -> None:
    with pytest.raises(GraphError) as raised:
        load(text)

    assert "dvc.yaml" in str(raised.value)
    assert [word for word in words if word not in str(raised.value)] == []
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("params", ["a: [1", "- just\n- a list\n", "a: {b: 1}\na: {b: 2}\n"])
def test_a_params_file_that_cannot_be_used_is_an_error_that_names_it(load: Load, params: str) -> None:
    with pytest.raises(GraphError, match=r"params\.yaml"):
        load("stages:\n  a:\n    cmd: make ${a.b}\n    outs: [x]\n", params=params)


def test_stages_in_a_circle_are_an_error(load: Load) -> None:
    with pytest.raises(GraphError, match="circle"):
        load("stages: {a: {cmd: make, deps: [y], outs: [x]}, b: {cmd: make, deps: [x], outs: [y]}}")


def test_an_edit_of_any_file_the_graph_was_made_from_is_noticed(empty: Toy, load: Load) -> None:
    load("vars: [names.yaml]\nstages: {a: {cmd: 'make ${word} ${x}', outs: [o]}}", params="x: 1", names__yaml="word: tea")
    memory = empty.root / ".figment/memory"

    def command() -> tuple[str, ...]:
        return load_graph(empty.root, state_dir=memory)["a"].cmd

    assert command() == ("make tea 1",)
    empty.write("names.yaml", "word: ale")
    assert command() == ("make ale 1",)
    empty.write("params.yaml", "x: 2")
    assert command() == ("make ale 2",)
    empty.replace("dvc.yaml", "make", "brew")
    assert command() == ("brew ale 2",)


def test_files_of_dvc_that_come_and_go_in_folders_are_noticed(tmp_path: Path) -> None:
    toy = build(tmp_path / "toy", {"dvc.yaml": "stages: {a: {cmd: make, outs: [out]}}", "deep/er/there": ""})
    memory = toy.root / ".figment/memory"

    def names() -> set[str]:
        graph = load_graph(toy.root, state_dir=memory)
        return {*graph.stages, *graph.sources}

    assert names() == {"a"}
    toy.write("deep/er/dvc.yaml", "stages: {b: {cmd: make, outs: [out]}}")
    assert names() == {"a", "deep/er/b"}
    toy.write("deep/data.dvc", "outs:\n- {path: data, md5: d41d8cd98f00b204e9800998ecf8427e, hash: md5, size: 0}\n")
    assert names() == {"a", "deep/er/b", "deep/data.dvc"}
    # Inside an output, of another project, of an environment, and in a hidden folder.
    for path in ("out/x.dvc", "other/.dvc/config", "other/dvc.yaml", "env/pyvenv.cfg", "env/lib/dvc.yaml", ".hidden/dvc.yaml"):
        toy.write(path, "")
    assert names() == {"a", "deep/er/b", "deep/data.dvc"}
    (toy.root / "deep/er/dvc.yaml").unlink()
    assert names() == {"a", "deep/data.dvc"}
    with pytest.raises(GraphError, match=r"deep: is not the root of its DVC project; pass .*toy"):
        load_graph(toy.root / "deep")


def test_a_damaged_memory_is_made_again(empty: Toy, load: Load) -> None:
    expected = load("stages: {a: {cmd: make, outs: [o]}}")
    memory = empty.root / ".figment/memory"
    load_graph(empty.root, state_dir=memory)
    for text in ("", "{", "[]", '{"format": 3}', "null"):
        (memory / "graph.json").write_text(text)

        assert load_graph(empty.root, state_dir=memory).stages == expected.stages


_FIFTY = "stages:\n" + "".join(
    f"  s{n}:\n    cmd: make {n}\n    deps: [{f'data/s{n - 1}' if n else 'raw'}]\n    params: [s.x]\n    outs: [data/s{n}]\n" for n in range(50)
)
_LOAD = """
import sys
from pathlib import Path
from orchestration.bridge.definitions import build_definitions
from orchestration.bridge.project import Project
defs = build_definitions(Project(Path(sys.argv[1])))
assert len(defs.resolve_asset_graph().materializable_asset_keys) == 50
print(*sorted({name.partition(".")[0] for name in sys.modules}))
"""


def test_definitions_of_fifty_stages_load_without_the_heavy_libraries_and_once_known_without_dvc(tmp_path: Path, project_root: Path) -> None:
    toy = build(tmp_path / "fifty", {"dvc.yaml": _FIFTY, "params.yaml": "s: {x: 1}\n"})

    def modules() -> set[str]:
        done = subprocess.run([sys.executable, "-c", _LOAD, str(toy.root)], cwd=project_root, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return set(done.stdout.split())

    cold, warm = modules(), modules()

    assert not cold & {"torch", "mlflow", "rdkit", "transformers", "pandas", "pyarrow"}
    assert "dvc" in cold
    assert not warm & {"dvc", "dvc_data", "torch", "mlflow", "rdkit", "transformers", "pandas", "pyarrow"}
