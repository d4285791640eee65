"""The bridge in the shape that Dagster's community expects: a component in YAML and Python, a translator, a decorator, and a wheel of its own."""

import json
import os
import re
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext
from dagster.components.testing.utils import create_defs_folder_sandbox

from orchestration import bridge
from orchestration.bridge.component import STATE_DIR, DvcProjectComponent
from orchestration.bridge.decorator import DvcInvocation, dvc_assets
from orchestration.bridge.definitions import build_definitions
from orchestration.bridge.graph import GraphError, Source, Stage
from orchestration.bridge.mirror import report_outside_changes
from orchestration.bridge.project import Project
from orchestration.bridge.translator import DagsterDvcTranslator
from tests.orchestration.bridge.toy import STAGES, Toy


class InLayers(DagsterDvcTranslator):
    """Every asset below `numbers`, in a group of its own."""

    def get_asset_spec(self, project: Project, stage: Stage | Source) -> dg.AssetSpec:
        spec = super().get_asset_spec(project, stage)
        return spec.replace_attributes(key=spec.key.with_prefix("numbers"), group_name=f"layer_{stage.name}", deps=["nonsense"], code_version="1")


@pytest.fixture
def dev(monkeypatch: pytest.MonkeyPatch) -> None:
    """As `dg dev` does it in a new process: states are written anew when definitions are loaded."""
    monkeypatch.setenv("DAGSTER_IS_DEV_CLI", "1")
    # A run in this process, of whatever earlier test, leaves behind that definitions are to be built from what is there.
    monkeypatch.setattr(DefinitionsLoadContext, "_instance", None)


@pytest.mark.slow
def test_the_translator_decides_how_assets_look_and_dvc_what_they_were_made_from(toy: Toy, instance: dg.DagsterInstance) -> None:
    definitions = build_definitions(toy.project(), executor=dg.in_process_executor, translator=InLayers())
    graph = definitions.resolve_asset_graph()
    evens = graph.get(dg.AssetKey(["numbers", "evens"]))
    assert (evens.parent_keys, evens.group_name) == ({dg.AssetKey(["numbers", "rows"])}, "layer_evens")
    assert evens.code_version != "1"

    job = definitions.resolve_implicit_global_asset_job_def()
    toy.replace("params.yaml", "modulo: 2", "modulo: 3")
    assert job.execute_in_process(instance=instance, asset_selection=[evens.key]).success

    told = instance.get_latest_materialization_event(evens.key).asset_materialization
    assert told.tags["dagster/data_version"] == toy.project().lock().entries["evens"].outs["data/evens"]
    assert "dagster/input_data_version/numbers/rows" in told.tags
    # The mirror of these definitions tells the same, and nothing anew.
    keys = {name: ("numbers", name) for name in STAGES}
    assert "evens" not in report_outside_changes(instance, toy.project().with_keys(keys))


def test_scaffolded_yaml_makes_the_assets(toy: Toy, dev: None) -> None:
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(component_cls=DvcProjectComponent, scaffold_params={"project_path": str(toy.root), "key_prefix": ["toy"]})
        text = (path / "defs.yaml").read_text()
        with sandbox.load_component_and_build_defs(defs_path=path) as (component, definitions):
            assert isinstance(component, DvcProjectComponent)
            assert definitions.resolve_asset_graph().materializable_asset_keys == {dg.AssetKey(["toy", name]) for name in STAGES}

        (path / "defs.yaml").write_text(
            text + '  translation:\n    group_name: "of_{{ data.name }}"\n    key: "{{ spec.key.to_user_string() }}/made"\n'
        )
        with sandbox.load_component_and_build_defs(defs_path=path) as (_, definitions):
            evens = definitions.resolve_asset_graph().get(dg.AssetKey(["toy", "evens", "made"]))
            assert (evens.group_name, evens.parent_keys) == ("of_evens", {dg.AssetKey(["toy", "rows", "made"])})


def test_scaffolded_python_names_the_component() -> None:
    with create_defs_folder_sandbox() as sandbox:
        path = sandbox.scaffold_component(component_cls=DvcProjectComponent, scaffold_format="python")
        assert "def load(context: dg.ComponentLoadContext) -> DvcProjectComponent" in (path / "component.py").read_text()


