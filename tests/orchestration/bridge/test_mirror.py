import dagster as dg

from orchestration.bridge.mirror import asset_key, latest_tags, report_outside_changes
from orchestration.bridge.stage_lock import stage_lock
from tests.orchestration.bridge.toy import STAGES, Toy


def test_each_record_is_told_once(toy: Toy, instance: dg.DagsterInstance) -> None:
    assert report_outside_changes(instance, toy.project()) == list(STAGES)
    assert report_outside_changes(instance, toy.project()) == []


def test_only_what_dvc_made_anew_is_told_again(toy: Toy, instance: dg.DagsterInstance) -> None:
    report_outside_changes(instance, toy.project())
    toy.replace("params.yaml", "word: tea", "word: ale")
    toy.repro("side")

    assert report_outside_changes(instance, toy.project()) == ["side"]
    assert latest_tags(instance, toy.project().graph, "side")["dagster/data_version"] == toy.status()["side"].id


def test_an_event_says_id_outputs_and_door_and_points_to_its_inputs(toy: Toy, instance: dg.DagsterInstance) -> None:
    toy.replace("params.yaml", "word: tea", "word: ale")
    toy.repro("side")
    report_outside_changes(instance, toy.project())

    found = {name: instance.get_latest_materialization_event(asset_key(name)).asset_materialization for name in ("side", "evens")}

    assert found["side"].metadata["door"].value == "dvc" and found["evens"].metadata["door"].value == "figment"
    assert found["evens"].metadata["id"].value == toy.status()["evens"].id
    rows = instance.get_latest_data_version_record(asset_key("rows"))
    assert found["evens"].tags["dagster/input_event_pointer/rows"] == str(rows.storage_id)


def test_a_stage_that_is_being_made_is_left_alone(toy: Toy, instance: dg.DagsterInstance) -> None:
    with stage_lock(toy.project().paths.locks, "evens", door="test"):
        assert "evens" not in report_outside_changes(instance, toy.project())
    assert report_outside_changes(instance, toy.project()) == ["evens"]


def test_names_limit_what_is_told(toy: Toy, instance: dg.DagsterInstance) -> None:
    assert report_outside_changes(instance, toy.project(), ["rows", "side"]) == ["rows", "side"]


def test_stages_never_made_are_nothing_to_tell(toy: Toy, instance: dg.DagsterInstance) -> None:
    (toy.root / "dvc.lock").unlink()

    assert report_outside_changes(instance, toy.project()) == []
