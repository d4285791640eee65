import time

import dagster as dg
import pytest

from orchestration.bridge.assets import reported_metadata
from orchestration.bridge.mirror import asset_key, report_outside_changes
from tests.orchestration.bridge.toy import STAGES, Toy

# A stage that talks to whoever runs it, as stages.reporting does.
TALKER = """
import os, pathlib, sys
from dagster_pipes import open_dagster_pipes
print("hello from the stage", flush=True)
with open_dagster_pipes() as pipes:
    pipes.report_asset_check(check_name="seen", passed=True, metadata={"looked": 3})
    if "fail" in pathlib.Path("raw/a.txt").read_text():
        pipes.report_asset_check(check_name="sane", passed=False, severity="ERROR")
        sys.exit("figment: no sane rows")
    pipes.report_asset_check(check_name="sane", passed=True)
    os.makedirs("data/talker", exist_ok=True)
    open("data/talker/x", "w").write("x")
    pipes.report_custom_message({"metadata": {
        "rows": 5, "loss": 0.25,
        "table": {"raw_value": "|a|\\n|-|", "type": "md"},
        "run": {"raw_value": "http://127.0.0.1/x", "type": "url"},
        "shape": {"raw_value": [1, 2], "type": "json"},
        "page": {"raw_value": "data/talker/x", "type": "path"},
        "dagster run": os.environ.get("DAGSTER_RUN_ID", "none"),
    }})
"""

# Variants of several outputs, and a stage that reads the folder around them.
PAIRS = """\
stages:
  pair:
    foreach: [x-1, y]
    do:
      cmd: mkdir -p two/${item} && echo ${item} > two/${item}/a && echo b > two/${item}.b
      deps: [raw]
      outs:
        - two/${item}
        - two/${item}.b
  both:
    cmd: ls two > both.txt
    deps: [two]
    outs: [both.txt]
"""


@pytest.fixture
def talker(toy: Toy) -> Toy:
    toy.write("code/talker.py", TALKER)
    toy.replace(
        "dvc.yaml",
        "stages:\n",
        "stages:\n  talker:\n    cmd: python -B code/talker.py\n    deps: [code/talker.py, raw]\n    outs: [data/talker]\n"
        "    meta: {dagster: {checks: [seen, sane]}}\n",
    )
    return toy


def latest(instance: dg.DagsterInstance, name: str) -> dg.AssetMaterialization:
    event = instance.get_latest_materialization_event(asset_key(name))
    assert event is not None and event.asset_materialization is not None
    return event.asset_materialization


def failure_of(result: dg.ExecuteInProcessResult, name: str) -> str:
    (event,) = [event for event in result.all_events if event.is_step_failure and event.step_key == name]
    return (
        event.step_failure_data.error_display_string
        if event.step_failure_data.user_failure_data is None
        else event.step_failure_data.user_failure_data.description
    )


def test_a_run_records_ids_versions_and_facts(toy: Toy, instance: dg.DagsterInstance) -> None:
    toy.replace("params.yaml", "repeat: 1", "repeat: 2")
    before = toy.runs("rows")

    assert toy.dagster_make(instance, *STAGES).success

    assert toy.runs("rows") == before + 1
    made, entry = latest(instance, "evens"), toy.project().lock().entries["evens"]
    assert made.tags["dagster/data_version"] == made.metadata["id"].value == entry.outs["data/evens"]
    assert made.tags["dagster/input_data_version/rows"] == latest(instance, "rows").tags["dagster/data_version"] == entry.deps["data/rows"]
    assert made.metadata["how"].value == "ran" and made.metadata["files"].value == 1 and made.metadata["bytes"].value == 8
    assert "data/rows (written by rows) changed from" in made.metadata["made because"].value.replace("\\", "")
    assert latest(instance, "total").metadata["total"].value == 12
    assert toy.dagster_stale(instance) == set()


def test_a_check_that_dvc_yaml_does_not_announce_loses_no_work(talker: Toy, instance: dg.DagsterInstance) -> None:
    talker.replace("dvc.yaml", "checks: [seen, sane]", "checks: [seen]")

    result = talker.dagster_make(instance, "talker")

    assert result.success
    assert {check.check_name for check in result.get_asset_check_evaluations()} & {"seen", "sane"} == {"seen"}
    assert latest(instance, "talker").metadata["rows"].value == 5


def test_a_fresh_stage_is_confirmed_without_a_run(toy: Toy, instance: dg.DagsterInstance) -> None:
    before = {name: toy.runs(name) for name in STAGES}

    assert toy.dagster_make(instance, *STAGES).success

    assert {name: toy.runs(name) for name in STAGES} == before
    assert latest(instance, "rows").metadata["how"].value == "fresh"
    assert toy.dagster_stale(instance) == set()


