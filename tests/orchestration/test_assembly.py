"""The project's own definitions: every stage of dvc.yaml is an asset, edge for edge."""

from pathlib import Path

from orchestration.assembly import build_definitions
from orchestration.bridge.mirror import asset_key, stage_name
from orchestration.checkout import open_project


def test_the_assets_are_the_stages_of_dvc_yaml_edge_for_edge(project_copy: Path) -> None:
    graph = open_project(project_copy).graph
    assets = build_definitions(project_copy).resolve_asset_graph()

    assert {stage_name(key) for key in assets.materializable_asset_keys} == set(graph.stages)
    for name in graph.stages:
        node = assets.get(asset_key(name))
        assert {stage_name(key) for key in node.parent_keys} == set(graph.upstream(name))
        assert node.description and node.group_name != "default"


def test_trainings_wait_for_a_person_and_for_a_gpu(project_copy: Path) -> None:
    assets = build_definitions(project_copy).resolve_asset_graph()

    assert assets.get(asset_key("polygpt")).automation_condition is None
    assert assets.get(asset_key("molecules")).automation_condition is not None
    assert assets.get(asset_key("polygpt")).pools == {"gpu"}
