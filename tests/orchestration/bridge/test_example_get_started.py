"""The bridge on a project that is not Figment, by the words of its README."""

import importlib.util
import re
from pathlib import Path

import dagster as dg
import pytest

from orchestration.bridge.meta import StageMeta
from orchestration.bridge.mirror import asset_key
from tests.orchestration.bridge.example_get_started import build_example
from tests.orchestration.bridge.toy import Toy, copy_of

STAGES = ("prepare", "featurize", "train", "evaluate")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Toy:
    return build_example(tmp_path_factory.mktemp("example") / "template")


@pytest.fixture
def example(template: Toy, tmp_path: Path) -> Toy:
    return copy_of(template, tmp_path / "example")


@pytest.fixture(scope="module")
def readme(project_root: Path) -> str:
    return (project_root / "orchestration/bridge/README.md").read_text()


def load(path: Path) -> dg.Definitions:
    specification = importlib.util.spec_from_file_location("example_definitions", path)
    assert specification is not None and specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module.defs


def test_the_definitions_of_the_readme_make_all_of_it_and_dvc_agrees(example: Toy, instance: dg.DagsterInstance, readme: str) -> None:
    (source,) = [block for block in re.findall(r"```python\n(.*?)```", readme, flags=re.DOTALL) if "defs = build_definitions(" in block]
    assert len(source.splitlines()) <= 25
    # The package's name where it is installed by itself.
    example.write("definitions.py", source.replace("dagster_dvc", "orchestration.bridge"))
    definitions = load(example.root / "definitions.py")

    result = example.dagster_make(instance, *STAGES, definitions=definitions)

    assert result.success
    assert example.dvc_stale() == set() and example.repro(dry=True) == set()
    made = instance.get_latest_materialization_event(asset_key("evaluate")).asset_materialization
    assert made.metadata["roc_auc"].value == 0.12
    assert made.tags["dagster/data_version"] == example.project().lock().entries["evaluate"].outs["eval/importance.txt"]
    assert definitions.resolve_asset_graph().get(asset_key("evaluate")).parent_keys == {asset_key("featurize"), asset_key("train")}


def test_data_added_by_hand_is_an_input(example: Toy, instance: dg.DagsterInstance) -> None:
    example.make_all()
    example.write("data/data.xml", (example.root / "data/data.xml").read_text() + "<row/>\n")
    example.dvc("add", "-q", "data/data.xml")

    assert example.stale() == example.dvc_stale() == {"prepare"}
    example.make_all()
    assert example.stale() == example.dvc_stale() == set()


def test_a_changed_param_moves_its_stage_only_until_bytes_change(example: Toy) -> None:
    example.make_all()
    example.replace("params.yaml", "n_est: 50", "n_est: 60")

    assert example.stale() == example.dvc_stale() == {"train"}
    assert example.make("train").how == "ran"
    assert example.stale() == example.dvc_stale() == set()


def test_dvc_experiments_work_beside_the_bridge(example: Toy) -> None:
    example.make_all()
    example.git_commit()

    example.dvc("exp", "run", "-q", "-S", "train.n_est=70")

    assert "n_est: 70" in (example.root / "params.yaml").read_text()
    assert example.stale() == example.dvc_stale() == set()


def test_the_readme_documents_every_key_of_meta(readme: str) -> None:
    import dataclasses

    documented = set(re.findall(r"^\| `(\w+)` \|", readme, flags=re.MULTILINE))

    assert documented == {field.name for field in dataclasses.fields(StageMeta)}