@pytest.mark.slow
def test_the_decorator_makes_any_subset_of_its_stages(toy: Toy, instance: dg.DagsterInstance) -> None:
    seen = []

    @dvc_assets(project=toy.project(), select=["evens", "t*"])
    def numbers(context: dg.AssetExecutionContext, dvc: DvcInvocation) -> Iterator[Any]:
        seen.extend(dvc.stages)
        yield from dvc.materialize()

    assert numbers.keys == {dg.AssetKey("evens"), dg.AssetKey("total")}
    toy.replace("params.yaml", "modulo: 2", "modulo: 3")

    assert dg.materialize([numbers, dg.AssetSpec("rows")], instance=instance).success
    assert dg.materialize([numbers, dg.AssetSpec("rows")], instance=instance, selection=["total"]).success

    assert seen == ["evens", "total", "total"]
    assert toy.dvc_stale() == toy.stale() == {"report"}
    with pytest.raises(GraphError, match="'tot' fits no stage; stages: rows"):
        dvc_assets(project=toy.project(), select=["tot"])


def test_the_folder_imports_itself_by_relative_names_only(project_root: Path) -> None:
    """It has two names: here `orchestration.bridge`, and `dagster_dvc` where it is installed by itself."""
    files = {path.name: path.read_text() for path in (project_root / "orchestration/bridge").glob("*.py")}
    assert [name for name, text in files.items() if "orchestration.bridge" in text] == []
    homes = dict(re.findall(r"^    from \.(\w+) import (.*)$", files["__init__.py"], flags=re.MULTILINE))
    assert {name: home for home, names in homes.items() for name in names.split(", ")} == bridge._HOMES
    assert sorted(bridge._HOMES) == bridge.__all__ == sorted(dir(bridge))


WITHOUT_DVC = """
import importlib.machinery, sys
class Finder(importlib.machinery.PathFinder):
    @classmethod
    def find_spec(cls, name, path=None, target=None):
        return None if name.partition(".")[0] in ("dvc", "dvc_data", "dvc_objects") else super().find_spec(name, path, target)
sys.meta_path[:] = [Finder if finder is importlib.machinery.PathFinder else finder for finder in sys.meta_path]
"""


@pytest.mark.slow
def test_the_folder_is_a_wheel_that_loads_a_project_and_starts_from_a_state_without_dvc(toy: Toy, tmp_path: Path, project_root: Path) -> None:
    source, wheels, target = tmp_path / "source", tmp_path / "wheels", tmp_path / "target"
    subprocess.run(["cp", "-a", str(project_root / "orchestration/bridge"), str(source)], check=True)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    built = subprocess.run([*pip, "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(source)], capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    (wheel,) = wheels.glob("dagster_dvc-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        assert {"dagster_dvc/py.typed", "dagster_dvc/supervise.py", "dagster_dvc/component.py"} <= names
        assert not [name for name in names if name.endswith(".py") and b"orchestration.bridge" in archive.read(name)]
    installed = subprocess.run([*pip, "install", "-q", "--no-deps", "--target", str(target), str(wheel)], capture_output=True, text=True)
    assert installed.returncode == 0, installed.stderr

    def run(program: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(target), "DAGSTER_HOME": ""}
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", textwrap.dedent(program)], cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[-1]

    made = run(
        f"""
        import dagster as dg, json, pathlib, dagster_dvc
        from dagster.components.core.package_entry import discover_entry_point_package_objects
        assert "target" in dagster_dvc.__file__
        assert any(str(key.to_typename()) == "dagster_dvc.DvcProjectComponent" for key in discover_entry_point_package_objects())
        component = dagster_dvc.DvcProjectComponent(project={str(toy.root)!r})
        component.write_state_to_path(pathlib.Path("state.json"))
        project = dagster_dvc.Project(pathlib.Path({str(toy.root)!r}), state_dir={STATE_DIR!r})
        defs = dagster_dvc.build_definitions(project, executor=dg.in_process_executor)
        with dg.DagsterInstance.ephemeral() as instance:
            done = defs.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)
        print(json.dumps([done.success, sorted(key.to_user_string() for key in defs.resolve_asset_graph().materializable_asset_keys)]))
        """
    )
    assert json.loads(made) == [True, sorted(STAGES)]
    assert toy.dvc_stale() == set()

    loaded = run(
        WITHOUT_DVC
        + textwrap.dedent(
            f"""
        import pathlib, dagster_dvc, sys
        from dagster.components.testing.utils import ComponentTree
        component = dagster_dvc.DvcProjectComponent(project={str(toy.root)!r})
        defs = component.build_defs_from_state(ComponentTree.for_test().load_context, pathlib.Path("state.json"))
        print(len(defs.resolve_asset_graph().materializable_asset_keys), "dvc" in sys.modules)
        """
        )
    )
    assert loaded == f"{len(STAGES)} False"
