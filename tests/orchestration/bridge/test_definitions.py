import dagster as dg
import pytest

from orchestration.bridge.graph import GraphError
from orchestration.bridge.mirror import asset_key
from tests.orchestration.bridge.toy import STAGES, Toy


def test_the_asset_graph_is_the_graph_of_dvc_yaml_edge_for_edge(toy: Toy) -> None:
    graph, assets = toy.project().graph, toy.definitions().resolve_asset_graph()

    assert assets.materializable_asset_keys == {asset_key(name) for name in STAGES}
    for name in STAGES:
        assert assets.get(asset_key(name)).parent_keys == {asset_key(before) for before in graph.upstream(name)}
        assert assets.get(asset_key(name)).description


def test_definitions_can_be_loaded_and_bring_mirror_automation_and_clean_up(toy: Toy) -> None:
    definitions = toy.definitions()

    dg.Definitions.validate_loadable(definitions)

    assert {sensor.name for sensor in definitions.sensors} == {"dvc_mirror", "dead_runs", "on_data"}
    assert all(sensor.description for sensor in definitions.sensors)


def test_a_graph_without_automation_has_no_sensor_for_it(toy: Toy) -> None:
    toy.write("dvc.yaml", (toy.root / "dvc.yaml").read_text().replace("automation: on_data", "automation: manual"))

    assert {sensor.name for sensor in toy.definitions().sensors} == {"dvc_mirror", "dead_runs"}


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        ("rows+", {"rows", "evens", "report"}),
        ("key:evens+1", {"evens", "total"}),
        ("+total", {"evens", "total"}),
        ("group:tables", {"rows", "evens"}),
        ("kind:text", {"rows"}),
        ("tag:tier=gold or key:side", {"evens", "side"}),
        ("*", set(STAGES)),
    ],
)
def test_selections_by_string_work_beside_dvc(toy: Toy, selection: str, expected: set[str]) -> None:
    graph = toy.definitions().resolve_asset_graph()

    found = dg.AssetSelection.from_string(selection).resolve(graph)

    assert {key.path[-1] for key in found} == expected


def test_a_project_never_made_loads(toy: Toy, instance: dg.DagsterInstance) -> None:
    (toy.root / "dvc.lock").unlink()

    assert toy.dagster_stale(instance) == set(STAGES)


def test_unusable_meta_is_an_error_at_load_that_names_the_stage(toy: Toy) -> None:
    toy.replace("dvc.yaml", "group: tables, kinds", "grup: tables, kinds")

    with pytest.raises(GraphError, match="rows: meta.dagster.grup is not a known key .did you mean 'group'"):
        toy.definitions()
