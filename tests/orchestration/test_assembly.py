"""The project's own definitions: every stage of dvc.yaml is an asset, edge for edge."""

from pathlib import Path

from orchestration.assembly import _links as links_of
from orchestration.assembly import build_definitions
from orchestration.bridge.mirror import asset_key
from orchestration.checkout import open_project
from orchestration.runs.up import _only_one as only_one
from tests.orchestration.bridge.toy import stage_name


def test_the_assets_are_the_stages_of_dvc_yaml_edge_for_edge(project_copy: Path) -> None:
    graph = open_project(project_copy).graph
    assets = build_definitions(project_copy).resolve_asset_graph()

    assert {stage_name(key) for key in assets.materializable_asset_keys} == set(graph.stages)
    for name in graph.stages:
        node = assets.get(asset_key(name))
        assert {stage_name(key) for key in node.parent_keys} == set(graph.upstream(name))
        assert node.description and node.group_name != "default"
    assert assets.get(asset_key("toc_dataset@128")).group_name == "papers/toc_dataset"


def test_whatever_acts_by_itself_says_what_it_does(project_copy: Path) -> None:
    definitions = build_definitions(project_copy)

    assert {sensor.name: bool(sensor.description) for sensor in definitions.sensors} == dict.fromkeys(
        ("dvc_mirror", "dead_runs", "on_data", "withdrawn_items"), True
    )
    assert {schedule.name for schedule in definitions.schedules if not schedule.description} == set()
    assert definitions.resolve_job_def("refresh_journal_pages").description.startswith("Runs the command of journal_pages again")


def test_a_command_is_told_the_pages_of_the_services_that_are_up_or_would_be(project_copy: Path) -> None:
    stage = open_project(project_copy).graph["polygpt"]
    with only_one(project_copy) as announce:
        announce({"dagster": "http://127.0.0.1:3471/server_info", "mlflow": "http://127.0.0.1:5471/health"})
        up = links_of(project_copy, stage, {"DAGSTER_RUN_URL": "http://127.0.0.1:3471/runs/abc"})
    down = links_of(project_copy, stage, {})

    assert up["FIGMENT_RUN_URL"] == "http://127.0.0.1:3471/runs/abc" and up["FIGMENT_MLFLOW_URL"] == "http://127.0.0.1:5471"
    assert "FIGMENT_RUN_URL" not in down and down["FIGMENT_MLFLOW_URL"] == "http://127.0.0.1:5000"
    assert links_of(project_copy, stage, {"FIGMENT_MLFLOW_URL": "http://lab:80"})["FIGMENT_MLFLOW_URL"] == "http://lab:80"


def test_trainings_wait_for_a_person_and_for_a_gpu(project_copy: Path) -> None:
    assets = build_definitions(project_copy).resolve_asset_graph()

    assert assets.get(asset_key("polygpt")).automation_condition is None
    assert assets.get(asset_key("molecules")).automation_condition is not None
    assert assets.get(asset_key("polygpt")).pools == {"gpu"}
