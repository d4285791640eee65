"""Several DVC projects, and definitions of others, in one code location."""

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteJobOrigin, RemoteRepositoryOrigin

from orchestration.bridge.dead_runs import WORKER_TAG, reap_dead_runs
from orchestration.bridge.definitions import build_definitions
from orchestration.bridge.graph import Out, Stage, build_graph
from orchestration.bridge.project import Project
from orchestration.bridge.translator import op_names
from tests.orchestration.bridge.toy import STAGES, Toy, copy_of


@dg.asset
def of_somebody_else() -> None:
    """An asset that has nothing to do with DVC."""


@dg.sensor(asset_selection=[of_somebody_else])
def their_sensor() -> dg.SkipReason:
    return dg.SkipReason("nothing to do")


@pytest.mark.slow
def test_two_projects_and_definitions_of_others_with_their_executor(toy: Toy, instance: dg.DagsterInstance, tmp_path: Path) -> None:
    second = copy_of(toy, tmp_path / "second")
    second.replace("params.yaml", "repeat: 1", "repeat: 2")
    projects = {name: Project(root, key_prefix=[name]) for name, root in (("one", toy.root), ("two", second.root))}
    theirs = dg.Definitions(assets=[of_somebody_else], sensors=[their_sensor], executor=dg.in_process_executor)

    merged = dg.Definitions.merge(theirs, *(build_definitions(project, executor=None) for project in projects.values()))

    repository = merged.get_repository_def()
    keys = {dg.AssetKey([prefix, name]) for prefix in projects for name in STAGES}
    assert merged.resolve_asset_graph().materializable_asset_keys == {of_somebody_else.key, *keys}
    assert {sensor.name for sensor in repository.sensor_defs} == {
        "their_sensor", *(f"{prefix}_{name}" for prefix in projects for name in ("dvc_mirror", "dead_runs", "on_data"))
    }  # fmt: skip
    for prefix in projects:
        selection = repository.get_sensor_def(f"{prefix}_on_data").asset_selection
        assert selection.resolve(merged.resolve_asset_graph()) == {key for key in keys if key.path[0] == prefix}
    done = merged.resolve_implicit_global_asset_job_def().execute_in_process(instance=instance)
    assert done.success
    assert second.dvc_stale() == toy.dvc_stale() == set()
    told = {prefix: instance.get_latest_materialization_event(dg.AssetKey([prefix, "rows"])).asset_materialization.tags for prefix in projects}
    assert told["one"]["dagster/data_version"] != told["two"]["dagster/data_version"]


@pytest.mark.parametrize(
    "names",
    [("tr@a b", "tr@a_b"), ("tr@a b", "tr@a+b"), ("a/tr", "a@tr"), ("a-b", "a_b"), ("tr@a", "tr_a"), ("tr@a/b", "tr@a_b"), ("tr@ü", "tr@ö")],
)
def test_no_two_stages_share_a_key_or_an_op(names: tuple[str, str]) -> None:
    graph = build_graph(Path("/project"), [Stage(name, (name,), (), (), (Out(name.encode().hex()),)) for name in names])

    keys = [dg.AssetKey(list(graph.key(name))) for name in names]
    assert len(set(keys)) == len({key.to_python_identifier() for key in keys} | set(keys)) - len({key.to_python_identifier() for key in keys}) == 2
    assert len(set(op_names(graph).values())) == 2


def started_in(instance: dg.DagsterInstance, location: str | None, tags: dict[str, str], status: dg.DagsterRunStatus) -> str:
    origin = RemoteJobOrigin(RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(location), "repository"), "job") if location else None
    run = dg.DagsterRun(job_name="job", status=status, remote_job_origin=origin, tags=tags)
    instance.add_run(run)
    return run.run_id


def test_runs_of_other_code_locations_are_never_reaped(instance: dg.DagsterInstance) -> None:
    from orchestration.bridge.dead_runs import worker_tag

    begun, starting = dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING
    dead = {WORKER_TAG: worker_tag(1).rsplit(".", 1)[0] + ".1"}
    ours = {started_in(instance, "ours", dead, begun), started_in(instance, None, dead, begun), started_in(instance, "ours", {}, starting)}
    others = [started_in(instance, "theirs", dead, begun), started_in(instance, "theirs", {}, starting), started_in(instance, None, {}, starting)]

    assert set(reap_dead_runs(instance, location="ours", starting_timeout_s=-1)) == ours

    assert [instance.get_run_by_id(run_id).is_finished for run_id in others] == [False] * 3


def test_runs_that_another_launcher_starts_are_left_to_it(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    started_in(instance, "ours", {}, dg.DagsterRunStatus.STARTING)
    monkeypatch.setattr(type(instance), "run_launcher", property(lambda self: object()))

    assert reap_dead_runs(instance, location="ours", starting_timeout_s=-1) == []