def test_a_rerun_is_forced_by_configuration_or_by_tag(toy: Toy, instance: dg.DagsterInstance) -> None:
    before = toy.runs("side")

    toy.dagster_make(instance, "side", force=True)
    assert toy.runs("side") == before + 1
    toy.dagster_make(instance, "side", tags={"force": "true"})
    assert toy.runs("side") == before + 2
    toy.dagster_make(instance, "side", force=False, tags={"force": "no"})
    assert toy.runs("side") == before + 2


def test_a_failing_stage_shows_its_own_words_and_none_of_our_traceback(toy: Toy, instance: dg.DagsterInstance) -> None:
    report_outside_changes(instance, toy.project())
    toy.replace("code/evens.py", "modulo = int", 'raise SystemExit("figment: the moon is full")\nmodulo = int')

    result = toy.dagster_make(instance, "evens", "total")

    assert not result.success
    words = failure_of(result, "evens")
    assert words.startswith("figment: the moon is full") and "Traceback" not in words and "materialize.py" not in words
    assert [event.step_key for event in result.all_events if event.is_step_failure] == ["evens"]
    assert "evens" in toy.dagster_stale(instance)


def test_what_moved_while_the_command_ran_is_said_and_not_recorded(toy: Toy, instance: dg.DagsterInstance) -> None:
    report_outside_changes(instance, toy.project())
    toy.replace("code/side.py", 'begin("side")', 'begin("side")\nwrite("raw/a.txt", "moved")')

    result = toy.dagster_make(instance, "side")

    assert "raw changed while its command ran" in failure_of(result, "side")
    assert "side" in toy.dagster_stale(instance)


def test_what_a_stage_says_arrives_with_its_types(talker: Toy, instance: dg.DagsterInstance) -> None:
    result = talker.dagster_make(instance, "talker")

    assert result.success
    metadata = latest(instance, "talker").metadata
    assert metadata["rows"].value == 5 and metadata["loss"].value == 0.25 and metadata["how"].value == "ran"
    assert isinstance(metadata["table"], dg.MarkdownMetadataValue) and isinstance(metadata["run"], dg.UrlMetadataValue)
    assert metadata["shape"].value == [1, 2]
    assert metadata["page"] == dg.MetadataValue.path("data/talker/x")
    # What a person opens comes first, then numbers, then how it was made.
    assert [*metadata][:6] == ["table", "run", "page", "rows", "loss", "shape"]
    assert metadata["dagster run"].value == result.run_id
    checks = {evaluation.check_name: evaluation for evaluation in result.get_asset_check_evaluations()}
    assert checks["seen"].passed and checks["sane"].passed and checks["seen"].metadata["looked"].value == 3


def test_check_results_reported_before_a_failure_are_kept(talker: Toy, instance: dg.DagsterInstance) -> None:
    talker.write("raw/a.txt", "fail")

    result = talker.dagster_make(instance, "talker")

    assert not result.success and failure_of(result, "talker").startswith("figment: no sane rows")
    assert {evaluation.check_name: evaluation.passed for evaluation in result.get_asset_check_evaluations()} == {"seen": True, "sane": False}


def test_a_stage_with_checks_of_its_own_may_be_found_fresh(talker: Toy, instance: dg.DagsterInstance) -> None:
    talker.make("talker")

    result = talker.dagster_make(instance, "talker")

    assert result.success and latest(instance, "talker").metadata["how"].value == "fresh"


def test_a_write_outside_its_folder_appears_with_the_artifact(toy: Toy, instance: dg.DagsterInstance) -> None:
    toy.replace("code/side.py", 'write("data/side', 'write("notes.txt", "x")\nwrite("data/side')

    toy.dagster_make(instance, "side")

    assert latest(instance, "side").metadata["written outside its output"].value == ["notes.txt (new)"]


def test_names_of_variants_and_several_outputs_are_assets(toy: Toy, instance: dg.DagsterInstance) -> None:
    toy.replace("dvc.yaml", "stages:\n", PAIRS)

    assert toy.dagster_make(instance, "pair@x-1", "pair@y", "both").success

    assert len(latest(instance, "pair@x-1").tags["dagster/data_version"]) == 32
    report_outside_changes(instance, toy.project())
    assert toy.dagster_stale(instance) == toy.stale() == toy.dvc_stale() == set()
    # A folder around the outputs of two stages is an edge from each.
    toy.replace("dvc.yaml", "&& echo b >", "&& echo c >")
    toy.make("pair@x-1")
    report_outside_changes(instance, toy.project())
    assert toy.dagster_stale(instance) == toy.stale() == toy.dvc_stale() == {"pair@y", "both"}


