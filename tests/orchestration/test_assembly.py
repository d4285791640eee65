"""The project's own definitions: every stage of dvc.yaml is an asset, edge for edge, and nothing heavy is imported to say so."""

import subprocess
import sys
from pathlib import Path

from orchestration.assembly import build_definitions
from orchestration.bridge.mirror import asset_key, stage_name
from orchestration.checkout import open_project

_HEAVY = ("torch", "mlflow", "rdkit", "transformers", "pandas")


def test_the_assets_are_the_stages_of_dvc_yaml_edge_for_edge(project_root: Path) -> None:
    graph = open_project(project_root).graph
    assets = build_definitions(project_root).resolve_asset_graph()

    assert {stage_name(key) for key in assets.materializable_asset_keys} == set(graph.stages)
    for name in graph.stages:
        node = assets.get(asset_key(name))
        assert {stage_name(key) for key in node.parent_keys} == set(graph.upstream(name))
        assert node.description and node.group_name != "default"


def test_trainings_wait_for_a_person_and_for_a_gpu(project_root: Path) -> None:
    assets = build_definitions(project_root).resolve_asset_graph()

    assert assets.get(asset_key("polygpt")).automation_condition is None
    assert assets.get(asset_key("molecules")).automation_condition is not None
    assert assets.get(asset_key("polygpt")).pools == {"gpu"}


def test_loading_the_definitions_imports_nothing_heavy(project_root: Path) -> None:
    program = f"import orchestration.definitions, sys; print([name for name in {_HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], cwd=project_root, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[]"