def test_upstream_that_dvc_made_is_known_before_its_reader_is_recorded(toy: Toy, instance: dg.DagsterInstance) -> None:
    toy.replace("params.yaml", "repeat: 1", "repeat: 2")
    toy.repro("rows", single_item=True)

    toy.dagster_make(instance, "evens")

    assert "evens" not in toy.dagster_stale(instance)
    assert latest(instance, "rows").metadata["door"].value == "dvc"


def test_a_run_that_finds_its_stage_being_made_waits_and_finds_it_fresh(toy: Toy, instance: dg.DagsterInstance) -> None:
    toy.replace("params.yaml", "word: tea", "word: ale")
    toy.replace("code/side.py", 'begin("side")', 'begin("side")\nimport time; time.sleep(1)')
    before = toy.runs("side")
    other = toy.in_background("side")
    while toy.runs("side") == before:
        time.sleep(0.01)

    result = toy.dagster_make(instance, "side")

    assert other.result().how == "ran" and toy.runs("side") == before + 1
    assert result.success and latest(instance, "side").metadata["how"].value == "fresh"


def test_the_run_tag_door_is_remembered_with_the_artifact(toy: Toy, instance: dg.DagsterInstance) -> None:
    toy.dagster_make(instance, "side", force=True, tags={"door": "figment"})

    (door,) = toy.project().store.connection().execute("SELECT door FROM events ORDER BY number DESC LIMIT 1").fetchone()
    assert door == "figment"


def test_what_a_dvc_yaml_says_of_a_stage_is_on_its_asset(toy: Toy) -> None:
    graph = toy.definitions().resolve_asset_graph()
    rows, evens = graph.get(asset_key("rows")), graph.get(asset_key("evens"))

    assert rows.description == "The numbers of all raw files." and rows.group_name == "tables" and rows.kinds == {"text"}
    assert rows.metadata["command"] == "python -SB code/rows.py"
    assert evens.owners == ["team:numbers"] and evens.tags["tier"] == "gold" and evens.pools == {"few"} and evens.kinds == {"dvc"}
    assert evens.parent_keys == {asset_key("rows")}


def test_a_run_says_where_its_log_is_and_a_fresh_stage_has_none(talker: Toy, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DAGSTER_WEBSERVER_URL", "http://127.0.0.1:3000/")

    result = talker.dagster_make(instance, "talker")

    metadata = latest(instance, "talker").metadata
    assert metadata["log"].value == f"http://127.0.0.1:3000/runs/{result.run_id}?logType=stderr&logFileKey=talker"
    assert metadata["log_file"].path.endswith(f"storage/{result.run_id}/compute_logs/talker.err")
    talker.dagster_make(instance, "talker")
    assert not {"log", "log_file"} & set(latest(instance, "talker").metadata)


def test_variants_are_a_group_below_that_of_their_stage(toy: Toy) -> None:
    toy.replace("dvc.yaml", "stages:\n", PAIRS.replace("      deps: [raw]\n", "      deps: [raw]\n      meta: {dagster: {group: tables}}\n"))
    graph = toy.definitions().resolve_asset_graph()

    assert asset_key("pair@y").path == ["pair", "y"]
    assert {name: graph.get(asset_key(name)).group_name for name in ("pair@x-1", "pair@y", "rows")} == {
        "pair@x-1": "tables/pair",
        "pair@y": "tables/pair",
        "rows": "tables",
    }


def test_a_description_shows_the_small_pictures_among_the_plots(toy: Toy) -> None:
    toy.write("dvc.yaml", (toy.root / "dvc.yaml").read_text() + "plots: [data/rows/a.png, data/rows/b.png, data/rows/none.png, data/rows/t.csv]\n")
    for name, content in (("a.png", b"png"), ("b.png", bytes(200_000)), ("t.csv", b"x,y")):
        toy.root.joinpath("data/rows", name).write_bytes(content)

    description = toy.definitions().resolve_asset_graph().get(asset_key("rows")).description

    assert description == "The numbers of all raw files.\n\n![a](data:image/png;base64,cG5n)"


def test_odd_messages_of_a_stage_are_no_metadata() -> None:
    assert reported_metadata(["text", 3, {"other": 1}, {"metadata": {"a": 1}}, {"metadata": {"a": 2}}]) == {"a": 2}
